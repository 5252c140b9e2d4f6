"""What a network computes, read by PyTorch itself: `torch.export` gives a list of ATen operations.

The module that is read is a copy around the caller's own parameters, so that nothing is left on the
caller's. Statements in place become operations that give a new value; where they write into a view,
PyTorch's own pass does that.
"""

from __future__ import annotations

import copy
import logging
import math
import operator
import re
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.swa_utils import AveragedModel
from torch.utils._pytree import tree_leaves

from xaiutils.network.kinds import CONSTANT, KINDS, ROUTING, is_nonnegative, kind_of
from xaiutils.network.step import GraphError, Step
from xaiutils.network.structure import inside
from xaiutils.support import chance
from xaiutils.support.borrowed import environment_kept

_ATEN = torch.ops.aten
_HIGHER = torch.ops.higher_order
_LOCK = threading.Lock()  # torch.export has one state for the whole process
OUTPUTS = ("logits", "out")  # what is read of a network that returns several things by name
# What PyTorch makes of an operation in its own pass, and the name and arguments before it.
_SAME: dict[Any, tuple[Any, Callable[..., tuple[Any, ...]]]] = {
    _ATEN.view.default: (_ATEN.reshape.default, lambda *args: args),  # whatever the memory layout
    _ATEN.native_layer_norm.default: (_ATEN.layer_norm.default, lambda *args: args),
    _ATEN.native_group_norm.default: (
        _ATEN.group_norm.default,
        lambda x, w, b, n, c, size, groups, eps: (x, groups, w, b, eps),
    ),
    _ATEN._native_batch_norm_legit_no_training.default: (
        _ATEN.batch_norm.default,
        lambda *args: (*args[:5], False, *args[5:], False),
    ),
    _ATEN.copy.default: (_ATEN.expand_as.default, lambda to, x, *_: (x, to)),
}


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    size = x.shape[dim] // 2
    return x.narrow(dim, 0, size) * x.narrow(dim, size, size).sigmoid()


_WRITTEN_OUT: dict[str, Callable[..., Any]] = {  # they have no rules; what they consist of has
    "scaled_dot_product_attention": lambda *args, **settings: (
        _ATEN._scaled_dot_product_attention_math.default.decompose(*args, **settings)[0]
    ),
    "glu": _glu,
    "addcmul": lambda x, a, b, value=1: x + (a * b if value == 1 else a * b * value),
    "lerp": lambda x, end, weight: x + (end - x) * weight,
}
_RESHAPES = ("reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
# They change what their input is a view of.
_VIEWS_IN_PLACE = ("transpose_", "t_", "squeeze_", "unsqueeze_", "swapaxes_", "swapdims_")
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "rrelu")
_SKIPPED = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")


class NotCaptured(GraphError):
    """A network that computes its output cannot be read: without a graph it can still be called."""


