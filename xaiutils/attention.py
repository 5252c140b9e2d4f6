"""Attention written out, so that relevance can walk through it.

torch.fx keeps `nn.MultiheadAttention` and `scaled_dot_product_attention` as one operation each,
whose inside has no rule. The traced copy computes the same by the operations that have one:

.. math:: O = \\mathrm{softmax}(Q K^T / \\sqrt{d} + M)\\, V .
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from xaiutils.steps import GraphError


def attend(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """`torch.nn.functional.scaled_dot_product_attention` in eval mode, one operation at a time.

    Raises:
        GraphError: A causal or grouped attention, which no image classifier here has.
    """
    if is_causal or enable_gqa:
        raise GraphError("attention must be plain, got is_causal or enable_gqa")
    factor = query.size(-1) ** -0.5 if scale is None else scale
    scores = torch.matmul(query * factor, key.transpose(-2, -1))
    if attn_mask is not None:
        scores = scores + attn_mask  # additive; a mask of truth values fails in the first run
    return torch.matmul(torch.softmax(scores, dim=-1), value)


class Attention(nn.Module):
    """An `nn.MultiheadAttention` with the same parameters, in traceable operations."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        if original.bias_k is not None or original.add_zero_attn:
            raise GraphError("MultiheadAttention must have neither add_bias_kv nor add_zero_attn")
        self._parameters = dict(original._parameters)  # the tracer and `borrow` see these names
        self.out_proj = original.out_proj
        self.heads, self.batch_first = original.num_heads, original.batch_first
        self.same = original._qkv_same_embed_dim

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, None]:
        """The output, and None for the weights, which nobody may use."""
        if key_padding_mask is not None:
            raise GraphError("MultiheadAttention must be called without key_padding_mask")
        own: Any = self
        weights = (
            own.in_proj_weight.chunk(3)
            if self.same
            else (own.q_proj_weight, own.k_proj_weight, own.v_proj_weight)
        )
        biases: Any = (None,) * 3 if own.in_proj_bias is None else own.in_proj_bias.chunk(3)
        q, k, v = (
            self._split(F.linear(x, weights[i], biases[i]))
            for i, x in enumerate((query, key, value))
        )
        mixed = attend(q, k, v, attn_mask, is_causal=is_causal).transpose(1, 2).flatten(2)
        result = self.out_proj(mixed)
        return (result if self.batch_first else result.transpose(0, 1)), None

    def _split(self, x: Any) -> Any:
        """(N, T, D) to (N, heads, T, D / heads)."""
        x = x if self.batch_first else x.transpose(0, 1)
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def write_out(module: nn.Module) -> None:
    """Put an `Attention` in the place of each `nn.MultiheadAttention` below ``module``."""
    for name, part in module.named_children():
        if type(part) is nn.MultiheadAttention:
            setattr(module, name, Attention(part))
        else:
            write_out(part)
