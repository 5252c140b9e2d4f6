"""What each operation of a network does, which is all that a relevance rule needs to know of it.

`KINDS` sorts PyTorch's own operations, by their names in ATen, into a few kinds. One that is not in
the table is `UNKNOWN`: it runs in the forward pass, and relevance refuses it by name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves

CONVOLUTION = "convolution"  # linear in its input, with a weight and a bias
LINEAR = "linear"
BATCH_NORM = "batch_norm"  # one that follows no convolution: a diagonal convolution
AVERAGE = "average"  # linear, without parameters: average pooling, mean, interpolation
ROUTING = "routing"  # every output is one of the inputs: reshape, concat, max pooling
ACTIVATION = "activation"  # elementwise, zero at zero or next to it
PASS = "pass"  # hands its input on as it is: dropout in eval mode, a folded batch norm
GATE = "gate"  # elementwise, says how much passes: sigmoid
SOFTMAX = "softmax"
LAYER_NORM = "layer_norm"  # and its kin, by what the picture itself has: group, instance
MATMUL = "matmul"  # the product of two matrices, or einsum of two tensors
SUM = "sum"
PRODUCT = "product"
QUOTIENT = "quotient"  # what divides counts as a constant: a norm, a local response norm
CONSTANT = "constant"  # does not depend on the picture
UNKNOWN = "unknown"

WEIGHTED = (CONVOLUTION, LINEAR, BATCH_NORM)

_BY_KIND: dict[str, str] = {
    CONVOLUTION: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    LINEAR: "linear",
    BATCH_NORM: "batch_norm",
    AVERAGE: "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d mean sum upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d "
    "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa col2im",
    ROUTING: "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d flatten "
    "reshape reshape_as view view_as _unsafe_view permute transpose t numpy_T swapaxes movedim "
    "moveaxis swapdims mT mH adjoint squeeze unsqueeze cat "
    "concat stack chunk split split_with_sizes tensor_split unbind unflatten amax amin max min "
    "maximum minimum pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d roll flip getitem select slice narrow "
    "index_select index gather expand expand_as repeat repeat_interleave tile contiguous clone "
    "pixel_shuffle pixel_unshuffle channel_shuffle masked_fill where slice_scatter select_scatter "
    "index_put copy diagonal to _to_copy type_as im2col",
    PASS: "dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout alias detach "
    "lift_fresh",
    ACTIVATION: "relu relu6 leaky_relu prelu elu selu celu silu gelu mish hardswish tanh hardtanh "
    "softsign softshrink hardshrink tanhshrink threshold clamp clip clamp_min clamp_max softplus "
    "pow abs square",
    GATE: "sigmoid hardsigmoid",
    SOFTMAX: "softmax _softmax _safe_softmax",
    LAYER_NORM: "layer_norm rms_norm group_norm instance_norm",
    MATMUL: "matmul bmm mm einsum",
    SUM: "add sub rsub",
    PRODUCT: "mul neg",
    QUOTIENT: "div",
}
KINDS: dict[str, str] = {name: kind for kind, names in _BY_KIND.items() for name in names.split()}
_NONNEGATIVE = (
    *("relu", "sigmoid", "hardsigmoid", "softmax", "_softmax", "_safe_softmax", "softplus"),
    *("relu6", "exp", "abs", "square", "sqrt", "rsqrt", "linalg_vector_norm", "norm", "var", "std"),
)
# What neither creates nor loses a sign: nonnegative if all its inputs are.
_KEEPS_SIGN = (ROUTING, AVERAGE, PASS, MATMUL, SUM, PRODUCT, QUOTIENT)
_SIGNED = ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "sub", "rsub", "neg")
# Of what they read the first alone counts, or nothing but its form.
LIKE = ("expand_as", "view_as", "reshape_as", "type_as")
FORMS = ("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")
# Some places of their result hold no picture where an input, or what they pad with, is constant.
JOINS = (
    *("cat", "concat", "stack", "pad", "constant_pad_nd", "masked_fill", "where", "index_put"),
    *("slice_scatter", "select_scatter", "im2col"),
)
_CHOOSES = {  # the argument that says where the result is taken from
    "index": "indices",
    "gather": "index",
    "index_select": "index",
    "masked_fill": "mask",
    "where": "condition",
}
EXTREMES = ("maximum", "minimum", "max", "min")  # of two tensors


def kind_of(step: Any) -> str:  # noqa: PLR0911, one rule a line
    """What a step does, if its arguments let it do what its operation's kind says."""
    if not step.varying:
        return CONSTANT
    kind, first = KINDS.get(step.operation, UNKNOWN), step.inputs[:1]
    given = step.given
    if kind in WEIGHTED and step.varying != first:
        return UNKNOWN  # weights made from the picture: not linear in it
    if kind == BATCH_NORM and (given["training"] or given["running_mean"] is None):
        return UNKNOWN  # by the batch's own statistics
    if kind == QUOTIENT:
        if given.get("rounding_mode") is not None:
            return UNKNOWN
        if step.varying == first:
            return PRODUCT  # by a constant
        whole, divisor = step.args[:2]
        norm = divisor.nonnegative or _is_sum_of(divisor, whole)
        return kind if whole in step.varying and norm else UNKNOWN
    if step.operation in ("clamp", "clip", "clamp_min", "clamp_max", "hardtanh"):
        low = given.get("min_val", given.get("min"))
        high = given.get("max_val", given.get("max"))
        plain = all(end is None or isinstance(end, int | float) for end in (low, high))
        near = plain and (low is None or low <= NEAR) and (high is None or high >= 0)
        return kind if near else UNKNOWN  # else what it gives is not the picture's
    if step.operation == "threshold":
        return kind if abs(given["value"]) <= NEAR else UNKNOWN
    if step.operation in ("to", "_to_copy", "view") and isinstance(given.get("dtype"), torch.dtype):
        plain = step.operation != "view" and given["dtype"].is_floating_point
        return kind if plain else UNKNOWN
    if step.operation == "index_put" and given["accumulate"]:
        return SUM
    if step.operation == "pow":
        power = given.get("exponent")
        plain = isinstance(power, int | float) or (power is not None and power not in step.varying)
        return kind if plain and step.args[0] in step.varying else UNKNOWN
    if step.operation == "instance_norm" and not given["use_input_stats"]:
        return UNKNOWN
    chosen_by = tree_leaves(given[_CHOOSES[step.operation]]) if step.operation in _CHOOSES else []
    return UNKNOWN if any(one in step.varying for one in chosen_by) else kind


