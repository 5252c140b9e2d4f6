"""``xaiutils explain``: pictures in, a PNG and an NPZ for each out."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiutils import checks

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from xaiutils.explanation import Explanation
    from xaiutils.methods import Method
    from xaiutils.models import Classifier


def add_explain(commands: Any) -> None:
    """Add the command to the subparsers ``commands``."""
    explain = commands.add_parser("explain", help="explain pictures: a PNG and an NPZ for each")
    explain.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a file, a folder, or sample:chelsea"
    )
    explain.add_argument(
        "--model", default="scenes_vgg_seed0", help="a name in MODELS, or module:function"
    )
    explain.add_argument("--weights", help="published name, state-dict file, or random")
    explain.add_argument("--preset", help="preprocessing of which published weights")
    explain.add_argument("--target", help="class name or index; the predicted class by default")
    explain.add_argument("--threshold", type=float, default=0.2, help="in [0, 1)")
    explain.add_argument("--sigma", type=float, help="pixels; a 64th of the height by default")
    explain.add_argument("--composite", help="a name in COMPOSITES; paper by default")
    explain.add_argument("--cam", default="grad_cam_plus_plus", help="a name in CAMS")
    explain.add_argument("--cam-layer", help="module path; found by itself by default")
    explain.add_argument(
        "--method",
        help="another explainer instead (xaiutils methods lists them), alone and inside "
        "the bounding figure: NAME_METHOD.png and .npz",
    )
    explain.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="of --method, repeatable",
    )
    explain.add_argument("--out", type=Path, default=Path("results/explained"), help="folder")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from xaiutils import models
    from xaiutils.methods import CannotExplain

    if options.set and options.method is None:
        raise ValueError(f"--set must go with --method, whose setting it is, got {options.set[0]}")
    classifier = models.load_model(
        options.model, options.weights, preset=options.preset, cam_layer=options.cam_layer
    )
    target = None if options.target is None else classifier.class_index(options.target)
    pictures = _files(options.pictures)
    names = _file_names(pictures)
    given = {Path(picture).resolve(): picture for picture in pictures}
    ending = "" if options.method is None else f"_{options.method}"
    for name in names:
        over = given.get((options.out / f"{name}{ending}.png").resolve())
        if over is not None:
            raise ValueError(f"--out must be another folder, or {over} would be written over")
    options.out.mkdir(parents=True, exist_ok=True)
    by = _by_hybrid if options.method is None else _by_method
    failed = []
    for picture, name in zip(tqdm(pictures, unit="picture"), names, strict=True):
        try:
            image, x = _taken(classifier, picture)
            tqdm.write(f"{picture}: {by(options, classifier, image, x, target, name)}")
        except CannotExplain as error:  # a wrong argument is none, and would be for all of them
            if len(pictures) == 1:
                raise
            tqdm.write(f"xaiutils explain: {picture}: {error}", file=sys.stderr)
            failed.append(picture)
    if failed:
        raise ValueError(f"{len(failed)} of {len(pictures)} pictures could not be explained")


def _taken(classifier: Classifier, picture: str) -> tuple[Image, Tensor]:
    """The picture, and what the network gets of it."""
    from xaiutils.images import load_image
    from xaiutils.methods import CannotExplain

    try:
        image = load_image(picture)
        return image, classifier.preprocess(image)
    except (ValueError, OSError) as error:
        raise CannotExplain(str(error)) from error


def _files(pictures: Sequence[str]) -> list[str]:
    """The pictures of the folders among ``pictures``, in the order of their names, and the rest."""
    from xaiutils.decode import pictures_in

    if "" in pictures:
        raise ValueError("PICTURE must be a file, a folder or sample:NAME, got an empty name")
    found = [
        [str(path) for path in pictures_in(Path(one))] if Path(one).is_dir() else [one]
        for one in pictures
    ]
    return [path for paths in found for path in paths]


def _by_hybrid(
    options: argparse.Namespace,
    classifier: Classifier,
    image: Image,
    x: Tensor,
    target: int | None,
    name: str,
) -> str:
    """One picture explained by the paper's five steps."""
    from xaiutils import hybrid, plots

    found = hybrid.explain(
        classifier,
        x,
        target,
        threshold=options.threshold,
        sigma=options.sigma,
        composite=options.composite or "paper",
        cam=options.cam,
    )
    said = _said(classifier, found.logits, int(found.target[0]))
    figure = plots.stages(
        classifier.picture(image),
        found.cam[0],
        found.bounded[0],
        found.relevance[0],
        found.hybrid[0],
        product=found.product[0],
        suptitle="\n".join((f"{classifier.name}: {said}", *_noted(found))),
        clip=99.5,
    )
    plots.save(figure, options.out / f"{name}.png", scale=2)
    _save_maps(options.out / f"{name}.npz", classifier, found)
    told = "; ".join((_spent(found), *_noted(found)))
    return f"{said} -> {options.out / name}.png, .npz; {told}"


