"""The closest published methods: other ways to join a class with what LRP knows of the layers.

Each takes a classifier, images (N, C, H, W) and a target, and returns maps (N, H, W), float32.
All work on the captured network as `xaiutils.hybrid` does.
"""

from xaiutils.methods.related.contrastive import clrp, sglrp
from xaiutils.methods.related.fg_cam import explanation_components, fg_cam
from xaiutils.methods.related.relevance_cam import relevance_cam

__all__ = ["clrp", "explanation_components", "fg_cam", "relevance_cam", "sglrp"]
