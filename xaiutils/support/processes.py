"""Processes of this machine that work for this one: one thing at a time, and none outlives it.

A process that dies takes one thing with it, and everybody knows which; another takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from xaiutils.support.borrowed import environment_kept
from xaiutils.support.checks import text_of


class Died(Exception):
    """A process ended before it answered; the message says how."""


def end_with_parent() -> None:
    """End this process, a child of `multiprocessing`, when its parent is gone, however it died."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


class Worker:
    """A process that answers one question at a time; it does not hear Ctrl-C, its parent does."""

    def __init__(
        self, number: int, function: Callable[..., Any], environment: Mapping[str, str]
    ) -> None:
        """Start process ``number``, which calls ``function``, with ``environment`` added."""
        self.number = number
        many = multiprocessing.get_context("spawn")
        self.pipe, theirs = many.Pipe()
        self.process = many.Process(
            target=_serve, args=(theirs,), name=f"worker-{number}", daemon=True
        )
        try:
            with _inherited(environment):
                self.process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()
        self._send(function)

    def ask(self, **question: Any) -> None:
        """Hand ``question`` to the function."""
        self._send(question)

    def _send(self, what: Any) -> None:
        with suppress(OSError):  # it has died, as `answer` will say
            self.pipe.send(what)

    def answer(self) -> Any:
        """What the function returned, or raised; `Died` where the process ended before."""
        try:
            fine, answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            how = _how(self.process.exitcode)
            self.end()
            raise Died(how) from None
        if fine:
            return answer
        raise answer

    def end(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def ready(workers: Iterable[Worker]) -> list[Worker]:
    """Wait until one of them has answered or died; all that have."""
    by: dict[Any, Worker] = {worker.pipe: worker for worker in workers}
    return [by[pipe] for pipe in wait(list(by))]


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit status {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """What a child takes over from this moment: variables, and that it is deaf to Ctrl-C."""
    unix = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if unix else set()
    try:
        with environment_kept(*environment):
            os.environ.update(environment)
            yield
    finally:
        if unix:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _serve(pipe: Connection) -> None:
    end_with_parent()
    try:
        function = pipe.recv()  # and all that it imports, which takes seconds
    except EOFError:
        return
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = True, function(**question)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = False, _sendable(error)
        pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error, or its text where it does not survive the way."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {text_of(error)}")
    return error
