"""What a network computes, read by PyTorch itself: `torch.export` gives a list of ATen operations.

The module that is read is a copy around the caller's own parameters, so that nothing is left on the
caller's. Statements in place become operations that give a new value; where they write into a view,
PyTorch's own pass does that.
"""

from __future__ import annotations

import copy
import logging
import math
import re
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from xaiutils.network.kinds import CONSTANT, KINDS, ROUTING, is_nonnegative, kind_of
from xaiutils.network.step import GETITEM, GraphError, Step
from xaiutils.network.step import holds_tensors as _holds_tensors
from xaiutils.network.structure import inside
from xaiutils.support import chance
from xaiutils.support.borrowed import environment_kept

_ATEN = torch.ops.aten
_LOCK = threading.Lock()  # torch.export has one state for the whole process
OUTPUTS = ("logits", "out")  # what is read of a network that returns several things by name
# What PyTorch makes of an operation in its own pass, under the name that it has before it.
_SAME = {
    "native_layer_norm": _ATEN.layer_norm.default,
    "native_group_norm": _ATEN.group_norm.default,
    "_native_batch_norm_legit_no_training": _ATEN.batch_norm.default,
}
_WRITTEN_OUT = {  # fused, they have no rules; what they consist of has
    "scaled_dot_product_attention": _ATEN._scaled_dot_product_attention_math.default,
}
_RESHAPES = ("reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
# They change what their input is a view of.
_VIEWS_IN_PLACE = ("transpose_", "t_", "squeeze_", "unsqueeze_", "swapaxes_", "swapdims_")
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "rrelu")
_SKIPPED = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")


class NotCaptured(GraphError):
    """A network that computes its output cannot be read: without a graph it can still be called."""


@dataclass
class Captured:
    """The steps of a network, in the order of computation.

    Attributes:
        steps: Weights and the picture first where they are first read.
        input, output: The picture's, and that of what is explained.
        results: Of every module, by its path, the step of its last call.
        calls: How often each module is called.
        constants: Tensors that the forward method makes, by name.
    """

    steps: list[Step]
    input: Step
    output: Step
    results: dict[str, Step]
    calls: Counter[str]
    constants: dict[str, Tensor]


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside of what is put around one.

    `DataParallel`, `torch.compile` and `AveragedModel` compute what the module inside computes.
    """
    inside = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, inside) or type(module).__name__ == "AveragedModel":
            module = module.module  # type: ignore[assignment]
        elif hasattr(module, "_orig_mod"):
            module = module._orig_mod  # type: ignore[assignment]
        else:
            return module


def read_output(returned: Any) -> Tensor:
    """The tensor that is explained of what a network returns: it, its ``logits`` or its ``out``.

    Raises:
        GraphError: Something else; what was returned is named.
    """
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
        NotCaptured: The module cannot be captured, though it computes its output; the message has
            PyTorch's reason, the line of the user's code, and what to give instead.
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
                _Reading(_copy(module)),
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
    """The network, of whose output one tensor is read."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        try:
            return read_output(self.module(x))
        except GraphError:
            raise
        except Exception as error:  # torch.export would print the graph so far
            raise _Stopped from error


def _copy(module: nn.Module) -> nn.Module:
    """The same modules around the same tensors; the module itself where that is not possible."""
    memo: dict[int, Any] = {id(held): held for held in inside(module)}
    try:
        return copy.deepcopy(module, memo).eval()  # some are made anew, in train mode
    except Exception:  # something in it cannot be copied
        return module