def _noted(found: Explanation) -> list[str]:
    """The notes of one explained picture."""
    return [note.removeprefix("image 0: ") for note in found.notes]


def _said(classifier: Classifier, logits: Tensor, chosen: int) -> str:
    """The class that is explained, with its probability."""
    from xaiutils.models import probabilities

    return f"{classifier.classes[chosen]} ({float(probabilities(logits)[0, chosen]):.1%})"


def _spent(found: Explanation) -> str:
    """How much of the logit the map shows, and what kept the rest."""
    shares = {name: float(share[0]) for name, share in found.conservation.shares().items()}
    kept = [f"{name} {share:.0%}" for name, share in shares.items() if abs(share) >= 0.005]
    return f"of the logit: {', '.join(kept) or 'nothing'}"


def _by_method(
    options: argparse.Namespace,
    classifier: Classifier,
    image: Image,
    x: Tensor,
    target: int | None,
    name: str,
) -> str:
    """One picture explained by a method of `METHODS`, alone and inside the bounding figure."""
    import numpy as np

    from xaiutils import hybrid, plots
    from xaiutils.methods import method_named

    method = method_named(options.method)
    logits = classifier.predict(x)
    chosen = int(logits.argmax()) if target is None else target
    said = _said(classifier, logits, chosen)
    given = _settings(options, method)
    found = method(classifier, x, chosen, progress=True, **given)
    cam = hybrid.class_activation_map(
        classifier, x, chosen, cam=options.cam, cam_layer=options.cam_layer
    )
    bounded = hybrid.bound(cam, options.threshold)
    inside = hybrid.fuse(bounded, found)
    figure = plots.panels(
        [classifier.picture(image), found[0], inside[0]],
        titles=["picture", method.title, "in the bounding figure"],
        suptitle=f"{classifier.name}: {said}",
        clip=99.5,
    )
    plots.save(figure, options.out / f"{name}_{method.name}.png", scale=2)
    np.savez_compressed(
        options.out / f"{name}_{method.name}.npz",
        map=found[0].cpu().numpy(),
        inside=inside[0].cpu().numpy(),
        cam=cam[0].cpu().numpy(),
        target=chosen,
        target_name=classifier.classes[chosen],
        model=classifier.name,
        setting_threshold=options.threshold,
        setting_cam=options.cam,
        setting_cam_layer=classifier.cam_layer,
        **{f"setting_{method.name}_{key}": value for key, value in given.items()},
    )
    empty = "" if found.any() else "; the map is zero everywhere"
    empty += "" if bounded.any() else f"; {hybrid.EMPTY}"
    return f"{said} -> {options.out / name}_{method.name}.png, .npz{empty}"


def _settings(options: argparse.Namespace, method: Method) -> dict[str, Any]:
    """The settings of ``method`` that the command names; one that it has not is an error."""
    given = dict(pair.partition("=")[::2] for pair in options.set)
    named = {key: getattr(options, key) for key in ("sigma", "composite")}
    given |= {key: value for key, value in named.items() if value is not None}
    for key in given:
        checks.choice(f"setting of {method.name}", key, method.settings)
    return {key: _value(text) for key, text in given.items()}


def _value(text: Any) -> Any:
    """A number where it is one, otherwise the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _save_maps(path: Path, classifier: Classifier, found: Explanation) -> None:
    """All maps of one explained picture, with its target, logits, ledger, settings and notes."""
    import numpy as np

    maps = ("cam", "bounded", "relevance", "product", "hybrid", "relevance_per_channel", "logits")
    arrays: dict[str, Any] = {key: getattr(found, key)[0].cpu().numpy() for key in maps}
    target = int(found.target[0])
    arrays |= {"target": target, "target_name": classifier.classes[target]}
    arrays |= {"model": classifier.name}
    shares = found.conservation.shares()
    arrays |= {f"share_{key}": float(share[0]) for key, share in shares.items()}
    arrays |= {f"setting_{key}": value for key, value in found.settings.items()}
    arrays |= {"notes": np.array(_noted(found), dtype=str)}
    np.savez_compressed(path, **arrays)


def _file_names(pictures: Sequence[str]) -> list[str]:
    """A file name for each picture; two pictures of one name would overwrite each other."""
    names = [Path(picture).stem.replace("sample:", "") for picture in pictures]
    if len(set(names)) < len(names):  # one.png and one.jpg: one_png and one_jpg
        names = [Path(picture).name.replace(".", "_") for picture in pictures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"PICTURE must have different file names, got {', '.join(twice)} twice")
    return names
