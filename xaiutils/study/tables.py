"""Read a study: its table, its summary, what it cost, and another study beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from xaiutils import checks
from xaiutils.claims import load_claims
from xaiutils.metrics import METRICS
from xaiutils.score_table import compare, summarise
from xaiutils.study.files import alone, write_whole
from xaiutils.study.folder import MANIFEST, PICTURES, StudyFolder, open_study
from xaiutils.study.parts import (
    ABOUT,
    RESULT,
    BrokenPart,
    found_parts,
    log_paths,
    part_path,
    read_part,
)
from xaiutils.study.work import NETWORK, RIGHT
from xaiutils.verdicts import Verdict, judge

ROWS = 100_000  # in a row group of the table, at least


@dataclass(frozen=True)
class Status:
    """How far a study is.

    Attributes:
        parts, done: Of the study, and those that are there and whole. broken: Those that are not.
        rows: In the parts that are done. codes: How many of them have each error code.
        where: How many have each (error code, method, metric).
        seconds: Spent on all attempts, as the log has it.
        machines: Hosts with the instructions that torch used there; more than one kind of them
            can differ in last bits.
    """

    parts: int
    done: int
    broken: tuple[int, ...]
    rows: int
    codes: dict[str, int]
    where: dict[tuple[str, str, str], int]
    seconds: float
    machines: tuple[tuple[str, str], ...]


def study_status(opened: StudyFolder) -> Status:
    """Read every part and log; nothing is written, so that a read-only folder will do."""
    done, rows, broken = 0, 0, []
    where: Counter[tuple[str, str, str]] = Counter()
    for index in found_parts(opened.path):
        try:
            part = read_part(opened.path, opened.study.hash, index)
        except BrokenPart:
            broken.append(index)
            continue
        done += 1
        rows += len(part)
        columns = (part[name].to_pylist() for name in ("error_code", "method", "metric"))
        where.update(key for key in zip(*columns, strict=True) if key[0])
    codes: Counter[str] = Counter()
    for (code, _, _), count in where.items():
        codes[code] += count
    log = read_log(opened)
    machines = log[["host", "instructions"]].drop_duplicates().itertuples(index=False, name=None)
    return Status(
        opened.study.parts,
        done,
        tuple(broken),
        rows,
        dict(codes),
        dict(where),
        float(log["seconds"].sum()),
        tuple(machines),
    )


def write_result(opened: StudyFolder, path: Path) -> int:
    """Write the result table, part after part: the same bytes whoever scored them; its rows.

    Raises:
        FileNotFoundError, BrokenPart: A part is missing or broken.
    """
    about = json.dumps({"study": opened.study.hash, "configuration": asdict(opened.study)})
    schema = RESULT.with_metadata({ABOUT: about.encode()})
    count = 0

    def write(stream: Any) -> None:
        nonlocal count
        with pq.ParquetWriter(
            stream, schema, compression="zstd", write_page_checksum=True
        ) as writer:
            for table in _groups(opened):
                writer.write_table(table.replace_schema_metadata(schema.metadata))
                count += len(table)

    write_whole(path, write)
    return count


def _groups(opened: StudyFolder) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for index in range(opened.study.parts):
        waiting.append(read_part(opened.path, opened.study.hash, index))
        if sum(map(len, waiting)) >= ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def load_study(
    opened: StudyFolder, *, right_only: bool = False, partial: bool = False
) -> pd.DataFrame:
    """The scores as the rest of the package has them: `xaiutils.score_table.COLUMNS`.

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
        # Names once and a number for each row: 40 bytes a score in all.
        found.append(
            part.select([name for name in RESULT.names if name not in ("wnid", "model")])
            .to_pandas(strings_to_categorical=True)
            .astype({"seed": "int32"})
        )
    if not found:
        raise FileNotFoundError(f"{opened.path} must have a part, it has none")
    table = _joined(found)
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


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    from pandas.api.types import union_categoricals

    columns = {}
    for name in tables[0].columns:
        parts = [table[name] for table in tables]
        if isinstance(parts[0].dtype, pd.CategoricalDtype):
            columns[name] = pd.Series(union_categoricals(parts))
        else:
            columns[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(columns)


def read_log(opened: StudyFolder) -> pd.DataFrame:
    """What every attempt took and said: seconds, host, reasons, tracebacks; in no fixed order."""
    from xaiutils.study.parts import LOG

    found = [pq.read_table(path, schema=LOG) for path in log_paths(opened.path)]
    return (pa.concat_tables(found) if found else LOG.empty_table()).to_pandas()


def study_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means with intervals, metric by metric: see `xaiutils.score_table.summarise`."""
    names = table["metric"].unique()
    return pd.concat([summarise(_plain(table[table["metric"] == n])) for n in names])


def against(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Every method of one study against every method of another, on what both have.

    That is pictures, metrics and seeds that are in both tables.

    Args:
        own, other: From `load_study`; of one workload, split and network. A method that both have
            is called ``NAME (other)`` in the second.

    Returns:
        The rows of `xaiutils.score_table.compare`, one for each metric that both have and each
        pair; ``difference`` is positive where the study's own method is better.

    Raises:
        ValueError: They have no network, picture, metric or seed in common.
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
    metrics = [name for name in own["metric"].unique() if name in shared["metric"]]
    found = []
    for metric in metrics:
        one, two = (
            _plain(
                t[
                    (t["metric"] == metric)
                    & t["image"].isin(shared["image"])
                    & t["seed"].isin(shared["seed"])
                ]
            )
            for t in (own, other)
        )
        twice = set(one["method"]) & set(two["method"])
        two["method"] = [f"{m} (other)" if m in twice else m for m in two["method"]]
        table = pd.concat([one, two])
        better = METRICS[checks.choice("metric", str(metric), METRICS)].better
        rivals = list(two["method"].unique())
        found += [compare(table, str(metric), m, rivals, better) for m in one["method"].unique()]
    return pd.concat(found, ignore_index=True)


def study_verdicts(opened: StudyFolder, claims: Path) -> list[Verdict]:
    """The claims of a file that this study's methods and metrics can answer.

    Only pictures whose label the network says are counted, as in `xaiutils.evidence`.
    """
    table = load_study(opened, right_only=True)
    methods, metrics = set(table["method"].unique()), set(table["metric"].unique())
    return [
        judge(claim, _plain(table[table["metric"] == claim.metric]), METRICS[claim.metric].better)
        for claim in load_claims(claims, METRICS)
        if claim.metric in metrics
        and {claim.of, *claim.against} <= methods
        and opened.study.workload in claim.workloads
    ]


def merge_studies(out: Path, folders: Sequence[StudyFolder]) -> int:
    """Gather the parts of several folders of one study, such as shards, in a new one; their number.

    Raises:
        ValueError: They are not of one study, or two of them disagree about a part.
        FileExistsError: ``out`` holds something else.
    """
    first, *others = folders
    for one in others:
        if one.study.hash != first.study.hash:
            raise ValueError(
                f"folders must be of one study, {first.path} is of {first.study.hash}, "
                f"{one.path} of {one.study.hash}"
            )
    if (out / MANIFEST).is_file():
        if open_study(out).study.hash != first.study.hash:
            raise FileExistsError(f"{out} must be new or of study {first.study.hash}")
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} must be new or of study {first.study.hash}")
    for name in ("parts", "log"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with alone(out, (1, 1)):
        for name in (PICTURES, MANIFEST):
            _copy(first.path / name, out / name)
        for one in folders:
            for index in found_parts(one.path):
                rows = read_part(one.path, first.study.hash, index)
                if part_path(out, index).is_file():
                    if not read_part(out, first.study.hash, index).equals(rows):
                        raise ValueError(f"{one.path} and {out} disagree about part {index}")
                    continue
                _copy(part_path(one.path, index), part_path(out, index))
            for path in log_paths(one.path):
                _copy(path, out / "log" / path.name)
    return len(list(found_parts(out)))


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    write_whole(target, lambda stream: stream.write(content))


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Text for categories, whose unused values group by would count."""
    names = [n for n in table.columns if isinstance(table[n].dtype, pd.CategoricalDtype)]
    return table.astype(dict.fromkeys(names, str))