class Captured(NamedTuple):
    """The steps of a network in the order of computation, weights where they are first read."""

    steps: list[Step]
    input: Step
    output: Step
    results: dict[str, Step]  # of every module, by its path, the step of its last call
    calls: Counter[str]  # of every module
    constants: dict[str, Tensor]  # which the forward method makes


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside of `DataParallel`, `AveragedModel` and `torch.compile`."""
    around = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
    found: Any = module
    while isinstance(found, around) or hasattr(found, "_orig_mod"):
        found = found.module if isinstance(found, around) else found._orig_mod
    return found


def read_output(returned: Any) -> Tensor:
    """The tensor that is explained of what a network returns: it, its ``logits`` or its ``out``."""
    if isinstance(returned, Tensor):
        return returned[:, None] if returned.ndim == 1 else returned  # one output a picture
    named: dict[str, Any] = {}
    if isinstance(returned, Mapping):
        named = dict(returned)
    elif is_dataclass(returned):
        named = {f.name: getattr(returned, f.name) for f in fields(returned)}
    elif hasattr(returned, "_asdict"):
        named = returned._asdict()
    elif isinstance(returned, tuple | list) and len(returned) == 1:
        return read_output(returned[0])
    for name in OUTPUTS:
        if isinstance(named.get(name), Tensor):
            return read_output(named[name])
    what = f"a {type(returned).__name__}"
    what += f" of {', '.join(map(str, named))}" if named else ""
    what += f" of {len(returned)}" if isinstance(returned, tuple | list) and not named else ""
    raise GraphError(
        f"module must return one tensor, or name it {' or '.join(OUTPUTS)}, got {what}; wrap a "
        "module whose forward returns the one that is to be explained"
    )


def capture(module: nn.Module, x: Tensor) -> Captured:
    """The steps by which a module computes its output from pictures like ``x``, of any number.

    Args:
        module: In eval mode; left as it is.
        x: Two pictures (2, C, ...), of the size, dtype and device that count.

    Raises:
        NotCaptured: The module cannot be captured, though it computes its output.
        GraphError: It cannot compute its output either, or none of single pictures.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise NotCaptured("it is TorchScript, not a Python module: give what was scripted")
    with (
        _LOCK,
        environment_kept(),
        warnings.catch_warnings(),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        quiet = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            program = torch.export.export(
                _Reading(module),
                (x,),
                dynamic_shapes=({0: torch.export.Dim("N")},),
                strict=False,
            )
            try:
                return _Reader(program).read()
            except _Aliased:
                return _Reader(program.run_decompositions({})).read()
        except GraphError:
            raise
        except Exception as error:  # whatever the forward method raises, or torch.export
            cause = error.__cause__ if isinstance(error, _Stopped) else error
            raise _why_not(module, x, cause) from cause
        finally:
            logging.disable(quiet)


class _Stopped(Exception):
    """The forward method did not come to its end; the cause is the reason."""


class _Reading(nn.Module):
    """The network, copied around the same tensors if it can be; of its output one is read."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        try:
            self.module = copied(module, frozen=False)
        except GraphError:
            self.module = module

    def forward(self, x: Tensor) -> Tensor:
        try:
            return read_output(self.module(x))
        except GraphError:
            raise
        except Exception as error:  # torch.export would print the graph so far
            raise _Stopped from error


def copied(module: nn.Module, *, frozen: bool = True) -> nn.Module:
    """A deep copy in eval mode that shares the weights; they are ``frozen``, or the same.

    Raises:
        GraphError: Something in the module cannot be copied.
    """
    try:
        memo: dict[int, Any] = {
            id(held): _frozen(held) if frozen else held for held in inside(module)
        }
        with torch.no_grad():  # TorchScript clones its weights
            twin = copy.deepcopy(module, memo).eval()  # some are made anew, in train mode
    except Exception as error:  # of whatever is held there
        raise GraphError(
            f"module must be copied by copy.deepcopy where it cannot be read, "
            f"{type(module).__name__} is not: {error}"
        ) from error
    for parameter in twin.parameters() if frozen else ():
        parameter.requires_grad_(False)
    return twin


def _frozen(held: Tensor) -> Tensor:
    if isinstance(held, nn.Parameter):
        return nn.Parameter(held.detach(), requires_grad=False)
    return held.detach().clone()


def _why_not(module: nn.Module, x: Tensor, error: BaseException | None) -> GraphError:
    """What cannot be captured, but computed; or why it cannot be computed either."""
    noise = torch.rand(x.shape, generator=chance.torchs(0), device="cpu").to(x)
    twin = copied(module)
    try:
        with chance.Drawn(0), torch.no_grad():
            read_output(twin(noise))
    except GraphError as own:
        return own
    except Exception as own:
        said = f"{_reason(own)}{where_stopped(own)}"
        images = f"images (N, {', '.join(map(str, x.shape[1:]))})"
        if type(own) is RuntimeError:  # of an operation, such as one on sizes that do not fit
            return GraphError(f"module must take {images}; {said}")
        failed = f"{type(module).__name__} raises {type(own).__name__}: {said}"
        return GraphError(f"module must compute outputs from {images}; {failed}")
    return NotCaptured(
        f"torch.export cannot read {type(module).__name__}: {_reason(error)}{where_stopped(error)};"
        " a subclass whose forward has the one path, without leaving torch, can be captured"
    )


def _reason(error: BaseException | None) -> str:
    """What PyTorch says, in a sentence."""
    said = str(error).strip().split("\n")[0].split(". ")[0]
    if "data-dependent" in str(error) or "GuardOnDataDependent" in type(error).__name__:
        said = f"it branches on a value ({said})"
    return said or type(error).__name__


def where_stopped(error: BaseException | None) -> str:
    """The last line of the user's own code that was come to, with its file and number."""
    libraries = (Path(torch.__file__).parent, Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    for frame in reversed(frames):
        file = Path(frame.filename)
        library = any(file.is_relative_to(one) for one in libraries) or file.name == "contextlib.py"
        if not library and not frame.filename.startswith("<"):
            return f" ({file.name}, line {frame.lineno}: {frame.line})"
    return ""


class _Aliased(Exception):
    """A value is written into that is read under another name, too."""


class _Reader:
    """Makes steps of the nodes of an exported program."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.graph = _inlined(program.graph_module)
        self.steps: list[Step] = []
        self.env: dict[fx.Node, Any] = {}  # steps
        self.calls: dict[str, tuple[str, set[Step]]] = {}  # by call: path, steps

    def read(self) -> Captured:
        """All steps that the output depends on."""
        signature = self.program.graph_signature
        own = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        made = signature.inputs_to_lifted_tensor_constants
        # In brackets, for no parameter has such a name.
        held = {node: name.removeprefix("module.") for node, name in own.items()}
        held |= {node: f"({name})" for node, name in made.items()}
        constants = {held[node]: self.program.constants[name] for node, name in made.items()}
        self.graph.eliminate_dead_code(_kept)
        for node in self.graph.nodes:
            if node.op == "placeholder":
                self.env[node] = self._step(node, holds=held.get(node.name, ""))
                if node.name not in held:
                    picture = self.env[node]
                    picture.kind = ROUTING
            elif node.op == "output":
                output = self.env[_root(node.args[0][-1])]
            elif node.op == "call_function":
                self._node(node)
        return self._pruned(picture, output, constants)

    def _node(self, node: fx.Node) -> None:
        target: Any = node.target
        name = _name(node)
        if isinstance(target, torch._ops.HigherOrderOperator):
            raise NotCaptured(f"module must not use {target}, which is no operation on tensors")
        if name in _SKIPPED or target is torch._C._set_grad_enabled:
            return
        if _draws(node, name):
            raise GraphError(f"module must not draw by chance in eval mode, and it calls {name}")
        read: Any = fx.node.map_arg((node.args, node.kwargs), lambda n: self.env[_root(n)])
        args, kwargs = read
        if target is operator.getitem and args[0].shape is not None:  # the first result of several
            self.env[node] = args[0]
            return
        if _written(node) is not None:
            if name in _VIEWS_IN_PLACE or _read_elsewhere(node):
                raise _Aliased
            target = getattr(getattr(_ATEN, name.removesuffix("_")), target._overloadname)
        if target in _SAME:
            target, arranged = _SAME[target]
            args = arranged(*args)
        self.env[_root(node)] = self._step(node, target, args, kwargs)

    def _step(
        self,
        node: fx.Node,
        function: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        holds: str = "",
    ) -> Step:
        made = Step("", "", function, tuple(args), dict(kwargs or {}), holds)
        made.line, made.module = _line(node), _path(node)
        made.name = made.path = made.operation
        value = node.meta.get("val")
        tensors = [one for one in tree_leaves(value) if isinstance(one, Tensor)]
        self._measure(made, tensors[0] if node.target in _SAME else value)
        if function is not None and tensors:  # else a size or the like: nothing of the picture
            made.kind = kind_of(made)
        made.nonnegative = is_nonnegative(made)
        if made.kind != CONSTANT and made.shape is not None and made.batch < 0:
            where = "; ".join(filter(None, (made.module, made.line)))
            raise GraphError(
                f"module must treat each picture by itself, and {made.operation}"
                f"{where and f' ({where})'} mixes those of a batch"
            )
        self.steps.append(made)
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            if path.startswith("module."):
                self.calls.setdefault(key, (path.removeprefix("module."), set()))[1].add(made)
        return made

    def _measure(self, step: Step, value: Any) -> None:
        """The shape of one example, and where in it the pictures are counted."""
        source = next((one for one in step.inputs if one.kind != CONSTANT), None)
        step.before = source.before if source is not None else 1
        if not isinstance(value, Tensor):
            return
        sizes: list[Any] = list(value.shape)
        counts = [i for i, size in enumerate(sizes) if not isinstance(size, int)]
        step.batch = counts[0] if counts else -1
        for i in counts:
            one = sizes[i].node.expr
            sizes[i] = int(one.subs(dict.fromkeys(one.free_symbols, 1)))
        step.shape = tuple(sizes)
        if not counts:
            step.batch = 0 if source is None else -1
        elif source is not None and source.shape is not None:
            step.before = self._before(step, source, sizes[step.batch])

    def _before(self, step: Step, source: Step, count: int) -> int:
        """What stands outside of the pictures in the dimension that counts them."""
        shape = source.shape or (1,)
        if step.operation in _RESHAPES:  # the order of all numbers stays
            outside = math.prod(shape[: source.batch]) * source.before
            found, left = divmod(outside, math.prod((step.shape or ())[: step.batch]))
            if not left and not count % found:
                return found
        elif count == 1 or count == shape[source.batch]:
            return source.before if count > 1 else 1
        elif step.operation in ("cat", "concat") and count == len(step.args[0]):
            return count
        elif step.operation in ("repeat_interleave", "bmm", "matmul"):
            return source.before
        raise NotCaptured(
            f"module must keep its pictures apart, and where {step.operation} leaves them is not "
            "known"
        )

    def _pruned(self, picture: Step, output: Step, constants: dict[str, Tensor]) -> Captured:
        """Without what the output does not depend on; named by the modules that return it."""
        needed = {output}
        for step in reversed(self.steps):
            if step in needed:
                needed.update(step.inputs)
        if picture not in needed or output.kind == CONSTANT:
            raise GraphError("module must return what depends on the pictures, and it does not")
        steps = [step for step in self.steps if step in needed]
        for step in steps:
            step.users = [user for user in step.users if user in needed]
        order = {step: i for i, step in enumerate(steps)}
        results: dict[str, Step] = {}
        calls: Counter[str] = Counter()
        ends: dict[Step, list[str]] = {}
        for path, found in self.calls.values():
            inside = found & needed
            calls[path] += 1
            left = [s for s in inside if s is output or not inside.issuperset(s.users)]
            left = [s for s in left if s.kind != CONSTANT] or left
            if left:
                end = max(left, key=order.__getitem__)
                results[path] = end
                ends.setdefault(end, []).append(path)
        seen: Counter[str] = Counter()
        for step in steps:
            step.returned = step in ends
            if step.returned:  # of several calls the last has the module's own name
                own = [path for path in ends[step] if results[path] is step]
                name = min(own or ends[step], key=len)
                step.name = name if own else f"{name}@{seen[name + '@']}"
                seen[name + "@"] += not own
            else:
                step.name = base = step.operation
                while step.name in results or step.name in seen:
                    seen[base] += 1
                    step.name = f"{base}_{seen[base]}"
                seen[step.name] += 0
            step.path = step.name
        return Captured(steps, picture, output, results, calls, constants)


def _name(node: fx.Node) -> str:
    """An operation's, without its overload."""
    return getattr(getattr(node.target, "_schema", None), "name", "").rpartition("::")[2]


def _draws(node: fx.Node, name: str) -> bool:
    """Whether an operation draws by chance: of those that can, some draw nothing in eval mode."""
    if "dropout" in name:
        share, train = (*node.args, 0, 0, 0)[1:3]
        return bool(share and train)
    never = name.removesuffix("_") in KINDS or name in _RECURRENT
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) and not never


def _kept(node: fx.Node) -> bool:
    """What is not dead, though nobody reads it."""
    return node.op in ("placeholder", "output") or _written(node) is not None


def _written(node: fx.Node) -> fx.Node | None:
    """The value that an operation in place writes into."""
    schema = getattr(node.target, "_schema", None) if node.op == "call_function" else None
    if schema is None or not schema.is_mutable:
        return None
    if schema.name.startswith("aten::_foreach"):
        raise NotCaptured(f"module must not write into lists of tensors, as {node.target} does")
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            return found if isinstance(found, fx.Node) else None
    return None


def _root(node: fx.Node) -> fx.Node:
    """What first gave the tensor of a node: operations in place return what they write into."""
    while (before := _written(node)) is not None:
        node = before
    return node


def _read_elsewhere(node: fx.Node) -> bool:
    """Whether something after ``node`` reads what it writes into by another view of it."""
    root, order = _root(node), {one: i for i, one in enumerate(node.graph.nodes)}
    memory, found, todo = _memory(root), set[fx.Node](), [root]
    while todo:
        one = todo.pop()
        if one not in found and not memory.isdisjoint(_memory(one)):
            found.add(one)
            todo += [*one.all_input_nodes, *one.users]
    others = [one for one in found if order[one] < order[node] and _root(one) is not root]
    elsewhere = any(order[user] > order[node] for one in others for user in one.users)
    if elsewhere and any(_name(one) == "einsum" for one in found):
        raise NotCaptured(
            "module must not write into what einsum of a single tensor gives, a view of it: "
            "permute gives one that can be captured"
        )
    return elsewhere


def _memory(node: fx.Node) -> set[int]:
    """Where the tensors of a node lie, which views of them share."""
    values = tree_leaves(node.meta.get("val"))
    return {one.untyped_storage()._cdata for one in values if isinstance(one, Tensor)}


def _inlined(module: fx.GraphModule) -> fx.Graph:
    """The graph with what is entered under another mode of gradients, and `_WRITTEN_OUT`."""
    graph = module.graph
    for node in graph.nodes:
        target, result = node.target, None
        if target is _HIGHER.wrap_with_autocast and node.args[2]:
            raise NotCaptured(
                "module must not enter autocast in its forward, whose casts are not captured; "
                "leave it out there and enter it around the call"
            )
        with graph.inserting_before(node):
            if target in (_HIGHER.wrap_with_set_grad_enabled, _HIGHER.wrap_with_autocast):
                place = 4 if target is _HIGHER.wrap_with_autocast else 1
                inner = _inlined(getattr(module, node.args[place].target))
                results = _copied_into(graph, inner, node.args[place + 1 :])
                for user in list(node.users):  # each takes one of the results
                    result = results[user.args[1]]
                    if place == 1 and not node.args[0]:  # without gradient
                        result = graph.call_function(_ATEN.detach.default, (result,))
                        result.meta = dict(user.meta)
                    user.replace_all_uses_with(result)
                    graph.erase_node(user)
            elif _name(node).removesuffix("_") in _WRITTEN_OUT:
                if _written(node) is not None:
                    raise _Aliased
                node.replace_all_uses_with(_copied_into(graph, *_traced(node)))
            else:
                continue
        graph.erase_node(node)
    return graph


def _copied_into(graph: fx.Graph, inner: fx.Graph, given: Sequence[Any]) -> Any:
    """What a graph gives for these inputs, computed in another."""
    inputs = [node for node in inner.nodes if node.op == "placeholder"]
    found = {node: node for node in inner.nodes if node.op == "get_attr"}  # of what is inlined
    return graph.graph_copy(inner, found | dict(zip(inputs, given, strict=True)))


def _traced(node: fx.Node) -> tuple[fx.Graph, list[fx.Node]]:
    """What an operation consists of, and what it reads."""
    function = _WRITTEN_OUT[_name(node)]
    read = [*node.args, *node.kwargs.values()]
    places = [i for i, one in enumerate(read) if isinstance(one, fx.Node)]

    def called(*values: Any) -> Any:
        given = read.copy()
        for i, value in zip(places, values, strict=True):
            given[i] = value
        named = dict(zip(node.kwargs, given[len(node.args) :], strict=True))
        return function(*given[: len(node.args)], **named)

    nodes: list[fx.Node] = [read[i] for i in places]  # type: ignore[misc]
    graph = make_fx(called)(*(one.meta["val"] for one in nodes)).graph
    for part in graph.nodes:
        part.meta |= {key: node.meta.get(key) for key in ("nn_module_stack", "stack_trace")}
    return graph, nodes


def _path(node: fx.Node) -> str:
    """The module whose forward method computes a node; of the network itself nothing."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0].removeprefix("module").removeprefix(".") if stack else ""


def _line(node: fx.Node) -> str:
    """The line of the forward method that a node comes from, with its file and number."""
    trace = node.meta.get("stack_trace") or ""
    found = re.findall(r'File "(.+)", line (\d+).*\n\s*(?!File ")(\S.*)', trace)
    return "{}, line {}: {}".format(Path(found[-1][0]).name, *found[-1][1:]) if found else ""


def require_eval(module: nn.Module) -> None:
    """Raise if any part of the module is in train mode, but for one that does nothing."""
    for path, part in module.named_modules():
        if part.training and not isinstance(part, nn.Identity):
            which = f" ({path} is)" if path else ""
            raise ValueError(
                f"module must be in eval mode, got train mode; call module.eval() first{which}"
            )
