"""Answers that are given once: what a network says of a batch is kept while a `remember` is open.

An answer is looked up by the bytes of what was asked: shape, type and every value of the pictures,
every weight of the network, every setting. Keys are of whole batches, so that an answer does not
depend on what was asked before. Weights are read once per network and ``remember``.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Same:
    """In a key: this very object, which must be frozen; the memo holds it, so its id stays."""

    value: Any


@dataclass
class Memo:
    """Answers by key; the oldest are forgotten where they take more than ``limit`` bytes."""

    limit: int
    hits: int = 0  # what was known when it was asked for
    misses: int = 0  # what was not
    _answers: OrderedDict[bytes, tuple[Any, int]] = field(default_factory=OrderedDict)
    _networks: dict[int, tuple[nn.Module, bytes]] = field(default_factory=dict)
    _held: dict[int, Any] = field(default_factory=dict)
    _bytes: int = 0

    def recall(self, key: bytes, *, shared: bool = False) -> Any:
        """What is kept under a key, or None."""
        if key not in self._answers:
            self.misses += 1
            return None
        self.hits += 1
        self._answers.move_to_end(key)
        answer = self._answers[key][0]
        return answer if shared else _copied(answer)

    def keep(self, key: bytes, answer: Any, *, shared: bool = False) -> None:
        """Keep a copy of ``answer``, or with ``shared`` itself; the oldest make room for it."""
        size = _size(answer)
        if size > self.limit or key in self._answers:
            return
        self._answers[key] = answer if shared else _copied(answer), size
        self._bytes += size
        while self._bytes > self.limit:
            self._bytes -= self._answers.popitem(last=False)[1][1]

    def key(self, *asked: Any) -> bytes:
        """A hash of every byte of what is asked."""
        digest = hashlib.blake2b(digest_size=20)
        self._feed(digest, asked)
        return digest.digest()

    def network(self, module: nn.Module) -> bytes:
        """A hash of a network, its weights and buffers as they were when it was first asked."""
        known = self._networks.get(id(module))
        if known is None or known[0] is not module:
            digest = hashlib.blake2b(digest_size=20)
            self._feed(digest, id(module))  # held below, so that no other object can have it
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                self._feed(digest, (name, tensor))
            known = self._networks[id(module)] = module, digest.digest()
        return known[1]

    def _feed(self, digest: Any, part: Any) -> None:
        """Bytes that nothing else has: each part is led by its type and its length."""
        if isinstance(part, tuple | list):
            digest.update(f"{len(part)} parts:".encode())
            for one in part:
                self._feed(digest, one)
            return
        if isinstance(part, Tensor):
            value = part.detach().cpu().contiguous()
            text = f"tensor {part.dtype} {tuple(part.shape)} {part.device}"
            content = value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b""
        elif isinstance(part, nn.Module):
            modes = (torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))
            text, content = f"network {[*modes]}", self.network(part)
        elif isinstance(part, Same):
            self._held[id(part.value)] = part.value
            text, content = "same", repr(id(part.value)).encode()
        elif isinstance(part, bytes):
            text, content = "bytes", part
        elif part is None or isinstance(part, str | int | float | bool):
            text, content = type(part).__name__, repr(part).encode()
        else:
            raise TypeError(
                f"asked must be tensors, networks, text and numbers, got {type(part).__name__}; "
                "a frozen object is asked about as Same(object)"
            )
        digest.update(f"{text}:{len(content)}:".encode())
        digest.update(content)


_ACTIVE: ContextVar[Memo | None] = ContextVar("memo", default=None)


@contextmanager
def remember(megabytes: int = 512) -> Iterator[Memo]:
    """Keep the answers of networks and explainers inside, in this thread; an outer memo stays."""
    outer = _ACTIVE.get()
    memo = outer if outer is not None else Memo(megabytes * 2**20)
    token = _ACTIVE.set(memo)
    try:
        yield memo
    finally:
        _ACTIVE.reset(token)


def active() -> Memo | None:
    """The memo that is open in this thread, if one is."""
    return _ACTIVE.get()


def once(compute: Callable[[], T], *asked: Any, shared: bool = False) -> T:
    """The answer to ``asked``, by ``compute`` where it is not known or no memo is open.

    It is handed out as a deep copy, that nobody can change what is kept; ``shared`` hands out the
    thing itself, for what nobody changes, such as a network.
    """
    memo = _ACTIVE.get()
    if memo is None:
        return compute()
    key = memo.key(*asked)
    answer = memo.recall(key, shared=shared)
    if answer is None:
        answer = compute()
        memo.keep(key, answer, shared=shared)
    return answer


def _copied(value: Any) -> Any:
    """A deep copy; copy.deepcopy takes ten times as long for a small tensor."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        return type(value)(_copied(one) for one in value)
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _copied(getattr(value, f.name)) for f in fields(value)})
    return copy.deepcopy(value)


def _size(value: Any) -> int:
    """About how many bytes an answer takes: those of its tensors."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = [*value.values()]
    elif is_dataclass(value) and not hasattr(value, "module"):
        value = [getattr(value, f.name) for f in fields(value)]
    return sum(map(_size, value)) if isinstance(value, tuple | list) else 64
