"""The memo: equal questions are answered once, all others anew."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

import xaiutils as xai
from xaiutils.lrp.composites import paper
from xaiutils.lrp.rules import flat
from xaiutils.methods import METHODS
from xaiutils.support import asking, cache
from xaiutils.support.cache import Same, remember


@pytest.fixture(scope="module")
def classifier():
    return xai.load_model("scenes_vgg_seed0")


@pytest.fixture
def x(classifier):
    return torch.randn(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)


def images(call) -> int:
    with asking.watch() as seen:
        call()
    return seen.images


def test_a_network_answers_an_equal_batch_once(classifier, x):
    plain = classifier.predict(x)
    with remember() as kept:
        assert images(lambda: classifier.predict(x)) == 3
        assert images(lambda: classifier.predict(x.clone())) == 0
        assert torch.equal(classifier.predict(x), plain)
        assert images(lambda: classifier.predict(x[:2])) == 2  # another batch is another question
    assert (kept.hits, kept.misses) == (2, 2)
    assert images(lambda: classifier.predict(x)) == 3, "nothing is kept behind the memo's end"


def test_a_change_in_place_is_another_question(classifier, x):
    with remember():
        before = classifier.predict(x)
        x[0, 0, 5, 5] += 0.5
        assert images(lambda: classifier.predict(x)) == 3
        x[0, 0, 5, 5] -= 0.5  # not quite the same bits, or the same: either way the right answer
        assert torch.allclose(classifier.predict(x), before, atol=1e-4)
        maps = METHODS["hybrid"](classifier, x, 1)
        x.mul_(0.5)
        assert not torch.equal(METHODS["hybrid"](classifier, x, 1), maps)


def test_what_is_handed_out_can_be_changed(classifier, x):
    with remember():
        first = classifier.predict(x)
        kept = first.clone()
        first.zero_()
        again = classifier.predict(x)
        assert torch.equal(again, kept)
        again.zero_()
        assert torch.equal(classifier.predict(x), kept)
        found = xai.explain(classifier, x, 0)
        kept = found.hybrid.clone()
        for one in (found.relevance_per_channel, found.cam, found.logits, found.conservation.bias):
            one.zero_()
        assert torch.equal(xai.explain(classifier, x, 0).hybrid, kept)


def test_changed_weights_are_seen_by_the_next_memo(x):
    one = xai.load_model("scenes_vgg_seed0")
    with remember():
        before = one.predict(x)
    with torch.no_grad():
        next(one.module.parameters()).data.mul_(0.5)  # keeps _version and data_ptr
    with remember():
        assert not torch.allclose(one.predict(x), before)


def test_networks_do_not_share_answers(classifier, x):
    other = xai.load_model("scenes_vgg_seed0")  # the same weights, another object
    with remember():
        classifier.predict(x)
        assert images(lambda: other.predict(x)) == 3


def test_an_inner_memo_is_the_outer_one(classifier, x):
    with remember() as outer:
        classifier.predict(x)
        with remember() as inner:
            assert inner is outer
            assert images(lambda: classifier.predict(x)) == 0
        assert images(lambda: classifier.predict(x)) == 0
    assert cache.active() is None


STAGES = ("grad_cam_plus_plus", "bounded_cam", "lrp_paper", "lrp_smoothed", "hybrid")


@pytest.mark.parametrize("network", ["scenes_vgg_seed0", "scenes_resnet_seed0", "scenes_vit_seed0"])
def test_the_maps_of_one_explain_come_from_one_pass(network, x):
    one = xai.load_model(network)
    settings = {"composite": "attnlrp"} if "vit" in network else {}
    stages = STAGES if not settings else ("grad_cam_plus_plus", "bounded_cam", "hybrid")
    plain = {n: METHODS[n](one, x, 2, **(settings if n == "hybrid" else {})) for n in stages}
    alone = images(lambda: METHODS["hybrid"](one, x, 2, **settings))
    with remember():
        assert images(lambda: METHODS["hybrid"](one, x, 2, **settings)) == alone
        for name in stages:
            used = settings if name == "hybrid" else {}
            with asking.watch() as seen:
                maps = METHODS[name](one, x, 2, **used)
            assert seen.images == 0
            assert torch.equal(maps, plain[name]), "the same bits as without a memo"
        assert images(lambda: METHODS["grad_cam"](one, x, 2)) == 0, "another CAM, same gradients"
        assert images(lambda: METHODS["hybrid"](one, x, 3, **settings)) == alone, "another class"


def test_the_halves_asked_one_by_one_give_the_same_bits(classifier, x):
    plain = METHODS["hybrid"](classifier, x, 1)
    with remember():
        METHODS["grad_cam_plus_plus"](classifier, x, 1)
        METHODS["lrp_paper"](classifier, x, 1)
        with asking.watch() as seen:
            assert torch.equal(METHODS["hybrid"](classifier, x, 1), plain)
        assert seen.images == 0


def test_settings_are_part_of_the_question(classifier, x):
    with remember():
        maps = [
            xai.relevance(classifier, x, 1, **kind).map
            for kind in (
                {},
                {"start": "one"},
                {"composite": "epsilon"},
                {"composite": paper(alpha=2, beta=1)},
                {"composite": paper(alpha=3, beta=2)},
                {"input_rule": flat()},
            )
        ]
        cams = [
            xai.hybrid.class_activation_map(classifier, x, 1, cam_layer=layer)
            for layer in (None, "features.9")
        ]
    for found in (maps, cams):
        for i, one in enumerate(found):
            assert not any(torch.equal(one, other) for other in found[i + 1 :])


def test_preprocessing_is_part_of_the_question(classifier, x):
    """A rule of the first layer reads the darkest and the brightest input."""
    other = replace(classifier, transform=replace(classifier.transform, mean=(0.4, 0.4, 0.4)))
    plain = [xai.relevance(c, x, 1, "epsilon_gamma_box").map for c in (classifier, other)]
    assert not torch.equal(*plain)
    with remember():
        found = [xai.relevance(c, x, 1, "epsilon_gamma_box").map for c in (classifier, other)]
        maps = [
            xai.contender("lrp_epsilon_gamma_box").explainer(None, 0)(c, x, torch.tensor([1, 1, 1]))
            for c in (classifier, other)
        ]
    assert all(map(torch.equal, found, plain))
    assert not torch.equal(*maps)


def test_the_oldest_answers_are_forgotten():
    with remember(megabytes=1) as kept:
        for i in range(10):
            cache.once(lambda: torch.zeros(65536), "question", i)  # 256 KiB each
        assert kept.recall(kept.key("question", 9)) is not None
        assert kept.recall(kept.key("question", 0)) is None
        assert cache.once(lambda: torch.zeros(2**20), "too large").shape == (2**20,)
        assert kept.recall(kept.key("too large")) is None


class Thing:
    """Stands for a composite: a new object has a key of its own, even at an old one's address."""


