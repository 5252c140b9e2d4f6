"""Counting, progress and cancelling: the places where a network is asked."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
import torch
from hypothesis import given, strategies as st

from xaiutils.network.classifier import load_model
from xaiutils.network.hookable import Twin
from xaiutils.support import asking


@given(st.lists(st.integers(1, 100), max_size=10), st.integers(1, 4))
def test_every_open_watch_counts_every_image(batches: list[int], depth: int) -> None:
    with ExitStack() as stack:
        watches = [stack.enter_context(asking.watch()) for _ in range(depth)]
        for images in batches:
            asking.asked(images)
        assert [seen.images for seen in watches] == [sum(batches)] * depth
    asking.asked(7)
    assert [seen.images for seen in watches] == [sum(batches)] * depth


def test_the_network_and_its_twin_are_counted() -> None:
    classifier = load_model("scenes_vgg_seed0")
    x = torch.zeros(3, 3, 128, 128)
    with asking.watch() as seen:
        classifier.predict(x)
        assert seen.images == 3
        with asking.watch() as inner:
            Twin(classifier.graph)(x[:2])
    assert (seen.images, inner.images) == (5, 2)


def test_cancelling_stops_before_the_next_batch_and_says_how_far_it_came() -> None:
    answers = iter([False, False, True])
    with asking.watch(cancelled=lambda: next(answers)) as seen:
        asking.asked(4)
        asking.asked(4)
        with pytest.raises(asking.Cancelled, match="cancelled after 8 images"):
            asking.asked(4)
    assert seen.images == 8
    asking.asked(1)  # nobody watches any more
    assert seen.images == 8


def test_an_outer_watch_cancels_what_runs_in_an_inner_one() -> None:
    with (
        asking.watch(cancelled=lambda: True),
        asking.watch(),
        pytest.raises(asking.Cancelled, match="cancelled after 0 images"),
    ):
        asking.asked(1)


def test_an_error_inside_closes_the_watch() -> None:
    with pytest.raises(KeyError), asking.watch() as seen:
        raise KeyError("inside")
    asking.asked(5)
    assert seen.images == 0


def test_other_threads_are_not_watched() -> None:
    with asking.watch() as seen:
        thread = threading.Thread(target=asking.asked, args=(9,))
        thread.start()
        thread.join()
        asking.asked(1)
    assert seen.images == 1


def test_the_bar_shows_title_count_and_total(capsys: pytest.CaptureFixture[str]) -> None:
    with asking.watch(8, progress=True, title="LIME") as seen:
        asking.asked(8)
        assert (seen.bar.n, seen.bar.total) == (8, 8)
    drawn = capsys.readouterr().err
    assert "LIME" in drawn
    assert seen.bar.disable  # closed
    with asking.watch() as silent:
        asking.asked(8)
    assert silent.bar is None
    assert capsys.readouterr().err == ""
