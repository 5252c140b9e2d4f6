"""How often the analysis' intervals hold what is true of simulated people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xaiutils.userstudy.analysis import accuracy, choices, draws, gain
from xaiutils.userstudy.design import NONE, Design
from xaiutils.userstudy.simulate import Crowd, plan, take, truth


def coverage(
    design: Design, crowd: Crowd, participants: int = 40, studies: int = 200, resamples: int = 1000
) -> pd.DataFrame:
    """Simulate studies of one crowd, analyse each, and hold every interval against the truth.

    Returns:
        A row for each quantity: ``what`` (say, look, their differences to no map, strength, side),
        ``name``, ``truth``, ``mean`` of the estimates, ``width`` of the intervals, and ``covered``,
        the share of studies whose 95 % interval holds the truth.
    """
    sheets, true = plan(design, participants), truth(design, crowd)
    base = design.conditions.index(NONE)
    rows: list[tuple[object, ...]] = []
    for i in range(studies):
        study = take(design, crowd, sheets, np.random.default_rng([design.seed, i]))
        drawn = draws(participants, resamples, i)
        chosen = choices(study.wins, study.pairs, drawn)
        found = [("strength", design.methods, chosen.strength, true.strength)]
        found += [("side", ("left",), chosen.side, np.array([true.side]))]
        for task, right in true.accuracy.items():
            cells = study.correct[task], study.shown[task]
            found += [(task, design.conditions, accuracy(*cells, drawn), right)]
            more = gain(*cells, base, drawn)
            found += [(f"{task}, difference", design.conditions, more, right - right[base])]
        for what, names, e, t in found:
            inside = (e.low <= t) & (t <= e.high)
            rows += zip([what] * len(t), names, t, e.value, e.high - e.low, inside, strict=True)
    table = pd.DataFrame(rows, columns=["what", "name", "truth", "mean", "width", "covered"])
    table = table[~((table["name"] == NONE) & table["what"].str.contains("difference"))]
    table["covered"] = table["covered"].astype(float)
    return table.groupby(["what", "name"], sort=False).mean().reset_index()
