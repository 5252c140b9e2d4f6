"""The page of claims: stored tables and ``docs/claims.yaml`` to ``docs/claims.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xaiutils.evidence import forensics, markdown
from xaiutils.evidence.claims import (
    ADDED,
    FAILS,
    HOLDS,
    RELATIONS,
    UNDECIDED,
    VERDICTS,
    Claim,
    Verdict,
    judge,
    load_claims,
)
from xaiutils.evidence.experiments import TABLES
from xaiutils.evidence.results import base, stored
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import COLUMNS
from xaiutils.metrics.stats import holm
from xaiutils.support.files import is_checkout, shipped

DOCS = shipped("docs")
LEVEL = 0.05
HEAD = f"""# The paper's claims, and what our scores say

Written by `xaiutils claims` from `docs/claims.yaml` and the table of scores. Do not edit.

Differences are means per image, positive where the first method is better, with 95 %
bootstrap intervals. Over several networks, numbers are ranges, and the interval reaches
from the lowest end to the highest. p is of the Wilcoxon signed-rank test, adjusted
(Holm) over all claims of a difference, the largest of the networks.

Intervals decide. A claim *holds* if they lie beyond its margin against every named
method on every network, *fails* if they exclude it on every network, and is *undecided*
otherwise. They are not adjusted for the number of claims: *weakly* is said where the
adjusted p of a difference is above {LEVEL:g}. Names are those of `METHODS`
([methods](methods.md)) and `METRICS` ([metrics](metrics.md)); `bounded_noise` is noise
in the place of LRP. *Better than one* must lie beyond for at least one named method.

