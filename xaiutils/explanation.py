"""What `explain` returns: every stage of the hybrid, and how it was computed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xaiutils.ledger import Ledger, quotient
from xaiutils.targets import Question


@dataclass
class Explanation:
    """Every stage of the hybrid for N images; all maps are (N, H, W).

    Of signals they are (N, L), of volumes (N, D, H, W).

    Attributes:
        target: (N,) the class that both factors explain; or the score of each image, as
            `xaiutils.targets.Scores`.
        logits: (N, K), or what the network gives, (N, ...).
        cam: Class activation map, in [0, 1].
        bounded: Bounding figure, in [0, 1].
        relevance: Mean over colour channels of the relevance, signed, in logits / C.
        product: ``bounded * relevance``, signed.
        hybrid: ``product``, smoothed.
        conservation: How the start of the relevance was spent.
        relevance_per_channel: (N, C, H, W); its sum is ``conservation.input``.
        settings: What the maps were computed with.
        notes: What went other than expected, one sentence each, naming the image.
    """

    target: Question
    logits: Tensor
    cam: Tensor
    bounded: Tensor
    relevance: Tensor
    product: Tensor
    hybrid: Tensor
    conservation: Ledger
    relevance_per_channel: Tensor
    settings: dict[str, str | float]
    notes: tuple[str, ...] = ()

    @property
    def retention(self) -> Tensor:
        """(N,) share of the relevance that fusion keeps: sum(product) / sum(relevance).

        0 where the relevance adds up to 0.
        """
        space = tuple(range(1, self.product.ndim))
        return quotient(self.product.sum(space), self.relevance.sum(space))
