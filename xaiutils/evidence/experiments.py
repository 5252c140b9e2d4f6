"""The experiments behind the tables: which pictures, methods and metrics, and why that many.

Settings are chosen on the split ``calibration`` and nowhere else; every other experiment reads
other splits. `xaiutils.evidence.tables` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from xaiutils.methods import METHODS, combine
from xaiutils.methods.probes import at_block, removed
from xaiutils.methods.record import Method
from xaiutils.metrics.scoring import ORACLE, Contender, contender

CALIBRATION = "calibration"
VGG = tuple(f"scenes_vgg_seed{seed}" for seed in range(3))
PAPER = ("grad_cam_plus_plus", "lrp_paper", "hybrid")
CONTROLS = ("bounded_cam", "lrp_smoothed", "bounded_noise", "bounded_edges")
BASELINES = ("random_map", "centre_prior", "sobel_edges", ORACLE)
TABLE_ONE = (
    "avg_sensitivity",
    "faithfulness_correlation",
    "relevance_rank_accuracy",
    "sparseness",
    "random_logit",
)
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
BLOCKS = (0, 1, 2, 3)  # of `xaiutils.network.cam_layer.blocks`; the last is the CAM layer
SIGMA_SHARES = (0, 1 / 128, 1 / 64, 1 / 32, 1 / 16)  # of the picture's height
COMPOSITES = (
    *("paper", "z", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat"),
    *("epsilon_alpha2_beta1_flat", "epsilon_gamma_box"),
)


@dataclass(frozen=True)
class Chosen:
    """The hybrid's settings as the calibration split chose them; sigma as a share of the height."""

    threshold: float
    sigma_share: float
    composite: str


Rows = Sequence[str | Contender]


@dataclass(frozen=True)
class Experiment:
    """A table to be made; other workloads than the scenes have one split and one network."""

    split: str
    networks: tuple[str, ...]
    images: int  # the first ones; of other workloads all with boxes that are classified rightly
    contenders: Callable[[int, Chosen | None], Rows]  # of the pictures' height and the settings
    metrics: Mapping[str, Mapping[str, Any]]  # names, with settings that are not the defaults
    seeds: tuple[int, ...] = (0,)  # of the perturbations
    real: bool = True  # whether it makes sense on photographs with boxes


