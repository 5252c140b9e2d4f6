"""What the scores say of each claim: the verdict, and the page of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from xaiutils.evidence.claims import ADDED, Claim
from xaiutils.metrics.score_table import checked, compare, lowest, spread
from xaiutils.metrics.stats import Pair, equivalent, holm

HOLDS, FAILS, UNDECIDED = VERDICTS = ("holds", "fails", "undecided")
MIN_IMAGES = 20
LEVEL = 0.05
TESTED = {
    "better": "{of} better than {others}, by more than {margin}",
    "worse": "{of} worse than {others}, by more than {margin}",
    "near": "{of} within {margin} of {others}",
    "not_better": "{of} not better than {others} by {margin}",
    "better_than_one": "{of} better than at least one of {others}, by more than {margin}",
}
STATISTICS = {"spread": spread, "lowest": lowest}


@dataclass(frozen=True)
class Outcome:
    """A verdict, one of `VERDICTS`, and why there is no other."""

    verdict: str
    why: str = ""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the scores say of one claim.

    Attributes:
        claim: Its id.
        outcomes: Of each workload.
        pairs: The rows of `xaiutils.metrics.score_table.compare` for each network and method, with
            ``verdict``.
    """

    claim: str
    outcomes: dict[str, Outcome]
    pairs: pd.DataFrame


def _better(pair: Pair, margin: float) -> str:
    return HOLDS if pair.low > margin else FAILS if pair.high <= margin else UNDECIDED


def _worse(pair: Pair, margin: float) -> str:
    return HOLDS if pair.high < -margin else FAILS if pair.low >= -margin else UNDECIDED


def _near(pair: Pair, margin: float) -> str:
    if equivalent(pair, margin):
        return HOLDS
    return FAILS if pair.low >= margin or pair.high <= -margin else UNDECIDED


def _not_better(pair: Pair, margin: float) -> str:
    return HOLDS if pair.high < margin else FAILS if pair.low >= margin else UNDECIDED


RULES: dict[str, Callable[[Pair, float], str]] = {
    "better": _better,
    "worse": _worse,
    "near": _near,
    "not_better": _not_better,
    "better_than_one": _better,
}


def judge(claim: Claim, table: pd.DataFrame, better: str) -> Verdict:
    r"""Hold one claim against a score table.

    With the mean difference :math:`d` per image, positive where ``of`` is better, its 95 %
    interval :math:`[l, h]` and the claim's margin :math:`m`:

    ==========  ======================================  =============================
    relation    holds                                   fails
    ==========  ======================================  =============================
    better      :math:`l > m`                           :math:`h \le m`
    worse       :math:`h < -m`                          :math:`l \ge -m`
    near        90 % interval inside :math:`(-m, m)`    :math:`l \ge m`, :math:`h \le -m`
    not_better  :math:`h < m`                           :math:`l \ge m`
    ==========  ======================================  =============================

    Anything else, and fewer than `MIN_IMAGES` paired images, is undecided. On one network a claim
    holds if it does against every method and fails if it does against any; ``better_than_one``,
    each pair of which is judged as ``better``, holds if it does against any and fails if it does
    against every one. On a workload a claim holds or fails if it does so on every network.

    Intervals decide, and no p value: the interval is what the page shows, it knows the margin and
    it is about the mean, where the Wilcoxon test asks whether the differences are symmetric about
    0. A claim that must hold against all methods and on all networks needs no correction for
    their number, though each of many methods is one more chance to fail on a network. The page
    gives the p values beside, adjusted over all of its pairs.

    Args:
        claim: From `load_claims`.
        table: With the columns `xaiutils.metrics.score_table.COLUMNS`.
        better: Direction of the claim's metric, ``"higher"`` or ``"lower"``; a statistic in its
            place is higher where there is more of it.
    """
    scores = checked(table)[table["metric"] == claim.metric]
    outcomes: dict[str, Outcome] = {}
    found: list[pd.DataFrame] = []
    for workload in claim.workloads:
        rows = scores[scores["workload"] == workload]
        scored = set(rows["method"])
        asked = claim.among or (claim.of, *claim.against)
        missing = [name for name in asked if name not in scored]
        if missing:
            outcomes[workload] = Outcome(UNDECIDED, f"not scored: {', '.join(missing)}")
            continue
        turned = better
        if claim.statistic:
            rows = STATISTICS[claim.statistic](rows, claim.metric, claim.among, better)
            turned = "higher"
        pairs = compare(rows, claim.metric, claim.of, claim.against, turned)
        splits = sorted(pairs["split"].unique())
        if len(splits) > 1:
            raise ValueError(
                f"claim {claim.id!r}: table must hold one split of {workload}, got {splits}"
            )
        rule = RULES[claim.relation]
        pairs["verdict"] = [
            rule(pair, claim.margin) if pair.n >= MIN_IMAGES else UNDECIDED
            for pair in pairs.itertuples(index=False)
        ]
        outcomes[workload] = _over_networks(pairs, claim.relation)
        found.append(pairs)
    pairs = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return Verdict(claim.id, outcomes, pairs)


