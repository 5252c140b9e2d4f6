"""``xaiutils explain``: pictures in, a PNG and an NPZ for each out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiutils.support import checks
from xaiutils.support.files import plain, write_whole

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from xaiutils.hybrid import Explanation
    from xaiutils.methods import Method
    from xaiutils.network.classifier import Classifier


SIZES = ("network", "original")
STAGES = {
    "cam": "CAM",
    "bounded": "bounding figure",
    "relevance": "LRP",
    "product": "product",
    "hybrid": "hybrid",
}


def add_explain(commands: Any) -> None:
    """Add the command to the subparsers ``commands``."""
    explain = commands.add_parser(
        "explain", help="explain pictures: a figure, an overlay and an NPZ for each"
    )
    explain.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="a file, a folder, or sample:chelsea; an .npy file for a network of arrays",
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
    explain.add_argument(
        "--full-scale", type=float, help="the value that is white, such as 4095 for 12 bits"
    )
    explain.add_argument(
        "--size",
        choices=SIZES,
        default=SIZES[0],
        help="of the maps in figure and NPZ: as the network saw the picture, or the picture's own "
        "pixels, NaN where the network did not look; the overlay always has the picture's",
    )
    explain.add_argument("--out", type=Path, default=Path("results/explained"), help="folder")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from xaiutils.methods import CannotExplain, method_named
    from xaiutils.network import classifier as models

    if options.set and options.method is None:
        raise ValueError(f"--set must go with --method, whose setting it is, got {options.set[0]}")
    classifier = models.load_model(
        options.model, options.weights, preset=options.preset, cam_layer=options.cam_layer
    )
    target = None if options.target is None else classifier.class_index(options.target)
    pictures = _files(options.pictures)
    names = _file_names(pictures)
    if options.method is not None:
        names = [f"{name}_{method_named(options.method).name}" for name in names]
    written = [options.out / f"{name}{end}" for name in names for end in (".png", "_overlay.png")]
    _keep(pictures, written)
    options.out.mkdir(parents=True, exist_ok=True)
    by = _by_hybrid if options.method is None else _by_method
    failed = []
    for picture, name in zip(tqdm(pictures, unit="picture"), names, strict=True):
        try:
            image, x = _taken(classifier, picture, options.full_scale)
            tqdm.write(f"{picture}: {by(options, classifier, image, x, target, name)}")
        except CannotExplain as error:  # a wrong argument is none, and would be for all of them
            if len(pictures) == 1:
                raise
            tqdm.write(f"xaiutils explain: {picture}: {error}", file=sys.stderr)
            failed.append(picture)
    if failed:
        raise ValueError(f"{len(failed)} of {len(pictures)} pictures could not be explained")


def _taken(classifier: Classifier, picture: str, full_scale: float | None) -> tuple[Any, Tensor]:
    """The picture, or the array of an .npy file, and what the network gets of it."""
    import numpy as np

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


def _files(pictures: Sequence[str]) -> list[str]:
    """The pictures of the folders among ``pictures``, in the order of their names, and the rest."""
    from xaiutils.pictures.decode import pictures_in

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
    image: Any,
    x: Tensor,
    target: int | None,
    name: str,
) -> str:
    """One picture explained by the five steps of the hybrid."""
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
    place = _Place(options.size == "original", classifier, image)
    title = "\n".join((f"{classifier.name}: {said}", *_noted(found)))
    figure = place.figure({key: getattr(found, key)[0] for key in STAGES}, title)
    plots.save(figure, options.out / f"{name}.png", scale=2)
    place.save_overlay(options.out / f"{name}_overlay.png", found.hybrid[0])
    _save_maps(options.out / f"{name}.npz", classifier, found, place)
    told = "; ".join((_spent(classifier, found), *_noted(found)))
    return f"{said} -> {options.out / name}.png, .npz; {told}"


def _noted(found: Explanation) -> list[str]:
    """The notes of one explained picture."""
    return [note.removeprefix("image 0: ") for note in found.notes]


def _said(classifier: Classifier, logits: Tensor, chosen: int) -> str:
    """The class that is explained, with its probability, or the output with its value."""
    return f"{classifier.classes[chosen]} ({classifier.said(logits[0], chosen)})"


def _spent(classifier: Classifier, found: Explanation) -> str:
    """How much of the logit the map shows, and what kept the rest."""
    from xaiutils.network.classifier import VALUE

    shares = {name: float(share[0]) for name, share in found.conservation.shares().items()}
    kept = [f"{name} {share:.0%}" for name, share in shares.items() if abs(share) >= 0.005]
    unit = "value" if classifier.outputs == VALUE else "logit"
    return f"of the {unit}: {', '.join(kept) or 'nothing'}"


def _by_method(
    options: argparse.Namespace,
    classifier: Classifier,
    image: Any,
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
    chosen = int(classifier.predicted(logits)) if target is None else target
    said = _said(classifier, logits, chosen)
    given = _settings(options, method)
    found = method(classifier, x, chosen, progress=True, **given)
    cam = hybrid.class_activation_map(
        classifier, x, chosen, cam=options.cam, cam_layer=options.cam_layer
    )
    space = x.ndim - 2
    bounded = hybrid.bound(cam, options.threshold, dimensions=space)
    inside = hybrid.fuse(bounded, found, dimensions=space)
    place = _Place(options.size == "original", classifier, image)
    drawn = {method.title: found[0], "in the bounding figure": inside[0]}
    figure = place.figure(drawn, f"{classifier.name}: {said}")
    plots.save(figure, options.out / f"{name}.png", scale=2)
    place.save_overlay(options.out / f"{name}_overlay.png", found[0])
    maps = partial(
        np.savez_compressed,
        map=place.put(found[0]),
        inside=place.put(inside[0]),
        cam=place.put(cam[0]),
        target=chosen,
        target_name=classifier.classes[chosen],
        model=classifier.name,
        setting_size=options.size,
        setting_threshold=options.threshold,
        setting_cam=options.cam,
        setting_cam_layer=classifier.cam_layer,
        **plain({f"setting_{method.name}_{key}": value for key, value in given.items()}),
    )
    write_whole(options.out / f"{name}.npz", maps)
    empty = "" if found.any() else "; the map is zero everywhere"
    empty += "" if bounded.any() else f"; {hybrid.EMPTY}"
    return f"{said} -> {options.out / name}.png, .npz{empty}"


def _settings(options: argparse.Namespace, method: Method) -> dict[str, Any]:
    """The settings of ``method`` that the command names; one that it has not is an error."""
    given = dict(pair.partition("=")[::2] for pair in options.set)
    named = {key: getattr(options, key) for key in ("sigma", "composite")}
    given |= {key: value for key, value in named.items() if value is not None}
    for key in given:
        checks.choice(f"setting of {method.name}", key, method.settings)
    return {
        key: checks.literal(f"--set {key}", text) if isinstance(text, str) else text
        for key, text in given.items()
    }


class _Place:
    """A picture, its maps where they are asked for, and what is drawn of them."""

    def __init__(self, original: bool, classifier: Classifier, image: Any) -> None:
        self.original, self.classifier, self.image = original, classifier, image

    def put(self, map: Tensor) -> np.ndarray:
        """A map (..., H, W) in the picture's own pixels if these are asked for."""
        if self.original:
            return self.classifier.to_picture(map, self.image)
        return map.detach().cpu().numpy()

    def picture(self, original: bool) -> np.ndarray:
        """The picture itself, or what the network sees of it, (H, W, 3) uint8."""
        import numpy as np

        whole = original and not isinstance(self.image, np.ndarray)
        return np.asarray(self.image) if whole else self.classifier.picture(self.image)

    def figure(self, maps: dict[str, Tensor], title: str) -> Any:
        """The stages of the hybrid, or other maps; of a signal lines, of a volume slices."""
        import numpy as np

        from xaiutils import plots

        placed = {name: self.put(map) for name, map in maps.items()}
        picture = self.picture(self.original)
        dimensions = self.classifier.transform.dimensions
        if dimensions != 2:
            draw = plots.signal if dimensions == 1 else plots.slices
            named = {STAGES.get(name, name): map for name, map in placed.items()}
            return draw(picture, named, title=title, clip=99.5)
        seen = np.isfinite(next(iter(placed.values())))
        # Where the network did not look there is no map: what it saw is outlined.
        look: dict[str, Any] = {"suptitle": title, "clip": 99.5}
        look |= {} if seen.all() else {"mask": seen}
        placed = {name: np.nan_to_num(map) for name, map in placed.items()}
        if set(placed) == set(STAGES):
            return plots.stages(picture, **placed, **look)  # type: ignore[arg-type]
        return plots.panels([picture, *placed.values()], titles=["picture", *placed], **look)

    def save_overlay(self, path: Path, map: Tensor) -> None:
        """The map over its picture, pixel for pixel of the original, dark where nobody looked."""
        import numpy as np

        from xaiutils.plots.panel import Panel
        from xaiutils.plots.raster import pixels, quick_png

        if self.classifier.transform.dimensions != 2:
            return
        placed = self.classifier.to_picture(map, self.image)
        seen = np.isfinite(placed)
        panel = Panel(self.picture(original=True), np.nan_to_num(placed), clip=99.5)
        drawn = pixels(panel)
        drawn[~seen] //= 2
        write_whole(path, lambda stream: stream.write(quick_png(drawn)))