def copied(module: nn.Module) -> nn.Module:
    """A deep copy that shares the weights, frozen.

    Raises:
        GraphError: Something in the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue  # copies its tensors itself
        for held in (*part._parameters.values(), *vars(part).values()):
            if isinstance(held, nn.Parameter):
                memo[id(held)] = nn.Parameter(held.detach(), requires_grad=False)
            elif isinstance(held, Tensor):
                memo[id(held)] = held.detach().clone()
    try:
        with torch.no_grad():  # TorchScript clones its weights
            twin = copy.deepcopy(module, memo).eval()
    except Exception as error:  # of whatever is held there
        raise GraphError(
            f"module must be copied by copy.deepcopy where it cannot be read, "
            f"{type(module).__name__} is not: {error}"
        ) from error
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


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
    own = [
        f
        for f in frames
        if not any(Path(f.filename).is_relative_to(b) for b in libraries)
        and not f.filename.startswith("<")
        and Path(f.filename).name != "contextlib.py"
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line})" if own else ""


class _Aliased(Exception):
    """A value is written into that is read under another name, too."""


class _Reader:
    """Makes steps of the nodes of an exported program."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.graph = _flattened(program.graph_module)
        self.steps: list[Step] = []
        self.env: dict[fx.Node, Any] = {}
        self.calls: dict[str, tuple[str, set[Step]]] = {}  # by call: path, steps
        self.batch = ""  # the symbol that counts pictures

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
            if node.op == "placeholder" and node.name in held:
                self.env[node] = self._step(node, holds=held[node.name])
            elif node.op == "placeholder":
                found = self._step(node, holds="")
                found.kind, self.env[node] = ROUTING, found
                picture = found
                self.batch = str(node.meta["val"].shape[0])
            elif node.op == "output":
                result = node.args[0][-1]
            else:
                self._node(node)
        output = self.env[result]
        if not isinstance(output, Step) or output.kind == CONSTANT:
            raise GraphError("module must return what depends on the pictures, and it does not")
        return self._pruned(picture, output, constants)

    def _node(self, node: fx.Node) -> None:
        target: Any = node.target
        if node.op == "get_attr":
            return
        name = getattr(getattr(target, "_schema", None), "name", "").rpartition("::")[2]
        if isinstance(target, torch._ops.HigherOrderOperator):
            raise NotCaptured(f"module must not use {target}, which is no operation on tensors")
        if name in _SKIPPED or target is torch._C._set_grad_enabled:
            return
        if name in _WRITTEN_OUT:
            self._written_out(node)
            return
        if _draws(node, name):
            raise GraphError(f"module must not draw by chance in eval mode, and it calls {name}")
        args, kwargs = self._filled(node.args), self._filled(node.kwargs)
        if target is GETITEM and not isinstance(args[0], Step):
            self.env[node] = args[0][args[1]]
            return
        if target is GETITEM and args[0].operation in ("batch_norm", "layer_norm", "group_norm"):
            self.env[node] = args[0]
            return
        written = _written(node)
        if written is not None:
            if name in _VIEWS_IN_PLACE or self._read_elsewhere(node, written):
                raise _Aliased
            name, target = name.removesuffix("_"), _ATEN
            for part in (name, node.target._overloadname):  # type: ignore[union-attr]
                target = getattr(target, part)
        made = self._call(node, target, name, args, kwargs)
        self.env[node] = made
        if written is not None:
            self.env.update(dict.fromkeys(_one_tensor(written), made))

    def _call(self, node: fx.Node, target: Any, name: str, args: Any, kwargs: Any) -> Step:
        """The step, or the steps, of an operation."""
        value = None
        if target is _ATEN.view.default:
            target = _ATEN.reshape.default  # the same numbers, whatever the memory layout
        elif name == "_native_batch_norm_legit_no_training":
            x, w, b, mean, variance, momentum, eps = args
            target, value = _SAME[name], node.meta["val"][0]
            args = (x, w, b, mean, variance, False, momentum, eps, False)
        elif name == "copy":  # of the second, in the form of the first
            target, args = _ATEN.expand_as.default, (args[1], args[0])
        elif name == "native_layer_norm":
            target, value = _SAME[name], node.meta["val"][0]
        elif name == "native_group_norm":
            target, args = _SAME[name], (args[0], args[6], args[1], args[2], args[7])
            value = node.meta["val"][0]
        elif name == "glu":
            first, gate = (
                self._step(node, _ATEN.narrow.default, (args[0], dim, i * size, size), value=half)
                for dim, size, half in [_half(node)]
                for i in range(2)
            )
            gate = self._step(node, _ATEN.sigmoid.default, (gate,))
            return self._step(node, _ATEN.mul.Tensor, (first, gate))
        elif name == "addcmul":
            product = self._step(node, _ATEN.mul.Tensor, args[1:3])
            if kwargs.get("value", 1) != 1:
                product = self._step(node, _ATEN.mul.Tensor, (product, kwargs["value"]))
            return self._step(node, _ATEN.add.Tensor, (args[0], product))
        elif name == "lerp":
            between = self._step(node, _ATEN.sub.Tensor, (args[1], args[0]))
            between = self._step(node, _ATEN.mul.Tensor, (between, args[2]))
            return self._step(node, _ATEN.add.Tensor, (args[0], between))
        return self._step(node, target, args, kwargs, value=value)

    def _step(
        self,
        node: fx.Node,
        function: Callable[..., Any] | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        holds: str = "",
        value: Any = None,
    ) -> Step:
        made = Step("", "", function, tuple(args), dict(kwargs or {}), holds)
        made.line, made.module = _line(node), _path(node)
        made.name = made.path = made.base
        value = node.meta.get("val") if value is None else value
        self._measure(made, value)
        if function is not None and made.shape is None and not _holds_tensors(value):
            made.kind = CONSTANT  # a size or the like: nothing of the picture is in it
        elif function is not None:
            made.kind = kind_of(made)
        made.nonnegative = is_nonnegative(made)
        if made.kind != CONSTANT and made.shape is not None and made.batch < 0:
            raise GraphError(
                f"module must treat each picture by itself, and {made.operation}"
                f"{_place(_path(node), made.line)} mixes those of a batch"
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

    def _filled(self, value: Any) -> Any:
        return fx.node.map_arg(value, lambda node: self.env[node])

    def _written_out(self, node: fx.Node) -> None:
        """The operations of which PyTorch makes one that has no rule."""
        function: Any = _WRITTEN_OUT[_schema(node).name.rpartition("::")[2]]
        read = [*node.args, *node.kwargs.values()]
        places = [i for i, one in enumerate(read) if isinstance(one, fx.Node)]

        def called(*values: Any) -> Any:
            given = list(read)
            for i, value in zip(places, values, strict=True):
                given[i] = value
            named = dict(zip(node.kwargs, given[len(node.args) :], strict=True))
            return function.decompose(*given[: len(node.args)], **named)[0]

        part = make_fx(called)(*(read[i].meta["val"] for i in places))  # type: ignore[union-attr]
        stack = node.meta.get("nn_module_stack")
        given = iter([self.env[read[i]] for i in places])  # type: ignore[index]
        for inner in part.graph.nodes:
            if inner.op == "placeholder":
                self.env[inner] = next(given)
            elif inner.op == "output":
                self.env[node] = self.env[inner.args[0]]
            else:
                inner.meta["nn_module_stack"] = stack
                self._node(inner)

    def _read_elsewhere(self, node: fx.Node, written: fx.Node) -> bool:
        """Whether something after ``node`` reads what is written into by another view of it."""
        itself = _one_tensor(written)
        found, todo = set(itself), list(itself)
        while todo:
            one = todo.pop()
            near = [base for base in one.all_input_nodes if _views(one, base)]
            near += [user for user in one.users if _views(user, one)]
            todo += [other for other in near if other not in found]
            found.update(near)
        order = {one: i for i, one in enumerate(node.graph.nodes)}
        others = [one for one in found - itself if order[one] < order[node]]
        elsewhere = any(order[user] > order[node] for one in others for user in one.users)
        if elsewhere and any(str(one.target).startswith("aten.einsum") for one in found):
            raise NotCaptured(
                "module must not write into what einsum of a single tensor gives, a view of it: "
                "permute gives one that can be captured"
            )
        return elsewhere

    def _pruned(self, picture: Step, output: Step, constants: dict[str, Tensor]) -> Captured:
        """Without what the output does not depend on; named by the modules that return it."""
        needed = {output}
        for step in reversed(self.steps):
            if step in needed:
                needed.update(step.inputs)
        if picture not in needed:
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
                step.name = step.base
                while step.name in results or step.name in seen:
                    seen[step.base] += 1
                    step.name = f"{step.base}_{seen[step.base]}"
                seen[step.name] += 0
            step.path = step.name
        return Captured(steps, picture, output, results, calls, constants)


def _half(node: fx.Node) -> tuple[int, int, Tensor]:
    """Of a gated linear unit the dimension that is halved, the size of a half and its value."""
    value: Tensor = node.meta["val"]
    dim = node.args[1] if len(node.args) > 1 else -1
    return int(dim), int(value.shape[dim]), value  # type: ignore[arg-type, index]


def _draws(node: fx.Node, name: str) -> bool:
    """Whether an operation draws by chance: of those that can, some draw nothing in eval mode."""
    if "dropout" in name:
        share, train = (*node.args, 0, 0, 0)[1:3]
        return bool(share and train)
    never = name.removesuffix("_") in KINDS or name in _RECURRENT
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) and not never


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None) if node.op == "call_function" else None