def _over_networks(pairs: pd.DataFrame, relation: str) -> Outcome:
    decisive = (HOLDS, FAILS) if relation == "better_than_one" else (FAILS, HOLDS)
    said = Counter(
        _together(set(rows["verdict"]), *decisive) for _, rows in pairs.groupby("network")
    )
    fewest = pairs["n"].min()
    few = f"{fewest} paired images, {MIN_IMAGES} needed" if fewest < MIN_IMAGES else ""
    if len(said) == 1:
        (verdict,) = said
        return Outcome(verdict, few if verdict == UNDECIDED else "")
    counts = ", ".join(f"{verdict} on {said[verdict]}" for verdict in VERDICTS if said[verdict])
    whys = [f"{counts} of {said.total()} networks", few]
    return Outcome(UNDECIDED, "; ".join(why for why in whys if why))


def _together(verdicts: set[str], one: str, every: str) -> str:
    """``one`` if any verdict against a method is that, ``every`` if all are that."""
    if one in verdicts:
        return one
    return every if verdicts == {every} else UNDECIDED


def report(
    claims: Sequence[Claim], verdicts: Sequence[Verdict], command: str = "xaiutils claims"
) -> list[str]:
    """Write the page of claims, as lines of Markdown.

    Args:
        claims: From `load_claims`.
        verdicts: Of the same claims, in the same order.
        command: What writes the page, for its first lines.
    """
    ids = [claim.id for claim in claims], [verdict.claim for verdict in verdicts]
    if ids[0] != ids[1]:
        raise ValueError(f"verdicts must be those of the claims, in order, got {ids[1]}")
    lines = [
        "# The paper's claims, and what our scores say",
        "",
        f"Written by `{command}` from `docs/claims.yaml` and the table of scores. Do not edit.",
        "",
        "Differences are means per image, positive where the first method is better, with 95 %",
        "bootstrap intervals. Over several networks, numbers are ranges, and the interval reaches",
        "from the lowest end to the highest. p is of the Wilcoxon signed-rank test, adjusted",
        "(Holm) over all claims of a difference, the largest of the networks.",
        "",
        "Intervals decide. A claim *holds* if they lie beyond its margin against every named",
        "method on every network, *fails* if they exclude it on every network, and is *undecided*",
        "otherwise. They are not adjusted for the number of claims: *weakly* is said where the",
        f"adjusted p of a difference is above {LEVEL:g}. Names are those of `METHODS`",
        "([methods](methods.md)) and `METRICS` ([metrics](metrics.md)); `bounded_noise` is noise",
        "in the place of LRP. *Better than one* must lie beyond for at least one named method.",
        "",
        "The claims were fixed before the test split was opened. One that was withdrawn since is",
        "struck through and not counted; one that is marked *added late* came after that. See",
        "[Amendments](#amendments).",
        "",
        "| workload | holds | fails | undecided |",
        "|---|---|---|---|",
    ]
    workloads = list(dict.fromkeys(name for verdict in verdicts for name in verdict.outcomes))
    counted = [v for c, v in zip(claims, verdicts, strict=True) if not c.withdrawn]
    for workload in workloads:
        outcomes = [v.outcomes[workload].verdict for v in counted if workload in v.outcomes]
        lines.append(_row([workload, *(str(outcomes.count(word)) for word in VERDICTS)]))
    lines += ["", _row(["claim", *workloads, "shown in"]), "|" + "---|" * (2 + len(workloads))]
    told = list(zip(claims, verdicts, _adjusted(claims, verdicts), strict=True))
    for claim, verdict, p in told:
        said = {w: o.verdict + _weakly(claim, verdict, w, p) for w, o in verdict.outcomes.items()}
        words = [said.get(name, "") for name in workloads]
        lines.append(_row([_gist(claim), *(_struck(claim, one) for one in words), _link(claim)]))
    lines += ["", "## Amendments", ""]
    since = [(claim, claim.amended) for claim in claims if claim.amended]
    lines += [f"- {a.date}, {a.kind}: *{_struck(c, c.gist)}* {a.why}" for c, a in since] or [
        "None."
    ]
    lines += [
        "",
        "## In full",
        "",
        "| claim | where | paper | tested | ours | verdict | shown in |",
        "|" + "---|" * 7,
    ]
    return lines + [_row(_cells(*one)) for one in told]


