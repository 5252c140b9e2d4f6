"""Where the tables of the experiments are kept: ``results/<workload>/<experiment>.parquet``.

Each file carries its configuration and the hash of that.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from xaiutils.cases.workloads import Workload
from xaiutils.evidence.experiments import CALIBRATION, TABLES, Chosen, choose
from xaiutils.metrics.score_table import KEYS
from xaiutils.support import checks
from xaiutils.support.files import (
    ABOUT,
    BrokenPart,
    is_checkout,
    read_checked,
    shipped,
    sweep,
    write_checked,
)


def base(out: Path | None = None) -> Path:
    """The folder of tables: ``out``, ``XAIUTILS_RESULTS``, or ``results``.

    The last is the checkout's, or that of the working directory if the package was installed.
    """
    return _homes(out)[0]


def _homes(out: Path | None) -> tuple[Path, ...]:
    """Where tables are looked for; where no folder is named, behind it those of the package."""
    asked = out or os.environ.get("XAIUTILS_RESULTS")
    if asked:
        return (Path(asked),)
    return (shipped("results"),) if is_checkout() else (Path("results"), shipped("results"))


def folder(workload: Workload, out: Path | None = None) -> Path:
    """Where a workload's tables are: ``results/scenes``, or with the name of its network."""
    return base(out) / _named(workload.name, workload.classifier.name)


def _named(workload: str, network: str) -> str:
    return workload if workload == "scenes" else f"{workload}_{network}"


def load_table(name: str, workload: Workload, out: Path | None = None) -> pd.DataFrame:
    """The stored table of an experiment, a name in `TABLES`; its configuration is in ``.attrs``.

    ``out`` says where the tables are, see `base`.

    Raises:
        FileNotFoundError: Nobody has made it; the message says how.
        TypeError, ValueError: An unknown name.
        BrokenPart: It is not what was written.
    """
    return _load(name, _named(workload.name, workload.classifier.name), workload.source, out)


def _load(name: str, home: str, source: str, out: Path | None) -> pd.DataFrame:
    checks.choice("name", name, TABLES)
    found = [one / home / f"{name}.parquet" for one in _homes(out)]
    path = next((path for path in found if path.is_file()), found[0])
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} must exist: make it with xaiutils evidence --workload {source} {name}"
        )
    return _read(path)


def stored(name: str, out: Path | None = None) -> list[pd.DataFrame]:
    """The tables of an experiment on every workload that has one, scenes first."""
    checks.choice("name", name, TABLES)
    every = ([*home.glob(f"*/{name}.parquet")] for home in _homes(out))
    found = next(filter(None, every), [])
    return [_read(path) for path in sorted(found, key=lambda p: (p.parent.name != "scenes", p))]


def _read(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    try:
        read = pq.read_table(path)
        about = json.loads(read.schema.metadata[ABOUT])
        if "sha256" in about:  # tables of version 1.0 have none
            about, read = read_checked(path)
    except Exception as error:  # a changed byte can mean anything to JSON and Arrow
        told = error if isinstance(error, BrokenPart) else f"{path} cannot be read: {error!r}"
        raise BrokenPart(
            f"{told}. Move it away, and make it anew: xaiutils evidence {path.stem}"
        ) from None
    table = read.to_pandas()
    names = table.select_dtypes("category").columns
    table = table.astype(dict.fromkeys(names, str) | {"value": "float64"})
    table.attrs = about
    return table


def store(table: pd.DataFrame, out: Path | None = None) -> Path:
    """Write a table of `make_table` under `base`; it is there whole or not at all."""
    import pyarrow as pa

    about = table.attrs
    path = base(out) / _named(about["workload"], table["network"].iloc[0])
    path.mkdir(parents=True, exist_ok=True)
    path /= f"{about['name']}.parquet"
    names = dict.fromkeys((*KEYS[:-1], "why"), "category")
    small = table.astype(names | {"value": "float32", "seed": "int16"})
    written = pa.Table.from_pandas(small, preserve_index=False)
    sweep(path.parent, path.name, older=3600)  # another run may write beside this one
    write_checked(path, written, about)
    return path


def chosen(out: Path | None = None) -> Chosen:
    """The settings that the stored calibration table chooses."""
    return choose(_load(CALIBRATION, "scenes", "scenes", out))


def largest_difference(live: pd.DataFrame, stored: pd.DataFrame) -> float:
    """How far the rows of a live table are from the stored ones, at most; each must be there."""
    both = live.merge(stored, on=KEYS, how="left", suffixes=("", "_stored"), indicator=True)
    lost = int((both["_merge"] != "both").sum())
    if lost:
        raise ValueError(f"{lost} rows are not in the stored table")
    if (both["value"].isna() != both["value_stored"].isna()).any():
        raise ValueError("a row has a score in one table and none in the other")
    return float((both["value"] - both["value_stored"]).abs().max())
