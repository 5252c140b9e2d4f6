"""The page of claims: stored tables and ``docs/claims.yaml`` to ``docs/claims.md``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from xaiutils.claims import Claim, load_claims
from xaiutils.experiments import TABLES
from xaiutils.metrics import METRICS
from xaiutils.results import stored
from xaiutils.score_table import COLUMNS
from xaiutils.verdicts import Verdict, judge, report

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = "xaiutils claims"


def judge_claims(path: Path | None = None, out: Path | None = None) -> list[tuple[Claim, Verdict]]:
    """Each claim with its verdict on every workload whose tables are stored.

    Args:
        path: Of the claims; by default ``docs/claims.yaml``.
        out: Of the tables, see `xaiutils.results.base`.
    """
    claims = load_claims(path or DOCS / "claims.yaml", METRICS)
    tables = {name: _together(name, out) for name in dict.fromkeys(one.table for one in claims)}
    return [
        (claim, judge(claim, tables[claim.table], METRICS[claim.metric].better)) for claim in claims
    ]


def write_page(
    path: Path | None = None, out: Path | None = None, page: Path | None = None
) -> list[str]:
    """Write ``docs/claims.md``; returns its lines.

    Args:
        path, out: As for `judge_claims`.
        page: The file to be written.
    """
    judged = judge_claims(path, out)
    lines = report([claim for claim, _ in judged], [verdict for _, verdict in judged], COMMAND)
    lines += ["", "## Tables", "", "| table | configuration | scores |", "|---|---|---|"]
    for name in TABLES:
        for table in stored(name, out):
            about = table.attrs
            lines.append(f"| {about['workload']}: {name} | `{about['hash']}` | {len(table)} |")
    (page or DOCS / "claims.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _together(name: str, out: Path | None) -> pd.DataFrame:
    """The stored tables of one experiment on all workloads, as one; no rows where there is none."""
    found = [table[COLUMNS] for table in stored(name, out)]
    if not found:
        return pd.DataFrame(columns=COLUMNS).astype({"value": float})
    for table in found:
        table.attrs = {}
    return pd.concat(found, ignore_index=True)
