"""Loaded by the workers of a local cluster: Ctrl-C is for the run, which then ends them."""

import logging
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Dask calls this when a worker starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what the end of the run cuts short