def _save_maps(path: Path, classifier: Classifier, found: Explanation, place: _Place) -> None:
    """All maps of one explained picture, with its target, logits, ledger, settings and notes."""
    import numpy as np

    maps = (*STAGES, "relevance_per_channel")
    arrays: dict[str, Any] = {key: place.put(getattr(found, key)[0]) for key in maps}
    arrays |= {"logits": found.logits[0].cpu().numpy()}
    target = int(found.target[0])
    arrays |= {"target": target, "target_name": classifier.classes[target]}
    arrays |= {"model": classifier.name}
    shares = found.conservation.shares()
    arrays |= {f"share_{key}": float(share[0]) for key, share in shares.items()}
    arrays |= plain({f"setting_{key}": value for key, value in found.settings.items()})
    arrays |= {"setting_size": "original" if place.original else "network"}
    arrays |= {"notes": np.array(_noted(found), dtype=str)}
    write_whole(path, lambda stream: np.savez_compressed(stream, **arrays))


def _keep(pictures: Sequence[str], written: Sequence[Path]) -> None:
    """Refuse to write over a picture that is explained."""
    given = {Path(picture).resolve() for picture in pictures}
    for path in written:
        if path.resolve() in given:
            raise ValueError(f"out must be another folder, {path} is one of the pictures")


def _file_names(pictures: Sequence[str]) -> list[str]:
    """A file name for each picture; two pictures of one name would overwrite each other."""
    names = [Path(picture).stem.replace("sample:", "") for picture in pictures]
    if len(set(names)) < len(names):  # one.png and one.jpg: one_png and one_jpg
        names = [Path(picture).name.replace(".", "_") for picture in pictures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"PICTURE must have different file names, got {', '.join(twice)} twice")
    return names