def test_an_object_is_itself():
    with remember():
        assert cache.once(lambda: 1, Same(Thing())) == 1
        for _ in range(100):
            assert cache.once(lambda: 2, Same(Thing())) == 2
        shared = Thing()
        assert cache.once(lambda: shared, "shared", shared=True) is shared
        assert cache.once(Thing, "shared", shared=True) is shared


def test_only_what_has_bytes_can_be_asked():
    with remember(), pytest.raises(TypeError, match="asked must be tensors, networks, text and"):
        cache.once(lambda: 0, {1, 2})


PARTS = st.recursive(
    st.one_of(st.text(max_size=3), st.integers(-3, 3), st.binary(max_size=3), st.none()),
    lambda inner: st.tuples(inner, inner) | st.tuples(inner),
    max_leaves=4,
)


@hypothesis.given(PARTS, PARTS)
@hypothesis.settings(deadline=None, max_examples=100)
def test_keys_are_equal_only_for_equal_questions(a, b):
    kept = cache.Memo(2**20)
    assert (kept.key(a) == kept.key(b)) == (a == b)


def test_keys_tell_shape_type_and_place():
    kept = cache.Memo(2**20)
    zero = torch.zeros(4)
    tensors = [zero, zero.double(), zero.view(2, 2), zero.int(), (zero, zero)]
    asked = [*tensors, 0, 0.0, False, "0", None]
    assert len({kept.key(one) for one in asked}) == len(asked)
    assert kept.key(torch.arange(6).view(2, 3).T) == kept.key(torch.arange(6).view(2, 3).T.clone())
    assert kept.key("ab", "c") != kept.key("a", "bc")