def _metrics(*names: str, **settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({name: {} for name in names} | settings)


def _rows(*rows: str | Contender) -> Callable[[int, Chosen | None], Rows]:
    return lambda height, chosen: rows


def grid(height: int, chosen: Chosen | None = None) -> list[Contender]:
    """The hybrid with one setting changed at a time: threshold, sigma, composite."""
    return [
        *(contender("hybrid", f"hybrid(threshold={t})", threshold=t) for t in THRESHOLDS),
        *(contender("hybrid", sigma_label(s), sigma=s * height) for s in SIGMA_SHARES),
        *(contender("hybrid", f"hybrid(composite={c})", composite=c) for c in COMPOSITES),
    ]


def sigma_label(share: float) -> str:
    """What a table calls the hybrid with this sigma, a share of the picture's height."""
    return f"hybrid(sigma=H/{1 / share:.0f})" if share else "hybrid(sigma=0)"


def calibrated(height: int, chosen: Chosen) -> Contender:
    """The hybrid with the settings that the calibration split chose."""
    settings = {"threshold": chosen.threshold, "composite": chosen.composite}
    sigma = chosen.sigma_share * height
    return contender("hybrid", "hybrid_calibrated", sigma=sigma, **settings)


def _table_one(height: int, chosen: Chosen | None) -> list[str | Contender]:
    extra = [calibrated(height, chosen)] if chosen else []
    other = contender("hybrid", "hybrid(cam=grad_cam)", cam="grad_cam")
    return [*PAPER, *extra, "grad_cam", other, *CONTROLS, *BASELINES]


def _ablation(height: int, chosen: Chosen | None) -> list[str | Contender]:
    return [
        *PAPER,
        *([calibrated(height, chosen)] if chosen else []),
        *CONTROLS,
        "bounded_cam_smoothed",
        "random_map",
        contender("bounded_noise", "bounded_noise(threshold=0)", threshold=0.0),
        contender("lrp_smoothed", "lrp_smoothed(sigma=H/32)", sigma=height / 32),
        contender("hybrid", "hybrid(cam=grad_cam)", cam="grad_cam"),
        contender("hybrid", "hybrid(cam=layer_cam)", cam="layer_cam"),
        contender("hybrid", "product", threshold=0.0, sigma=0.0),
        *grid(height),
    ]


def _combinations(height: int, chosen: Chosen | None) -> list[str | Contender]:
    partners = ("deep_lift", "integrated_gradients", "guided_backprop", "feature_ablation")
    found = [combine(METHODS["grad_cam_plus_plus"], METHODS[name]) for name in partners]
    return [*PAPER, "bounded_noise", "bounded_edges", *partners, *_records(found)]


def _forensics(height: int, chosen: Chosen | None) -> list[str | Contender]:
    published = [name for name, one in METHODS.items() if one.family == "as published, faulty"]
    logit = [contender(name, f"{name}(start=logit)", start="logit") for name in PAPER[1:]]
    rest = ("lrp_z", "bounded_cam", "bounded_noise", "random_map", "sobel_edges", "centre_prior")
    return [*PAPER, *logit, *published, *rest]


def _depth(height: int, chosen: Chosen | None) -> list[str | Contender]:
    rivals = ("lrp_paper", "gradient_x_activation", "gradient")
    return ["hybrid", "lrp_paper", "gradient_x_input", *_probes(rivals, BLOCKS)]


def _by_block(height: int, chosen: Chosen | None) -> list[str | Contender]:
    rivals = ("grad_cam", "layer_cam", "relevance_cam", "fg_cam")
    picture = ("fg_cam", "fg_cam_denoised", "lrp_paper", "lrp_epsilon_plus", "hybrid")
    return [*picture, "grad_cam", "layer_cam", "relevance_cam", *_probes(rivals, BLOCKS[:-1])]


def _removed(height: int, chosen: Chosen | None) -> list[str | Contender]:
    names = ("lrp_outside", "lrp_outside_shuffled", "lrp_elsewhere")
    return ["hybrid", *(Contender(name, removed(name)) for name in names)]


def _probes(names: Sequence[str], numbers: Sequence[int]) -> list[Contender]:
    return _records([at_block(name, block) for block in numbers for name in names])


def _records(records: Sequence[Method]) -> list[Contender]:
    return [Contender(one.name, one) for one in records]


_FOUR = ("srg", "relevance_rank_accuracy", "relevance_mass", "sparseness")
EXPERIMENTS: dict[str, Experiment] = {
    # Settings are chosen here and reported elsewhere: one setting changed at a time.
    "calibration": Experiment(CALIBRATION, VGG, 30, grid, _metrics(*_FOUR), real=False),
    # Table I and Fig. 7: Quantus' five metrics.
    "table_one": Experiment("test", VGG, 200, _table_one, _metrics(*TABLE_ONE)),
    # Fig. 6: captum's infidelity, normalised and raw, 20 draws of the perturbations each.
    "infidelity": Experiment(
        "test",
        VGG,
        200,
        _rows(*PAPER, "bounded_noise", "lrp_smoothed", "random_map"),
        _metrics("infidelity", "infidelity_raw"),
        seeds=tuple(range(20)),
    ),
    # What Table I leaves out: does the network need what the map marks?
    "faithfulness": Experiment(
        "test",
        VGG,
        60,
        _table_one,
        _metrics(
            *("srg", "morf", "lerf", "deletion", "insertion", "idsds", "sensitivity_n"),
            "counterfactual",
        ),
    ),
    # Does the map lie on the object?
    "localisation": Experiment(
        "test",
        VGG,
        200,
        _table_one,
        _metrics("relevance_mass", "pointing_game", "energy_pointing_game", "auc", "box_iou"),
    ),
    # Two objects in each picture: does the map tell them apart?
    "classes": Experiment(
        "duo",
        VGG,
        200,
        _table_one,
        _metrics("own_share", "class_discrimination", "random_logit"),
        real=False,
    ),
    # Does the map change when the network's weights do?
    "randomisation": Experiment(
        "test", VGG, 100, _table_one, _metrics("mprt_spearman", "mprt_ssim", "emprt")
    ),
    # Faithfulness with imputed pixels; 40 pictures, since each map needs 18 imputations.
    "road": Experiment("test", VGG[:1], 40, _table_one, _metrics("road"), real=False),
    # Do 10 samples of AvgSensitivity do for 200?
    "samples": Experiment(
        "test",
        VGG[:1],
        16,
        _rows(*PAPER, "bounded_noise"),
        _metrics(avg_sensitivity={"samples": 200}),
        real=False,
    ),
    # Table I with each suspected fault switched on.
    "forensics": Experiment("test", VGG[:1], 100, _forensics, _metrics(*TABLE_ONE)),
    # What each step buys, and what the settings do.
    "ablation": Experiment("test", VGG, 60, _ablation, _metrics(*_FOUR, "avg_sensitivity")),
    # Fig. 3: other methods inside the bounding figure.
    "combinations": Experiment(
        "test",
        VGG[:1],
        60,
        _combinations,
        _metrics("relevance_mass", "relevance_rank_accuracy", "sparseness", "srg"),
    ),
    # Composite LRP, SGLRP and CLRP: do their maps tell classes apart?
    "relatives": Experiment(
        "duo",
        VGG,
        60,
        _rows("hybrid", "lrp_paper", "lrp_z", "sglrp", "clrp1", "clrp2"),
        _metrics("own_share", "relevance_rank_accuracy", "random_logit"),
    ),
    # Does noise on the picture change relevance at a block less than it does gradients?
    "depth": Experiment("test", VGG, 60, _depth, _metrics(avg_sensitivity={"samples": 5})),
    # FG-CAM, Relevance-CAM and other CAMs block by block, and LRP at the picture.
    "blocks": Experiment(
        "test", VGG, 60, _by_block, _metrics("idsds", "relevance_rank_accuracy", "relevance_mass")
    ),
    # Is it noise, what the bounding figure takes from LRP?
    "removed": Experiment("test", VGG, 60, _removed, _metrics("relevance_mass", srg={"steps": 10})),
}
AGREEMENT = "agreement"
# Does agreement of CAM and LRP tell when the network errs? See `agreement_rows`.
TABLES = EXPERIMENTS | {AGREEMENT: Experiment("hard", VGG[:1], 2000, _rows(), {})}


def choose(table: pd.DataFrame) -> Chosen:
    """The settings with the highest mean SRG, one setting at a time; ties go to the first.

    Raises:
        ValueError: The table is not of the calibration split, or lacks a setting.
    """
    splits = sorted(set(table["split"]))
    if splits != [CALIBRATION]:
        raise ValueError(f"table must be of the split calibration alone, got {splits}")
    mean = table[table["metric"] == "srg"].groupby("method")["value"].mean()
    found = EXPERIMENTS["calibration"].contenders(128, None)
    best: dict[str, Any] = {}
    for key in ("threshold", "composite"):
        labels = {
            str(one.label): one.settings[key]
            for one in found
            if isinstance(one, Contender) and key in one.settings
        }
        best[key] = labels[_highest(mean, list(labels))]
    shares = {sigma_label(share): share for share in SIGMA_SHARES}
    return Chosen(sigma_share=shares[_highest(mean, list(shares))], **best)


def _highest(mean: pd.Series, labels: list[str]) -> str:
    missing = [label for label in labels if mean.isna().get(label, True)]  # or without any score
    if missing:
        raise ValueError(f"table must have every setting, lacks {missing}")
    return max(labels, key=lambda label: mean[label])