def _is_sum_of(step: Any, whole: Any) -> bool:
    """Whether it is a sum or mean of ``whole``, of whose parts the shares are then taken."""
    while step.kind in (ROUTING, AVERAGE, PASS) and len(step.varying) == 1:
        step = step.varying[0]
        if step is whole:
            return True
    return False


NEAR = 1e-2  # a clamp from below at up to this much guards a root or a logarithm


def is_nonnegative(step: Any) -> bool:  # noqa: PLR0911
    """Whether the result cannot be negative, whatever the picture: known from the graph alone."""
    given = step.given
    if step.kind == CONSTANT:
        return False
    if step.operation in _NONNEGATIVE:
        return bool(given.get("beta", 1) > 0)  # of softplus
    if (given.get("divisor_override") or 1) < 0:
        return False
    if step.operation in ("clamp", "clip", "clamp_min", "hardtanh"):
        low = given.get("min_val", given.get("min"))
        return isinstance(low, int | float) and low >= 0
    if step.operation == "pow":
        power = given.get("exponent")
        even = isinstance(power, int | float) and power % 2 == 0
        return even or step.inputs[0].nonnegative
    if step.operation == "mul" and len(step.inputs) == 1 == len({*step.args} - {None}):
        return True  # by itself
    if step.operation in ("add", "sub") and given.get("alpha", 1) != 1:
        return False
    value = given.get("value")
    if step.operation in JOINS and isinstance(value, int | float) and value < 0:
        return False  # what it pads with
    numbers = [a for a in step.args if isinstance(a, int | float) and not isinstance(a, bool)]
    by_number = step.kind in (SUM, PRODUCT, QUOTIENT) and numbers
    if by_number and not all(number >= 0 for number in numbers):
        return False
    keeps = step.kind in _KEEPS_SIGN and step.operation not in _SIGNED
    plain = step.kind in (ROUTING, AVERAGE, PASS) and step.operation not in (*JOINS, *EXTREMES)
    read = step.varying if plain else step.inputs  # without sizes and indices
    return keeps and all(other.nonnegative for other in read)
