"""Read a study: its table, its summary, what it cost, and another study beside it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xaiutils.evidence.claims import Verdict, judge, load_claims
from xaiutils.evidence.study.folder import StudyFolder
from xaiutils.evidence.study.parts import LOG, RESULT, found_parts, log_paths, read_part
from xaiutils.evidence.study.work import ACCIDENTS, NETWORK, RIGHT
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import compare, summarise
from xaiutils.support import checks
from xaiutils.support.files import ABOUT, BrokenPart, write_whole

LOGGED = ["error_code", "method", "metric", "reason", "host", "instructions", "seconds"]
ROWS = 100_000  # in a row group of the table, at least


class Status(NamedTuple):
    """How far a study is."""

    parts: int  # of the study
    done: int  # are there and whole
    broken: tuple[int, ...]  # are there and not whole
    rows: int  # in the parts that are done
    scored: int  # rows of methods with a score
    failed: int  # rows of methods with an accident
    codes: dict[str, int]  # rows with each error code
    where: dict[tuple[str, str, str], int]  # rows with each (error code, method, metric)
    reasons: dict[tuple[str, str, str], str]  # the first that the log gives for each of these
    seconds: float  # spent on all attempts, as the log has it
    unread: tuple[str, ...]  # logs that cannot be read
    machines: tuple[tuple[str, str], ...]  # hosts, with the instructions that torch used there


def study_status(opened: StudyFolder) -> Status:
    """Read every part and log; nothing is written, so that a read-only folder will do."""
    done, broken = 0, []
    counts: Counter[tuple[str, str, str]] = Counter()
    for index in found_parts(opened.path):
        try:
            part = read_part(opened.path, opened.study.hash, index)
        except BrokenPart:
            broken.append(index)
            continue
        done += 1
        columns = (part[name].to_pylist() for name in ("error_code", "method", "metric"))
        counts.update(zip(*columns, strict=True))
    where = {key: count for key, count in counts.items() if key[0]}
    codes: Counter[str] = Counter()
    scored = failed = 0
    for (code, method, _), count in counts.items():
        codes.update({code: count} if code else {})
        scored += count if method != NETWORK and not code else 0
        failed += count if method != NETWORK and code in ACCIDENTS else 0
    seconds, unread = 0.0, []
    reasons: dict[tuple[str, str, str], str] = {}
    machines: dict[tuple[str, str], None] = {}
    for path in log_paths(opened.path):  # one by one: they are as many as the parts
        try:
            with path.open("rb") as stream:
                log = pq.read_table(stream, columns=LOGGED)
        except (OSError, pa.ArrowException):
            unread.append(path.name)
            continue
        for *key, reason, host, kind, took in zip(
            *(log[name].to_pylist() for name in LOGGED), strict=True
        ):
            seconds += took
            machines[host, kind] = None
            code, method, metric = key
            if (code, method, metric) in where:
                reasons.setdefault((code, method, metric), reason)
    return Status(
        opened.study.parts, done, tuple(broken), counts.total(), scored, failed, dict(codes),
        where, reasons, seconds, tuple(unread), tuple(machines),
    )  # fmt: skip


def write_result(opened: StudyFolder, path: Path) -> int:
    """Write the result table, part after part: the same bytes whoever scored them; its rows."""
    about = json.dumps({"study": opened.study.hash, "configuration": asdict(opened.study)})
    schema = RESULT.with_metadata({ABOUT: about.encode()})
    count = 0

    def write(stream: Any) -> None:
        nonlocal count
        waiting: list[pa.Table] = []
        options = {"compression": "zstd", "write_page_checksum": True}
        with pq.ParquetWriter(stream, schema, **options) as writer:
            for index in range(opened.study.parts):
                waiting.append(read_part(opened.path, opened.study.hash, index))
                if sum(map(len, waiting)) >= ROWS or index == opened.study.parts - 1:
                    group = pa.concat_tables(waiting).combine_chunks()
                    writer.write_table(group.replace_schema_metadata(schema.metadata))
                    count += len(group)
                    waiting.clear()

    write_whole(path, write)
    return count


def load_study(
    opened: StudyFolder, *, right_only: bool = False, partial: bool = False
) -> pd.DataFrame:
    """The scores as the rest of the package has them: `xaiutils.metrics.score_table.COLUMNS`.

    Args:
        opened: The study.
        right_only: Only of pictures whose label the network says.
        partial: Take what is there; otherwise a missing part is an error.

    Raises:
        FileNotFoundError, BrokenPart: A part is missing or broken.
    """
    found = []
    for index in range(opened.study.parts):
        try:
            part = read_part(opened.path, opened.study.hash, index)
        except (FileNotFoundError, BrokenPart):
            if not partial:
                raise
            continue
        found.append(part.drop(["wnid", "model"]))
    if not found:
        raise FileNotFoundError(f"{opened.path} must have a part, it has none")
    # Names once and a number for each row: 40 bytes a score in all.
    table = pa.concat_tables(found).to_pandas(strings_to_categorical=True)
    network = table["method"] == NETWORK
    if right_only:
        right = table.loc[network & (table["metric"] == RIGHT) & (table["value"] == 1), "image_id"]
        table = table[table["image_id"].isin(right)]
    table = table[table["method"] != NETWORK]
    return pd.DataFrame(
        {
            "workload": opened.study.workload,
            "network": opened.study.model,
            "split": opened.study.split,
            "image": table["image_id"],
            **{name: table[name] for name in ("method", "metric", "seed", "value")},
            "why": table["error_code"],
        }
    ).reset_index(drop=True)


def read_log(opened: StudyFolder) -> pd.DataFrame:
    """What every attempt took and said: seconds, host, reasons, tracebacks; in no fixed order."""
    found = []
    for path in log_paths(opened.path):
        with path.open("rb") as stream:
            found.append(pq.read_table(stream, schema=LOG))
    return (pa.concat_tables(found) if found else LOG.empty_table()).to_pandas()


def study_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means with intervals, metric by metric: see `xaiutils.metrics.score_table.summarise`."""
    names = table["metric"].unique()
    return pd.concat([summarise(_plain(table[table["metric"] == n])) for n in names])


