"""Localisation, sparseness and the baselines: literal twins, anchors, ties and refusals."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from xaiutils.methods import baselines
from xaiutils.metrics import gini, mass_accuracy, mean_interval, own_share, rank_accuracy


def literal_rank_accuracy(values, inside):
    k = sum(inside)
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    return sum(inside[i] for i in order[:k]) / k


def literal_gini(values):
    a = sorted(abs(v) for v in values)
    n = len(a)
    return sum((2 * i - n - 1) * v for i, v in enumerate(a, start=1)) / (n * sum(a))


pixels = st.lists(
    st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=12, max_size=12
).filter(lambda rows: any(m for _, m in rows) and any(v > 0.01 for v, _ in rows))


@given(pixels)
@settings(max_examples=60, deadline=None)
def test_scores_equal_their_literal_twins(rows):
    values, inside = [v for v, _ in rows], [m for _, m in rows]
    maps, masks = torch.tensor(values).view(1, 3, 4), torch.tensor(inside).view(1, 3, 4)
    positive = [max(v, 0) for v in values]
    share = sum(p for p, m in zip(positive, inside, strict=True) if m) / sum(positive)
    assert float(rank_accuracy(maps, masks)) == literal_rank_accuracy(values, inside)
    assert float(mass_accuracy(maps, masks)) == pytest.approx(share)
    assert float(gini(maps)) == pytest.approx(literal_gini(values))


def test_anchors():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((40, 64, 64), generator=generator) < 0.3
    noise = torch.randn((40, 64, 64), generator=generator)
    chance = masks.double().flatten(1).mean(1)
    scores = rank_accuracy(noise, masks) - chance
    assert abs(scores.mean()) < 3 * scores.std() / 40**0.5
    assert torch.equal(rank_accuracy(masks.float(), masks), torch.ones(40, dtype=torch.float64))
    assert float(gini(noise).mean()) == pytest.approx(0.414, abs=0.002)
    assert float(gini(torch.ones(1, 4, 4))) == 0
    one = torch.zeros(1, 4, 4)
    one[0, 1, 2] = 3
    assert float(gini(one)) == pytest.approx(1 - 1 / 16)


def test_what_cannot_be_scored_is_nan_and_never_a_number():
    maps, empty = torch.ones(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    assert rank_accuracy(maps, empty).isnan()
    assert mass_accuracy(maps, empty).isnan()
    assert mass_accuracy(-maps, ~empty).isnan()
    assert gini(torch.zeros(1, 4, 4)).isnan()


def test_wrong_masks_and_maps_are_refused():
    maps = torch.ones(2, 4, 4)
    with pytest.raises(TypeError, match="masks must be a bool tensor"):
        rank_accuracy(maps, torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match="maps and masks must have one shape"):
        mass_accuracy(maps, torch.ones(2, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="maps must be finite"):
        gini(maps * torch.nan)


def test_baselines_depend_on_nothing_but_the_picture_and_the_seed():
    x = torch.zeros(2, 3, 20, 30)
    x[:, :, :, 15:] = 1
    edges = baselines.sobel_edges(x)
    alone = torch.cat([baselines.sobel_edges(one[None]) for one in x])
    assert torch.equal(edges, alone)  # no picture leaks into its neighbour
    assert edges.shape == (2, 20, 30)
    assert set(edges[0].nonzero()[:, 1].tolist()) == {14, 15}
    bump = baselines.centre_prior(x)
    assert bump.shape == (2, 20, 30)
    torch.testing.assert_close(bump, bump.flip(1))
    assert bump[0, 9:11, 14:16].min() == bump.max()
    assert torch.equal(baselines.random_map(x, 3), baselines.random_map(x, 3))
    assert not torch.equal(baselines.random_map(x, 3), baselines.random_map(x, 4))
    state = torch.random.get_rng_state()
    baselines.random_map(x)
    assert torch.equal(state, torch.random.get_rng_state())


@given(pixels, st.lists(st.booleans(), min_size=12, max_size=12))
@settings(max_examples=60, deadline=None)
def test_own_share_is_the_literal_ratio(rows, theirs):
    values, mine = [v for v, _ in rows], [m for _, m in rows]
    own = sum(max(v, 0) for v, m in zip(values, mine, strict=True) if m)
    both = sum(max(v, 0) for v, m, t in zip(values, mine, theirs, strict=True) if m or t)
    found = own_share(
        torch.tensor(values).view(1, 3, 4),
        torch.tensor(mine).view(1, 3, 4),
        torch.tensor(theirs).view(1, 3, 4),
    )
    if both == 0:
        assert found.isnan()
    else:
        assert float(found) == pytest.approx(own / both)


def test_mean_interval():
    values = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(float(values.mean()))
    half = 1.96 * float(values.std()) / 200**0.5  # the normal interval, which a large sample nears
    assert low == pytest.approx(mean - half, abs=0.02)
    assert high == pytest.approx(mean + half, abs=0.02)
    assert mean_interval(torch.cat([values, torch.tensor([torch.nan])]))[0] == mean
    assert mean_interval(torch.full((4,), 0.5)) == (0.5, 0.5, 0.5)
    assert torch.tensor(mean_interval(torch.tensor([torch.nan]))).isnan().all()
    single = mean_interval(torch.tensor([2.0]))
    assert single[0] == 2
    assert torch.tensor(single[1:]).isnan().all()
