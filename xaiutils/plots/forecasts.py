"""What maps foretell against what came: one small chart for each map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xaiutils.plots.style import (
    COLORS,
    Array,
    Figure,
    check_count,
    checked_array,
    entries,
    small_charts,
    styled,
)


@styled
def forecasts(
    drops: Array, sums: Mapping[str, Array], *, xlabel: str, ylabel: str, title: str = "",
    columns: int = 4,
) -> Figure:  # fmt: skip
    """Draw the drops of a logit against each map's forecasts, after the best scaling of the map.

    The distance of a dot from the line, up or down, is the forecast's error; the number above is
    the mean of its square.

    Args:
        drops: ``(n,)``, what each perturbation took from the logit.
        sums: name to ``(n,)``, what a map says of each, in its own unit; not all of them 0.
        xlabel, ylabel: Of the forecasts, and of the drops.
        title: The finding.
        columns: Charts in a row.

    Raises:
        TypeError, ValueError: No map, values not finite, of another length, or all 0.
    """
    came = checked_array("drops", drops, "n").astype(float)
    scaled = {}
    for name, values in entries("sums", sums).items():
        foretold = checked_array(f"sums[{name!r}]", values, "n").astype(float)
        check_count(f"sums[{name!r}]", foretold, len(came))
        scaled[name] = best_scale(foretold=foretold, came=came) * foretold
    figure, places = small_charts(len(sums), columns, title)
    everything = np.concatenate([came, *scaled.values()])
    ends = (everything.min(), everything.max())
    for place, (axes, (name, foretold)) in enumerate(zip(places, scaled.items(), strict=True)):
        axes.plot(ends, ends, color="black", linewidth=1)
        axes.plot(foretold, came, "o", color=COLORS[0], markersize=4, alpha=0.5, mew=0)
        error = float(((foretold - came) ** 2).mean())
        axes.set_title(f"{name}\n{error:.2f}", fontsize=10, weight="normal", loc="center")
        axes.set_aspect("equal", adjustable="box")
        axes.grid(color="#E5E5E5")
        if place % columns == 0:
            axes.set_ylabel(ylabel)
        else:
            axes.tick_params(labelleft=False)
    figure.supxlabel(xlabel, fontsize=9)
    return figure


def best_scale(*, foretold: Array, came: Array) -> float:
    r"""The factor that brings forecasts closest to what came, by least squares.

    .. math:: \beta = \frac{\sum_k s_k d_k}{\sum_k s_k^2}
    """
    s, d = checked_array("foretold", foretold, "n"), checked_array("came", came, "n")
    check_count("foretold", s, len(d))
    if not s.any():
        raise ValueError("foretold must hold a value that is not 0, got only 0")
    return float((s * d).sum() / (s * s).sum())
