"""Pictures, maps and small charts as Matplotlib figures: pure functions of arrays, in one style.

Nothing here knows about classifiers, and nothing touches pyplot or the user's rcParams. A notebook
cell that ends with one of these calls shows one PNG, with or without ``%matplotlib inline``.
Pictures are ``(H, W, 3)``, float in [0, 1] or uint8; maps are ``(H, W)``, finite, signed or not.
A signal is ``(lines, L)`` with maps ``(L,)``, a volume ``(D, H, W, 3)`` with maps ``(D, H, W)``.
"""

from xaiutils.plots.charts import bars, curves, ledger, strips
from xaiutils.plots.panel import Panel
from xaiutils.plots.panels import gallery, heatmap, overlay, panels, picture, stages
from xaiutils.plots.pipeline import pipeline
from xaiutils.plots.spaces import signal, slices
from xaiutils.plots.style import COLORS, STYLE, Figure, save

__all__ = [
    "COLORS", "STYLE", "Figure", "Panel", "bars", "curves", "gallery", "heatmap", "ledger",
    "overlay", "panels", "picture", "pipeline", "save", "signal", "slices", "stages", "strips",
]  # fmt: skip