The claims were fixed before the test split was opened. One that was withdrawn since is
struck through and not counted; one that is marked *added late* came after that. See
[Amendments](#amendments).
"""
ABOUT_FORENSICS = """
Rows are average sensitivity / sparseness / relevance rank accuracy / random logit /
faithfulness correlation. The distance is over the first four, in units of the paper's
own differences, with 95 % intervals over images. Of 5 scores and 3 pairs of rows, 15
orders can agree; the last column counts the 3 of faithfulness among them. *Rules lost*
is captum 0.9.0 from its second call on; *the same* is *no target, rules lost* with noise
for LRP; *no network* is a centre prior, a random map and edges.
Notebook [12](../notebooks/12_table_one_forensics.ipynb) explains the suspects.
"""


def judge_claims(
    path: Path | None = None, out: Path | None = None, notebook: str = ""
) -> list[tuple[Claim, Verdict]]:
    """Each claim with its verdict on every workload whose tables are stored.

    Args:
        path, out: Of the claims, by default ``docs/claims.yaml``; and of the tables, see `base`.
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
    """Write the page of claims, by default to `page_of` them; returns its lines."""
    tables = [table for name in TABLES for table in stored(name, out)]
    if not tables:
        folder = base(out)
        raise FileNotFoundError(
            f"out must be a folder of tables, {folder} has none: make them with "
            f"xaiutils evidence{'' if out is None else f' --out {folder}'}"
        )
    lines = report(judge_claims(path, out))
    for table in stored("forensics", out):
        lines += ["", *_forensics(table)]
    about = [(table.attrs, len(table)) for table in tables]
    rows = [(f"{a['workload']}: {a['name']}", f"`{a['hash']}`", str(n)) for a, n in about]
    lines += ["", "## Tables", "", *markdown.table(("table", "configuration", "scores"), rows)]
    markdown.write(page or page_of(path, out), lines)
    return lines


def page_of(path: Path | None = None, out: Path | None = None) -> Path:
    """``docs/claims.md`` of a checkout for its own claims and tables, else beside the tables."""
    if is_checkout() and path is None and base(out).resolve() == shipped("results").resolve():
        return DOCS / "claims.md"
    return (base(out) if base(out).is_dir() else Path()) / "claims.md"


def report(judged: Sequence[tuple[Claim, Verdict]]) -> list[str]:
    """The page of claims and their verdicts, as lines of Markdown."""
    workloads = list(dict.fromkeys(name for _, verdict in judged for name in verdict.outcomes))
    counts, brief, full = [], [], []
    for name in workloads:
        found = [
            v.outcomes[name].verdict for c, v in judged if name in v.outcomes and not c.withdrawn
        ]
        counts.append((name, *(str(found.count(word)) for word in VERDICTS)))
    for (claim, verdict), p in zip(judged, _adjusted(judged), strict=True):
        others, margin = " and ".join(claim.against), f"{claim.margin:g}"
        tested = RELATIONS[claim.relation].format(of=claim.of, others=others, margin=margin)
        among = f", {claim.statistic} among {', '.join(claim.among)}" if claim.statistic else ""
        late = claim.amended is not None and claim.amended.kind == ADDED
        gist = _struck(claim, claim.gist) + (" *(Added late.)*" if late else "")
        link = f"[{claim.cell.split('.')[0]}](../notebooks/{claim.cell})"
        weakly = {name: _weakly(claim, verdict, name, p) for name in verdict.outcomes}
        words = {n: _struck(claim, o.verdict + weakly[n]) for n, o in verdict.outcomes.items()}
        said = [
            _struck(claim, f"{n}: **{o.verdict}**{weakly[n]} {o.why}".strip())
            for n, o in verdict.outcomes.items()
        ]
        brief.append((gist, *(words.get(name, "") for name in workloads), link))
        full.append(
            (
                f"{gist}<br>{claim.note}" if claim.note else gist,
                claim.where,
                claim.paper,
                f"{claim.metric}{among}: {tested}",
                "<br>".join(_ours(verdict.pairs.assign(p_page=p))) or "not scored",
                "<br>".join(said),
                link,
            )
        )
    since = [(claim, claim.amended) for claim, _ in judged if claim.amended]
    return [
        *HEAD.split("\n"),
        *markdown.table(("workload", *VERDICTS), counts),
        "",
        *markdown.table(("claim", *workloads, "shown in"), brief),
        "",
        "## Amendments",
        "",
        *([f"- {a.date}, {a.kind}: *{_struck(c, c.gist)}* {a.why}" for c, a in since] or ["None."]),
        "",
        "## In full",
        "",
        *markdown.table(("claim", "where", "paper", "tested", "ours", "verdict", "shown in"), full),
    ]


def _struck(claim: Claim, text: str) -> str:
    return f"<s>{text}</s>" if claim.withdrawn and text else text


def _weakly(claim: Claim, verdict: Verdict, workload: str, p: np.ndarray) -> str:
    """Said of a verdict by intervals on a difference from 0 that the adjusted test does not see."""
    word = verdict.outcomes[workload].verdict
    if word == UNDECIDED or (word == FAILS and claim.margin):
        return ""
    pairs = verdict.pairs.assign(weak=p > LEVEL)
    deciding = pairs[(pairs["workload"] == workload) & (pairs["verdict"] == word)]
    one_is_enough = claim.relation == "better_than_one" and word == HOLDS
    weak = deciding.groupby("network")["weak"].agg("all" if one_is_enough else "any")
    return ", weakly" if weak.any() else ""


def _adjusted(judged: Sequence[tuple[Claim, Verdict]]) -> list[np.ndarray]:
    """Of each claim its pairs' p, adjusted over the page; NaN where no difference is claimed."""
    raw = []
    for claim, verdict in judged:
        compared = claim.relation in {"better", "worse", "better_than_one"}
        tested = compared and not claim.withdrawn and len(verdict.pairs) > 0
        none = np.full(len(verdict.pairs), np.nan)
        raw.append(verdict.pairs["p"].to_numpy(float) if tested else none)
    return np.split(holm(np.concatenate([*raw, []])), np.cumsum([len(one) for one in raw]))[:-1]


def _ours(pairs: pd.DataFrame) -> list[str]:
    """Of each workload and other method: both means, their difference, and what it rests on."""
    if not len(pairs):
        return []
    found = []
    for (workload, other), rows in pairs.groupby(["workload", "other"], sort=False):
        if not rows["n"].any():
            found.append(f"{workload}: no image with both scores against {other}")
            continue
        text = f"{workload}: {_range(rows['mean'])} against {other} {_range(rows['other_mean'])}"
        low, high = rows["low"].min(), rows["high"].max()
        text += f", difference {_range(rows['difference'], '+.3g')} [{low:+.3g}, {high:+.3g}]"
        text += f", n = {_range(rows['n'], 'd')}"
        if rows["excluded"].any():
            text += f" ({_range(rows['excluded'], 'd')} without a score)"
        p = rows["p_page"].max()
        if not np.isnan(p):
            text += ", p < 0.001" if p < 0.001 else f", p = {p:.3f}"
        found.append(text)
    return found


def _range(values: pd.Series, form: str = ".3g") -> str:
    ends = (format(values.min(), form), format(values.max(), form))
    return " to ".join(dict.fromkeys(ends))


def _forensics(table: pd.DataFrame) -> list[str]:
    """How near each suspect comes to the paper's Table I, on one workload."""
    scores = forensics.trio_scores(table)
    count = len(next(iter(scores.values())))
    rows = [["Table I", *map(_row_of, forensics.PAPER), "0", "15", "3"]]
    for name, one in forensics.nearest(scores).items():
        means = scores[name].mean(0)
        distance = f"{one.distance:.3f} [{one.low:.3f}, {one.high:.3f}]"
        faithful = forensics.orders(means[:, 4:], forensics.PAPER[:, 4:])
        rows.append([name, *map(_row_of, means), distance, str(one.orders), str(faithful)])
    return [
        f"## What could have given Table I: {table.attrs['workload']}, {count} images",
        *ABOUT_FORENSICS.split("\n"),
        *markdown.table(("suspect", *forensics.ROWS, "distance", "of 15 orders", "of 3"), rows),
    ]


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
