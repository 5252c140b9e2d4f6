"""``xaiutils explain``: pictures in, a PNG and an NPZ for each out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xaiutils.apps.cli import MODEL, add_command
from xaiutils.support import checks
from xaiutils.support.files import plain, write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from xaiutils.network.classifier import Classifier

ORIGINAL = "original"  # of the sizes
STAGES = {
    "cam": "CAM",
    "bounded": "bounding figure",
    "relevance": "LRP",
    "product": "product",
    "hybrid": "hybrid",
}
OVERLAY = "_overlay.png"


class _Found(NamedTuple):
    """One explained picture: its class, its maps, and what is drawn, kept and told of them."""

    target: int
    logits: Tensor
    maps: dict[str, Tensor]
    main: str  # the map over the picture
    titles: dict[str, str]  # of the maps in the figure
    about: dict[str, Any]  # goes into the NPZ with the maps
    notes: list[str]
    told: list[str]


def add_explain(commands: Any) -> None:
    """Add the command to the subparsers ``commands``."""
    about = "explain pictures: a figure, an overlay and an NPZ for each"
    example = "sample:chelsea --out maps"
    add = add_command(commands, "explain", about, example, _explain).add_argument
    about = "a file, a folder, or sample:chelsea; an .npy file for a network of arrays"
    add("pictures", nargs="+", metavar="PICTURE", help=about)
    add("--model", help=MODEL)
    add("--weights", help="published name, state-dict file, or random")
    add("--preset", help="preprocessing of which published weights")
    add("--target", help="class name or index; the predicted class by default")
    add("--threshold", type=float, default=0.2, help="in [0, 1)")
    add("--sigma", type=float, help="pixels; a 64th of the height by default")
    add("--composite", help="a name in COMPOSITES; paper by default")
    add("--cam", default="grad_cam_plus_plus", help="a name in CAMS")
    add("--cam-layer", help="module path; found by itself by default")
    about = (
        "another explainer instead (xaiutils methods lists them), alone and inside the bounding "
        "figure: NAME_METHOD.png and .npz"
    )
    add("--method", help=about)
    about = "of --method, repeatable"
    add("--set", action="append", default=[], metavar="SETTING=VALUE", help=about)
    add("--full-scale", type=float, help="the value that is white, such as 4095 for 12 bits")
    about = (
        "of the maps in figure and NPZ: as the network saw the picture, or the picture's own "
        "pixels, NaN where the network did not look; the overlay always has the picture's"
    )
    add("--size", choices=("network", ORIGINAL), default="network", help=about)
    add("--out", type=Path, default=Path("results/explained"), help="folder")


def _explain(**chosen: Any) -> None:
    from tqdm import tqdm

    from xaiutils.methods import CannotExplain, method_named
    from xaiutils.network import classifier as models
    from xaiutils.pictures.decode import pictures_in

    options = argparse.Namespace(**chosen)
    if options.set and options.method is None:
        raise ValueError(f"--set must go with --method, whose setting it is, got {options.set[0]}")
    classifier = models.load_model(
        options.model, options.weights, preset=options.preset, cam_layer=options.cam_layer
    )
    target = None if options.target is None else classifier.class_index(options.target)
    if "" in options.pictures:
        raise ValueError("PICTURE must be a file, a folder or sample:NAME, got an empty name")
    pictures: list[str] = []
    for one in options.pictures:
        pictures += map(str, pictures_in(Path(one))) if Path(one).is_dir() else [one]
    names = _file_names(pictures)
    if options.method is not None:
        names = [f"{name}_{method_named(options.method).name}" for name in names]
    given = {Path(picture).resolve() for picture in pictures}
    for path in (options.out / f"{name}{end}" for name in names for end in (".png", OVERLAY)):
        if path.resolve() in given:
            raise ValueError(f"out must be another folder, {path} is one of the pictures")
    options.out.mkdir(parents=True, exist_ok=True)
    explained = _by_hybrid if options.method is None else _by_method
    failed = 0
    for picture, name in zip(tqdm(pictures, unit="picture"), names, strict=True):
        try:
            image, x = _taken(classifier, picture, options.full_scale)
            found = explained(options, classifier, x, target)
            likely = classifier.said(found.logits[0], found.target)
            said = f"{classifier.classes[found.target]} ({likely})"
            _write(options.out / name, classifier, image, found, said, options.size)
            told = "; ".join((f"{said} -> {options.out / name}.png, .npz", *found.told))
            tqdm.write(f"{picture}: {told}")
        except CannotExplain as error:  # a wrong argument is none, and would be for all of them
            if len(pictures) == 1:
                raise
            tqdm.write(f"xaiutils explain: {picture}: {error}", file=sys.stderr)
            failed += 1
    if failed:
        raise ValueError(f"{failed} of {len(pictures)} pictures could not be explained")


def _file_names(pictures: Sequence[str]) -> list[str]:
    """A file name for each picture; two pictures of one name would overwrite each other."""
    names = [Path(picture).stem.replace("sample:", "") for picture in pictures]
    if len(set(names)) < len(names):  # one.png and one.jpg: one_png and one_jpg
        names = [Path(picture).name.replace(".", "_") for picture in pictures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"PICTURE must have different file names, got {', '.join(twice)} twice")
    return names


def _taken(classifier: Classifier, picture: str, full_scale: float | None) -> tuple[Any, Tensor]:
    """The picture, or the array of an .npy file, and what the network gets of it."""
    from xaiutils.methods import CannotExplain
    from xaiutils.pictures.arrays import Arrays
    from xaiutils.pictures.images import load_image

    try:
        if isinstance(classifier.transform, Arrays):
            path = checks.regular("PICTURE", Path(picture))
            if path.suffix != ".npy":
                raise ValueError(
                    f"PICTURE must be an .npy file {classifier.transform.form}, got {path.name}: "
                    "the network reads arrays"
                )
            image: Any = np.load(path, allow_pickle=False)
        else:
            image = load_image(picture, full_scale=full_scale)
        return image, classifier.preprocess(image)
    except (ValueError, OSError) as error:
        raise CannotExplain(str(error)) from error


def _by_hybrid(
    options: argparse.Namespace, classifier: Classifier, x: Tensor, target: int | None
) -> _Found:
    """One picture by the five steps of the hybrid."""
    from xaiutils import hybrid
    from xaiutils.methods.own import title_of
    from xaiutils.network.classifier import VALUE

    found = hybrid.explain(
        classifier,
        x,
        target,
        threshold=options.threshold,
        sigma=options.sigma,
        composite=options.composite or "paper",
        cam=options.cam,
    )
    notes = [note.removeprefix("image 0: ") for note in found.notes]
    shares = {name: float(share[0]) for name, share in found.conservation.shares().items()}
    kept = [f"{name} {share:.0%}" for name, share in shares.items() if abs(share) >= 0.005]
    unit = "value" if classifier.outputs == VALUE else "logit"
    return _Found(
        int(found.target[0]),
        found.logits,
        {key: getattr(found, key)[0] for key in (*STAGES, "relevance_per_channel")},
        "hybrid",
        STAGES | {"cam": title_of(options.cam)},
        {
            "logits": found.logits[0].cpu().numpy(),
            **{f"share_{key}": share for key, share in shares.items()},
            **plain({f"setting_{key}": value for key, value in found.settings.items()}),
            "notes": np.array(notes, dtype=str),
        },
        notes,
        [f"of the {unit}: {', '.join(kept) or 'nothing'}", *notes],
    )


def _by_method(
    options: argparse.Namespace, classifier: Classifier, x: Tensor, target: int | None
) -> _Found:
    """One picture by a method of `METHODS`, alone and inside the bounding figure."""
    from xaiutils import hybrid
    from xaiutils.methods import method_named

    method = method_named(options.method)
    logits = classifier.predict(x)
    chosen = int(classifier.predicted(logits)) if target is None else target
    settings: dict[str, Any] = {
        key: checks.literal(f"--set {key}", text)
        for key, _, text in (pair.partition("=") for pair in options.set)
    }
    named = {"sigma": options.sigma, "composite": options.composite}
    settings |= {key: value for key, value in named.items() if value is not None}
    for key in settings:
        checks.choice(f"setting of {method.name}", key, method.settings)
    map = method(classifier, x, chosen, progress=True, **settings)
    cam = hybrid.class_activation_map(
        classifier, x, chosen, cam=options.cam, cam_layer=options.cam_layer
    )
    space = x.ndim - 2
    bounded = hybrid.bound(cam, options.threshold, dimensions=space)
    inside = hybrid.fuse(bounded, map, dimensions=space)
    told = [] if map.any() else ["the map is zero everywhere"]
    return _Found(
        chosen,
        logits,
        {"map": map[0], "inside": inside[0], "cam": cam[0]},
        "map",
        {"map": method.title, "inside": "in the bounding figure"},
        {
            "setting_threshold": options.threshold,
            "setting_cam": options.cam,
            "setting_cam_layer": classifier.cam_layer,
            **plain({f"setting_{method.name}_{key}": value for key, value in settings.items()}),
        },
        [],
        [*told, *([] if bounded.any() else [hybrid.EMPTY])],
    )


def _write(
    path: Path, classifier: Classifier, image: Any, found: _Found, said: str, size: str
) -> None:
    """The figure, the map over the picture, and the NPZ; maps in the size that is asked for."""
    from xaiutils import plots
    from xaiutils.plots.panel import Panel
    from xaiutils.plots.raster import pixels, quick_png

    seen = classifier.picture(image)  # by the network
    whole = seen if isinstance(image, np.ndarray) else np.asarray(image)
    own = size == ORIGINAL
    arrays: dict[str, Any] = {
        key: classifier.to_picture(map, image) if own else map.detach().cpu().numpy()
        for key, map in found.maps.items()
    }
    title = "\n".join((f"{classifier.name}: {said}", *found.notes))
    figure = _figure(classifier.transform.dimensions, whole if own else seen, arrays, found, title)
    plots.save(figure, Path(f"{path}.png"), scale=2)
    if classifier.transform.dimensions == 2:
        placed = classifier.to_picture(found.maps[found.main], image)
        drawn = pixels(Panel(whole, np.nan_to_num(placed), clip=99.5))
        drawn[~np.isfinite(placed)] //= 2  # dark where nobody looked
        write_whole(Path(f"{path}{OVERLAY}"), lambda stream: stream.write(quick_png(drawn)))
    arrays |= {"target": found.target, "target_name": classifier.classes[found.target]}
    arrays |= {"model": classifier.name, "setting_size": size, **found.about}
    write_whole(Path(f"{path}.npz"), lambda stream: np.savez_compressed(stream, **arrays))


def _figure(
    dimensions: int, picture: np.ndarray, maps: dict[str, np.ndarray], found: _Found, title: str
) -> Any:
    """The stages of the hybrid, or other maps; of a signal lines, of a volume slices."""
    from xaiutils import plots

    drawn = {name: maps[key] for key, name in found.titles.items()}
    if dimensions != 2:
        draw = plots.signal if dimensions == 1 else plots.slices
        return draw(picture, drawn, title=title, clip=99.5)
    known = np.isfinite(maps[found.main])
    # Where the network did not look there is no map: what it saw is outlined.
    look: dict[str, Any] = {"suptitle": title, "clip": 99.5}
    look |= {} if known.all() else {"mask": known}
    if found.main == "hybrid":
        look["cam_title"] = found.titles["cam"]
        return plots.stages(picture, **{k: np.nan_to_num(maps[k]) for k in STAGES}, **look)
    drawn = {name: np.nan_to_num(map) for name, map in drawn.items()}
    return plots.panels([picture, *drawn.values()], titles=["picture", *drawn], **look)