def _cells(claim: Claim, verdict: Verdict, p: np.ndarray) -> list[str]:
    others, margin = " and ".join(claim.against), f"{claim.margin:g}"
    tested = TESTED[claim.relation].format(of=claim.of, others=others, margin=margin)
    said = [
        _struck(claim, f"{w}: **{o.verdict}**{_weakly(claim, verdict, w, p)} {o.why}".strip())
        for w, o in verdict.outcomes.items()
    ]
    return [
        f"{_gist(claim)}<br>{claim.note}" if claim.note else _gist(claim),
        claim.where,
        claim.paper,
        f"{claim.metric}{_statistic(claim)}: {tested}",
        "<br>".join(_ours(verdict.pairs.assign(p_page=p))) or "not scored",
        "<br>".join(said),
        _link(claim),
    ]


def _struck(claim: Claim, text: str) -> str:
    return f"<s>{text}</s>" if claim.withdrawn and text else text


def _gist(claim: Claim) -> str:
    added = claim.amended is not None and claim.amended.kind == ADDED
    return _struck(claim, claim.gist) + (" *(Added late.)*" if added else "")


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


def _statistic(claim: Claim) -> str:
    return f", {claim.statistic} among {', '.join(claim.among)}" if claim.statistic else ""


def _link(claim: Claim) -> str:
    return f"[{claim.cell.split('.')[0]}](../notebooks/{claim.cell})"


def _adjusted(claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> list[np.ndarray]:
    """Of each claim its pairs' p, adjusted over the page; NaN where no difference is claimed."""
    raw = []
    for claim, verdict in zip(claims, verdicts, strict=True):
        compared = claim.relation in {"better", "worse", "better_than_one"}
        tested = compared and not claim.withdrawn and len(verdict.pairs) > 0
        none = np.full(len(verdict.pairs), np.nan)
        raw.append(verdict.pairs["p"].to_numpy(float) if tested else none)
    adjusted = iter(holm(np.concatenate([*raw, []])))
    return [np.array([next(adjusted) for _ in values]) for values in raw]


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
        found.append(text if np.isnan(p) else f"{text}, p {_p(p)}")
    return found


def _range(values: pd.Series, form: str = ".3g") -> str:
    ends = (format(values.min(), form), format(values.max(), form))
    return " to ".join(dict.fromkeys(ends))


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