def _kept(node: fx.Node) -> bool:
    """What is not dead, though nobody reads it."""
    schema = _schema(node)
    return node.op in ("placeholder", "output") or (schema is not None and schema.is_mutable)


def _written(node: fx.Node) -> fx.Node | None:
    """The value that an operation in place writes into."""
    schema = _schema(node)
    if schema is None or not schema.is_mutable:
        return None
    if schema.name.startswith("aten::_foreach"):
        raise NotCaptured(f"module must not write into lists of tensors, as {node.target} does")
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            return found if isinstance(found, fx.Node) else None
    return None


def _one_tensor(node: fx.Node) -> set[fx.Node]:
    """All names of the tensor that a node gives: operations in place return what they write."""
    found, todo = {node}, [node]
    while todo:
        one = todo.pop()
        near = [user for user in one.users if _written(user) is one]
        near += [base for base in (_written(one),) if base is not None]
        todo += [other for other in near if other not in found]
        found.update(near)
    return found


def _views(node: fx.Node, base: fx.Node) -> bool:
    """Whether ``node`` shares memory with ``base``, which it reads; in doubt it does."""
    schema = _schema(node)
    if node.target is GETITEM:
        return True
    if schema is None:
        return False
    name = schema.name.rpartition("::")[2]
    if name in _PERHAPS_VIEWS:
        return True
    return any(result.alias_info is not None for result in schema.returns) and base in (
        node.args[:1] or ()
    )


