"""What a study is: everything that decides its result table, frozen and hashed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil
from typing import Any

from xaiutils.cases.workloads import Workload
from xaiutils.evidence import fingerprint
from xaiutils.methods import METHODS, combine
from xaiutils.metrics import METRICS
from xaiutils.metrics.scoring import Contender, contender
from xaiutils.support import checks

DEVICES = ("cpu", "cuda")
HALVE = "auto"


@dataclass(frozen=True)
class Study:
    """The configuration; two studies with one hash have the same result table."""

    workload: str
    split: str
    model: str
    weights: str  # a hash, as those below
    network: dict[str, str]  # operations, CAM layer, preprocessing
    pictures: str  # all of them with their labels
    images: int
    methods: tuple[str, ...]  # rows and columns, as `parse_method` and `parse_metric` read them
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]  # each gives a row of its own
    part: int  # pictures in a part
    # The most pictures that the network gets at once; None as the metrics ask; "auto" as they ask,
    # and half where memory does not hold them, which changes last bits.
    batch: int | str | None
    threads: int  # of the process that scores; their number changes last bits
    device: str  # "cpu" or "cuda"
    autocast: bool  # whether the network computes in bfloat16 where torch thinks that it may
    settings: dict[str, Any]  # of methods and metrics, defaults included
    versions: dict[str, str]  # of the libraries

    @cached_property
    def hash(self) -> str:
        """Of everything above, 16 hexadecimal digits."""
        return fingerprint.of(asdict(self))

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return ceil(self.images / self.part)

    def entrants(self) -> list[Contender]:
        """The methods."""
        return [parse_method(text) for text in self.methods]

    def scores(self) -> dict[str, dict[str, Any]]:
        """The metrics with the settings that they were given."""
        return dict(parse_metric(text) for text in self.metrics)

    def require(self, work: Workload) -> None:
        """Refuse to go on with another network, other settings or other libraries."""
        live = {
            "model": work.classifier.name,
            "weights": fingerprint.weights(work.classifier),
            "network": fingerprint.network(work.classifier),
            "settings": settings_of(self.methods, self.metrics),
            "versions": fingerprint.versions(),
        }
        different = [
            f"{key} {_short(getattr(self, key), value)}"
            for key, value in live.items()
            if getattr(self, key) != value
        ]
        if different:
            raise ValueError(
                f"study {self.hash} must be run with what it began with, here differ: "
                f"{'; '.join(different)}. Take another folder for another study"
            )


def parse_method(text: str) -> Contender:
    """A row: ``name``, ``name:setting=value,setting=value``, or ``cam*method``, see `combine`."""
    name, settings = _parse(text)
    if "*" not in name:
        return contender(name, **settings)
    cam, _, other = name.partition("*")
    for one in (cam, other):
        checks.choice("methods", one, METHODS)
    found = combine(cam, other)
    for key in settings:
        checks.choice(f"setting of {found.name}", key, tuple(found.settings))
    given = ", ".join(f"{key}={value}" for key, value in settings.items())
    return Contender(f"{found.name}({given})" if given else found.name, found, settings)


def parse_metric(text: str) -> tuple[str, dict[str, Any]]:
    """A metric and its settings: ``name`` or ``name:setting=value,setting=value``."""
    name, settings = _parse(text)
    known = METRICS[checks.choice("metrics", name, METRICS)].settings
    for key in settings:
        checks.choice(f"setting of {name}", key, tuple(known))
    return name, settings


def settings_of(methods: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """All settings in full, so that a changed default is a changed study."""
    rows = [(row.label, fingerprint.method(row)) for row in map(parse_method, methods)]
    columns = [(name, fingerprint.metric(name, own)) for name, own in map(parse_metric, metrics)]
    require_once("methods", [name for name, _ in rows])
    require_once("metrics", [name for name, _ in columns])
    return {"methods": dict(rows), "metrics": dict(columns)}


def require_once(argument: str, names: Sequence[Any]) -> None:
    """Refuse none, and what is named twice."""
    twice = sorted(str(name) for name, count in Counter(names).items() if count > 1)
    if twice or not names:
        given = f"{', '.join(twice)} twice" if twice else "none"
        raise ValueError(f"{argument} must be one or more, each once, got {given}")


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    settings = {}
    for pair in rest.split(",") if rest else []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{text!r} must be name:setting=value,setting=value, got {pair!r}")
        if key.strip() in settings:
            raise ValueError(f"{text!r} must give each setting once, got {key.strip()} twice")
        settings[key.strip()] = checks.literal(f"{name.strip()}:{key.strip()}", value.strip())
    return name.strip(), settings


def _short(old: Any, new: Any) -> str:
    """What changed, of a mapping only the entries that did."""
    if not isinstance(old, dict):
        return f"{old} became {new}"
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(f"{key}: {_short(old.get(key), new.get(key))}" for key in keys)
