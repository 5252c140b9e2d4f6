"""A classifier and the pictures to explain: what a notebook runs on.

The same notebooks run on the embedded scenes, on photographs that libraries ship (nothing to
download for either), and on your copy of ImageNet. The environment chooses:
``XAIUTILS_WORKLOAD`` (scenes, photographs or imagenet); for the last two ``XAIUTILS_MODEL`` and
``XAIUTILS_WEIGHTS`` (as for `load_model`), and ``XAIUTILS_IMAGENET`` (the folder).
``XAIUTILS_MODELS`` names further torchvision classifiers, ``resnet50=FILE vit_b_16``, for the
comparison of architectures. ``XAIUTILS_PLACED`` set to anything leaves out pictures whose object
is not known (`with_objects`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from xaiutils.network.classifier import Classifier, load_model
from xaiutils.network.weights import DEFAULT_MODEL, PACKAGE
from xaiutils.pictures import imagenet, scenes
from xaiutils.pictures.boxes import located, sample_target
from xaiutils.pictures.images import PHOTOGRAPHS, Sample, Transform, sample_photograph
from xaiutils.support import checks
from xaiutils.support.plugins import made_by

WORKLOADS = ("scenes", "photographs", "imagenet")
PLACED = "XAIUTILS_PLACED"


@dataclass(frozen=True, eq=False)
class Workload:
    """A classifier, pictures, and where the object is in each.

    Attributes:
        name: ``scenes``, ``photographs`` or ``imagenet``.
        samples: Pictures in a fixed order; some are decoded only when they are asked for.
        split: Which part of the pictures these are; empty where there is only one.
        source: What `load_workload` is asked for it: ``module:function``, or the name.
    """

    name: str
    classifier: Classifier
    samples: Sequence[Sample]
    split: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        """One that `load_workload` did not make is known by its name."""
        object.__setattr__(self, "source", self.source or self.name)

    @property
    def generated(self) -> bool:
        """Whether it is the shipped one of scenes: sample i is scene i of the split."""
        return self.name == "scenes" and isinstance(self.samples, _Scenes)

    def batch(self, indices: Sequence[int]) -> tuple[list[Sample], Tensor]:
        """Samples and the network's input (N, C, H, W) for them."""
        chosen = [self.samples[i] for i in indices]
        return chosen, self.classifier.preprocess(chosen)

    def picture(self, sample: Sample) -> np.ndarray:
        """What the network sees of a sample, (H, W, 3) uint8."""
        return self.classifier.picture(sample)

    def masks(self, chosen: Sequence[Sample]) -> Tensor:
        """Where the labelled object is in the network's input, (N, H, W) bool."""
        found = []
        for sample in chosen:
            mask = located(sample, self.classifier.transform)
            if mask is None:
                raise ValueError(f"samples must have a mask or boxes, {sample.id} has neither")
            found.append(torch.as_tensor(mask))
        return torch.stack(found)


def rival_of(sample: Sample, classifier: Classifier) -> tuple[int, Tensor] | None:
    """Where there is a second object, its class and where the network sees it, (H, W) bool."""
    if sample.rival is not None:
        kind, boxes = sample.rival
        other = sample_target(replace(sample, boxes=boxes), classifier.transform)
        return kind, torch.from_numpy(other.mask)
    scene = sample.scene
    if scene is None or len(scene.targets) < 2:
        return None
    label = scenes.CLASSES.index(scene.objects[scene.targets[1]].kind)
    return label, torch.from_numpy(classifier.transform.mask(scenes.masks(scene)["other"]))


def load_workload(
    name: str | None = None,
    split: str = "test",
    *,
    model: str | None = None,
    weights: str | None = None,
    root: str | None = None,
    allow_missing: bool = False,
) -> Workload:
    """The workload called ``name``, by default the one in ``XAIUTILS_WORKLOAD``, else the scenes.

    Args:
        name: ``scenes``, ``photographs`` or ``imagenet``; or ``module:function``, a function of
            yours that returns a `Workload`.
        split: Of the scenes: test, duo, hard, calibration, ...; of the photographs ``duo`` is two
            beside each other, of those that the network names rightly alone. They share
            photographs, so that intervals over them would be too narrow. Others have one split.
        model, weights: As for `load_model`, instead of ``XAIUTILS_MODEL`` and ``XAIUTILS_WEIGHTS``;
            by default for photographs `load_model`'s own, for ImageNet ``vgg16``, for scenes
            ``scenes_vgg_seed0``, or another shipped one.
        root: Of ImageNet, instead of ``XAIUTILS_IMAGENET``.
        allow_missing: Accept a list of ImageNet's pictures that names more than there are.

    Raises:
        ValueError: An unknown name; a model for a workload that brings its own, or for scenes one
            with other classes; labelled pictures of ImageNet whose classes are not as many as the
            model's; fewer than two photographs that the network names rightly, for pairs.
    """
    name = name or os.environ.get("XAIUTILS_WORKLOAD", "scenes")
    if ":" in name:
        if model or weights or root:
            raise ValueError(f"model, weights and root must be left to {name}, which has its own")
        work = made_by(name, Workload)
        if work.name in WORKLOADS:  # which of them it is decides what is done with its pictures
            raise ValueError(f"the Workload of {name} must have a name of its own, got {work.name}")
        return _as_asked(replace(work, source=name))
    checks.choice("name", name, WORKLOADS)
    checks.choice("split", split, scenes.SPLITS)  # which callers name whatever the workload
    if root is not None and name != "imagenet":
        raise ValueError(f"root must be left out for {name}, which has its own pictures")
    if name == "scenes":
        classifier = load_model(model or "scenes_vgg_seed0", weights)
        if classifier.classes != tuple(scenes.CLASSES):
            raise ValueError(
                f"model must know the scenes' classes {', '.join(scenes.CLASSES)}, "
                f"{classifier.name} knows others: scenes_vgg_seed0 and its like do"
            )
        count = scenes.SPLITS[split].count
        samples = _Scenes(partial(scenes.sample, split), range(count))
        return Workload(name, classifier, samples, split)
    classifier = load_model(*model_asked(name, model, weights))
    if name == "photographs":
        singles = [sample_photograph(photo, classifier.classes) for photo in PHOTOGRAPHS]
        alone = _as_asked(Workload(name, classifier, singles))
        return _in_pairs(alone) if split == "duo" else alone
    pictures = imagenet.open_imagenet(root, allow_missing=allow_missing)
    if pictures.layout != "folder" and len(pictures.wnids) != len(classifier.classes):
        raise ValueError(
            f"root must have the classes of {classifier.name}, {len(classifier.classes)}, got "
            f"{len(pictures.wnids)}: their numbers would mean other classes; "
            "LOC_synset_mapping.txt in it names all of them"
        )
    return _as_asked(Workload(name, classifier, pictures))


