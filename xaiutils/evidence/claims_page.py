"""The page of claims: stored tables and ``docs/claims.yaml`` to ``docs/claims.md``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from xaiutils.evidence import forensics
from xaiutils.evidence.claims import Claim, load_claims
from xaiutils.evidence.experiments import TABLES
from xaiutils.evidence.results import base, stored
from xaiutils.evidence.verdicts import Verdict, judge, report
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import COLUMNS
from xaiutils.support.files import is_checkout, shipped, write_whole

DOCS = shipped("docs")
COMMAND = "xaiutils claims"


def judge_claims(
    path: Path | None = None, out: Path | None = None, notebook: str = ""
) -> list[tuple[Claim, Verdict]]:
    """Each claim with its verdict on every workload whose tables are stored.

    Args:
        path: Of the claims; by default ``docs/claims.yaml``.
        out: Of the tables, see `xaiutils.evidence.results.base`.
        notebook: Only the claims that are shown in it, "08" or "08_related_work.ipynb#place".
    """
    claims = load_claims(path or DOCS / "claims.yaml", METRICS)
    claims = [claim for claim in claims if claim.cell.startswith(notebook)]
    tables = {name: _together(name, out) for name in dict.fromkeys(one.table for one in claims)}
    return [
        (claim, judge(claim, tables[claim.table], METRICS[claim.metric].better)) for claim in claims
    ]


def write_page(
    path: Path | None = None, out: Path | None = None, page: Path | None = None
) -> list[str]:
    """Write the page of claims; returns its lines.

    Args:
        path, out: As for `judge_claims`.
        page: The file to be written. By default ``docs/claims.md`` of a checkout for its own claims
            and tables, and otherwise ``claims.md`` in the folder of the tables.

    Raises:
        FileNotFoundError: There is no table to judge by.
    """
    if not any(stored(name, out) for name in TABLES):
        folder = base(out)
        raise FileNotFoundError(
            f"out must be a folder of tables, {folder} has none: make them with "
            f"xaiutils evidence{'' if out is None else f' --out {folder}'}"
        )
    judged = judge_claims(path, out)
    lines = report([claim for claim, _ in judged], [verdict for _, verdict in judged], COMMAND)
    for table in stored("forensics", out):
        lines += ["", *_forensics(table)]
    lines += ["", "## Tables", "", "| table | configuration | scores |", "|---|---|---|"]
    for name in TABLES:
        for table in stored(name, out):
            about = table.attrs
            lines.append(f"| {about['workload']}: {name} | `{about['hash']}` | {len(table)} |")
    text = "\n".join(lines) + "\n"
    write_whole(page or page_of(path, out), lambda stream: stream.write(text.encode()))
    return lines


def page_of(path: Path | None = None, out: Path | None = None) -> Path:
    """Where `write_page` writes: a checkout's page is made of its own claims and tables alone."""
    if is_checkout() and path is None and base(out).resolve() == shipped("results").resolve():
        return DOCS / "claims.md"
    return (base(out) if base(out).is_dir() else Path()) / "claims.md"


def _forensics(table: pd.DataFrame) -> list[str]:
    """How near each suspect comes to the paper's Table I, on one workload."""
    scores = forensics.trio_scores(table)
    near = forensics.nearest(scores)
    count = len(next(iter(scores.values())))
    lines = [
        f"## What could have given Table I: {table.attrs['workload']}, {count} images",
        "",
        "Rows are average sensitivity / sparseness / relevance rank accuracy / random logit /",
        "faithfulness correlation. The distance is over the first four, in units of the paper's",
        "own differences, with 95 % intervals over images. Of 5 scores and 3 pairs of rows, 15",
        "orders can agree; the last column counts the 3 of faithfulness among them. *Rules lost*",
        "is captum 0.9.0 from its second call on; *the same* is *no target, rules lost* with noise",
        "for LRP; *no network* is a centre prior, a random map and edges.",
        "Notebook [12](../notebooks/12_table_one_forensics.ipynb) explains the suspects.",
        "",
        f"| suspect | {' | '.join(forensics.ROWS)} | distance | of 15 orders | of 3 |",
        "|" + "---|" * 7,
        f"| Table I | {' | '.join(_row_of(values) for values in forensics.PAPER)} | 0 | 15 | 3 |",
    ]
    for name, one in near.items():
        means = scores[name].mean(0)
        rows = " | ".join(_row_of(values) for values in means)
        distance = f"{one.distance:.3f} [{one.low:.3f}, {one.high:.3f}]"
        faithful = forensics.orders(means[:, 4:], forensics.PAPER[:, 4:])
        lines.append(f"| {name} | {rows} | {distance} | {one.orders} | {faithful} |")
    return lines


def _row_of(values: Iterable[float]) -> str:
    *others, faithful = values
    return " / ".join([*(f"{value:.2f}" for value in others), f"{faithful:.3f}"])


def _together(name: str, out: Path | None) -> pd.DataFrame:
    """The stored tables of one experiment on all workloads, as one; no rows where there is none."""
    found = [table[COLUMNS] for table in stored(name, out)]
    if not found:
        return pd.DataFrame(columns=COLUMNS).astype({"value": float})
    for table in found:
        table.attrs = {}
    return pd.concat(found, ignore_index=True)
