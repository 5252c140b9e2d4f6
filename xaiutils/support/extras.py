"""Which extra brings a library that is missing: ``pip install 'xaiutils[methods]'``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_BROUGHT_BY = {
    "methods": ("captum", "pytorch_grad_cam", "skimage", "sklearn"),
    "metrics": ("quantus", "pandas", "pyarrow"),
    "study": ("yaml", "filelock", "threadpoolctl"),
    "apps": ("IPython", "ipywidgets", "jupyter_client", "nbclient", "nbformat", "tornado"),
}
_EXTRA = {library: extra for extra, libraries in _BROUGHT_BY.items() for library in libraries}


@contextmanager
def extras_named() -> Iterator[None]:
    """Say of a library that is missing which extra of this package brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"{library} is not installed, and this needs it: pip install "
            f"'xaiutils[{_EXTRA[library]}]', or 'xaiutils[all]'",
            name=error.name,
        ) from error
