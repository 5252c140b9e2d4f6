"""Real servers for the browser: `make app` and JupyterLab, each on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

ROOT = Path(__file__).parents[2]


CULL = 12  # seconds; longer than a page needs to come to its kernel


@contextmanager
def app() -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of ``make app``, whose own browser is not opened."""
    port = free_port()
    told = [f"PORT={port}", f"CULL={CULL}", f"BIN={Path(sys.executable).parent}"]
    words = ["make", "--old-file=.venv/.ready", "app", *told]  # what is installed stays so
    with _running(words, f"http://127.0.0.1:{port}/", "/voila/static/") as pid:
        yield f"http://127.0.0.1:{port}/", psutil.Process(pid)


def kernels(server: psutil.Process) -> list[psutil.Process]:
    """The kernels of a server; one that has just ended is none, though still listed."""
    found = []
    for one in server.children(recursive=True):
        with suppress(psutil.Error):
            found += [one] if any("ipykernel" in word for word in one.cmdline()) else []
    return found


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab over a folder."""
    port = free_port()
    options = [
        *(f"--ServerApp.port={port}", "--no-browser", "--IdentityProvider.token="),
        *(f"--ServerApp.root_dir={folder}", "--ServerApp.ip=127.0.0.1", "--allow-root"),
        *(
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ),
        *("--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"),
    ]
    words = [sys.executable, "-m", "jupyterlab", *options]
    with _running(words, f"http://127.0.0.1:{port}/", "/api/status"):
        yield f"http://127.0.0.1:{port}/"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _running(words: list[str], url: str, path: str) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "BROWSER": "true"}
    environment["XAIUTILS_WORKLOAD"] = "scenes"  # small, with two objects and exact masks
    process = subprocess.Popen(
        words, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    try:
        _wait(process, url.rstrip("/") + path)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server of {url} ended with {process.returncode}")
        try:
            urlopen(url, timeout=1).close()
        except (URLError, TimeoutError) as error:
            if getattr(error, "code", None) is not None:
                return  # it answers, if only that there is no such page
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"{url} did not answer in {seconds} s")