# Views of what they read where that can be.
_PERHAPS_VIEWS = (
    *("flatten", "reshape", "contiguous", "dropout", "to", "unflatten", "expand_as", "einsum"),
    *("type_as", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors", "sum_to_size"),
    *("alpha_dropout", "feature_dropout", "feature_alpha_dropout", "meshgrid", "movedim"),
)


def _flattened(module: fx.GraphModule) -> fx.Graph:
    """The graph with the parts in it that are entered under another mode of gradients."""
    graph, modes = module.graph, torch.ops.higher_order
    for node in graph.nodes:
        if node.target is modes.wrap_with_autocast and node.args[2]:
            raise NotCaptured(
                "module must not enter autocast in its forward, whose casts are not captured; "
                "leave it out there and enter it around the call"
            )
        if node.target not in (modes.wrap_with_set_grad_enabled, modes.wrap_with_autocast):
            continue
        place = 4 if node.target is modes.wrap_with_autocast else 1
        without = place == 1 and not node.args[0]  # gradient
        given, found = iter(node.args[place + 1 :]), dict[fx.Node, Any]()
        with graph.inserting_before(node):
            for inner in _flattened(getattr(module, node.args[place].target)).nodes:
                if inner.op == "placeholder":
                    found[inner] = next(given)
                elif inner.op == "output":
                    results = fx.node.map_arg(inner.args[0], found.__getitem__)
                elif inner.op != "get_attr":
                    found[inner] = graph.node_copy(inner, found.__getitem__)
            for user in list(node.users):  # each takes one of the results
                result = results[user.args[1]]
                if without:
                    result = graph.call_function(_ATEN.detach.default, (result,))
                    result.meta = dict(user.meta)
                user.replace_all_uses_with(result)
                graph.erase_node(user)
        graph.erase_node(node)
    return graph


def _path(node: fx.Node) -> str:
    """The module whose forward method computes a node; of the network itself nothing."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0].removeprefix("module").removeprefix(".") if stack else ""


def _line(node: fx.Node) -> str:
    """The line of the forward method that a node comes from, with its file and number."""
    said = (node.meta.get("stack_trace") or "").strip().splitlines()
    places = [re.match(r'\s*File "(.+)", line (\d+)', line) for line in said]
    found = [(i, at) for i, at in enumerate(places) if at is not None]
    if not found or found[-1][0] + 1 == len(said):
        return ""
    i, at = found[-1]
    return f"{Path(at[1]).name}, line {at[2]}: {said[i + 1].strip()}"


def _place(path: str, line: str) -> str:
    """Where an operation stands, in words and brackets."""
    found = "; ".join(filter(None, (path, line)))
    return f" ({found})" if found else ""


def require_eval(module: nn.Module) -> None:
    """Raise if any part of the module is in train mode, but for one that does nothing."""
    for path, part in module.named_modules():
        if part.training and not isinstance(part, nn.Identity):
            which = f" ({path} is)" if path else ""
            raise ValueError(
                f"module must be in eval mode, got train mode; call module.eval() first{which}"
            )