def model_asked(name: str, model: str | None, weights: str | None) -> tuple[str, str | None]:
    """The model and weights of photographs or ImageNet, where nobody names them the default."""
    if model is not None:  # what the environment says of weights is of another network
        return model, weights
    weights = weights or os.environ.get("XAIUTILS_WEIGHTS")
    if named := os.environ.get("XAIUTILS_MODEL"):
        return named, weights
    return ("vgg16", weights) if name == "imagenet" else (DEFAULT_MODEL, weights or PACKAGE)


def _in_pairs(work: Workload) -> Workload:
    """Two photographs beside each other, as the network sees each: every two that it knows."""
    classifier = work.classifier
    known = [one for one in work.samples if one.boxes]
    said: list[int] = []
    if known:
        x = classifier.preprocess(known)
        said = classifier.predicted(classifier.predict(x)).tolist()
    right = [one for one, kind in zip(known, said, strict=True) if one.label == kind]
    if len(right) < 2:
        raise ValueError(
            "model must name two of the photographs rightly to be asked about pairs of them, "
            f"{classifier.name} names {len(right)} of the {len(known)} whose class it has"
        )
    transform = classifier.transform
    assert isinstance(transform, Transform)  # an `Arrays` has taken no photograph
    plain = replace(transform, resize=None, crop=None)
    pairs = [_beside(classifier, *two) for two in permutations(right, 2)]
    return replace(
        work, classifier=replace(classifier, transform=plain), samples=pairs, split="duo"
    )


def _beside(classifier: Classifier, left: Sample, right: Sample) -> Sample:
    views = [classifier.picture(one) for one in (left, right)]
    left_boxes, right_boxes = (
        [tuple(box) for box in sample_target(one, classifier.transform).boxes.tolist()]
        for one in (left, right)
    )
    width = views[0].shape[1]
    moved = tuple((x0 + width, y0, x1 + width, y1) for x0, y0, x1, y1 in right_boxes)
    assert right.label is not None
    return Sample(
        f"{left.id} | {right.id}",
        PIL.Image.fromarray(np.concatenate(views, 1)),
        left.label,
        boxes=tuple(left_boxes),
        rival=(right.label, moved),
    )


def with_objects(work: Workload) -> Workload:
    """The same workload without the pictures that have neither boxes nor a mask.

    Of ImageNet the annotations are read and no picture is decoded.
    """
    samples = work.samples
    if work.generated:
        return work
    if isinstance(samples, imagenet.ImageNetFolder):
        found = (samples.annotation(i)[2] for i in range(len(samples)))
        pairs = zip(samples.entries, found, strict=True)
        entries = tuple(entry for entry, one in pairs if one and one.objects)
        return replace(work, samples=replace(samples, entries=entries))
    places = [i for i, one in enumerate(samples) if one.boxes or one.mask is not None]
    return replace(work, samples=_Lazy(samples.__getitem__, places))


def _as_asked(work: Workload) -> Workload:
    return with_objects(work) if os.environ.get(PLACED) else work


def architectures(work: Workload) -> list[Classifier]:
    """Classifiers of different kinds that can all explain the pictures of a workload.

    For scenes the four that are shipped; otherwise the workload's own and those that
    ``XAIUTILS_MODELS`` names, separated by spaces, each with ``=FILE`` where its weights are one.
    """
    if work.generated:
        return [
            load_model(f"scenes_{kind}_seed0") for kind in ("vgg", "resnet", "inception", "vit")
        ]
    asked = (entry.partition("=") for entry in os.environ.get("XAIUTILS_MODELS", "").split())
    return [work.classifier, *(load_model(name, weights or None) for name, _, weights in asked)]


class _Lazy(Sequence[Sample]):
    """Samples at some places, each read when it is asked for."""

    def __init__(self, read: Callable[[int], Sample], places: Sequence[int]) -> None:
        self.read, self.places = read, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _Lazy(self.read, self.places[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {index}")
        return self.read(self.places[index])


class _Scenes(_Lazy):
    """All scenes of a split, in its order."""