def against(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Every method of one study against every method of another, on what is in both tables.

    Args:
        own, other: From `load_study`; of one workload, split and network. A method that both have
            is called ``NAME (other)`` in the second.

    Returns:
        The rows of `xaiutils.metrics.score_table.compare`, one for each metric that both have and
        each pair; ``difference`` is positive where the study's own method is better.
    """
    keys = ["workload", "split", "network"]
    for key in keys:
        one, two = (set(map(str, table[key].unique())) for table in (own, other))
        if one != two:
            raise ValueError(f"other must be of the same {key}, {sorted(one)}, got {sorted(two)}")
    shared = {key: set(own[key]) & set(other[key]) for key in ("image", "metric", "seed")}
    for key, names in shared.items():
        if not names:
            raise ValueError(f"other must share images, metrics and seeds, no {key} is in both")
    own, other = (
        _plain(t[t["image"].isin(shared["image"]) & t["seed"].isin(shared["seed"])])
        for t in (own, other)
    )
    found = []
    for metric in filter(shared["metric"].__contains__, own["metric"].unique()):
        one, two = (t[t["metric"] == metric] for t in (own, other))
        twice = set(one["method"]) & set(two["method"])
        two = two.assign(method=[f"{m} (other)" if m in twice else m for m in two["method"]])
        table, rivals = pd.concat([one, two]), list(two["method"].unique())
        better = METRICS[checks.choice("metric", metric, METRICS)].better
        found += [compare(table, metric, m, rivals, better) for m in one["method"].unique()]
    return pd.concat(found, ignore_index=True)


def study_verdicts(opened: StudyFolder, claims: Path) -> list[Verdict]:
    """The claims of a file that this study's methods and metrics can answer.

    Only pictures whose label the network says are counted, as in `xaiutils.evidence.tables`.
    """
    table = load_study(opened, right_only=True)
    methods, metrics = set(table["method"].unique()), set(table["metric"].unique())
    return [
        judge(claim, _plain(table[table["metric"] == claim.metric]), METRICS[claim.metric].better)
        for claim in load_claims(claims, METRICS)
        if not claim.withdrawn
        and claim.metric in metrics
        and {claim.of, *claim.against} <= methods
        and opened.study.workload in claim.workloads
    ]


def require_comparable(own: StudyFolder, other: StudyFolder) -> None:
    """Refuse to pair scores of two networks, or of pictures that only share their names."""
    for key in ("weights", "network"):
        one, two = (getattr(opened.study, key) for opened in (own, other))
        if one != two:
            raise ValueError(f"other must be of the same {key}, {one}, got {two}")
    known = {picture.image_id: picture.sha256 for picture in own.pictures}
    shared = [picture for picture in other.pictures if picture.image_id in known]
    changed = [picture.image_id for picture in shared if known[picture.image_id] != picture.sha256]
    if changed or not shared:
        what = f"others under the names {changed[:5]}" if changed else "none of them"
        raise ValueError(f"other must have the study's pictures, got {what}")


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Text for categories, whose unused values group by would count."""
    names = [n for n in table.columns if isinstance(table[n].dtype, pd.CategoricalDtype)]
    return table.astype(dict.fromkeys(names, str))
