"""The examples in the docstrings of the main verbs run, and give what they say."""

from __future__ import annotations

import doctest
import warnings

import pytest
import torch

import xaiutils as xai

VERBS = (
    *("load_model", "wrap", "load_image", "explain", "class_activation_map", "relevance"),
    *("bound", "fuse", "smooth", "combine", "load_cases", "score"),
)


@pytest.mark.parametrize("name", VERBS)
def test_the_example_of_a_verb_gives_what_it_says(name: str) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(getattr(xai, name), name, globs={"xai": xai, "torch": torch})
    assert example.examples, f"{name} has no example"
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = doctest.DocTestRunner(verbose=False).run(example, out=told.append)
    assert not found.failed, "".join(told)
