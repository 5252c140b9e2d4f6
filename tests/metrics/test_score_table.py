"""The table of scores: what is compared with what, and what is counted."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
import torch

from xaiutils.metrics import stats
from xaiutils.metrics.score_table import COLUMNS, KEYS, checked, compare, lowest, spread, summarise

RNG = np.random.default_rng(0)


def rows(method, values, network="vgg", metric="gini", seed=0, split="test", workload="scenes"):
    return pd.DataFrame(
        [
            (workload, network, split, f"{split}-{i:05d}", method, metric, seed, value, "")
            for i, value in enumerate(values)
        ],
        columns=COLUMNS,
    )


def table(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


def test_compare_by_hand():
    found = compare(
        table(rows("hybrid", [1, 2, 3, math.nan, 5]), rows("lrp", [0, 1, 5, 1, math.nan])),
        "gini",
        "hybrid",
        ["lrp"],
        "higher",
    )
    (row,) = found.to_dict("records")
    # differences 1, 1, -2; two images lack a score
    assert (row["n"], row["excluded"], row["difference"]) == (3, 2, 0)
    assert (row["mean"], row["other_mean"]) == (2, 2)
    assert (row["network"], row["method"], row["other"]) == ("vgg", "hybrid", "lrp")
    assert row["p_holm"] == row["p"]


def test_compare_pairs_by_image_whatever_the_order_of_the_rows():
    hybrid, lrp, cam = RNG.random((3, 30))
    scores = table(rows("hybrid", hybrid), rows("lrp", lrp), rows("cam", cam))
    scores = table(scores, *(rows(m, RNG.random(30), metric="other") for m in ("hybrid", "lrp")))
    found = compare(
        scores.sample(frac=1, random_state=1), "gini", "hybrid", ["lrp", "cam"], "lower"
    )
    assert found["other"].tolist() == ["lrp", "cam"]
    for row, other in zip(found.itertuples(), (lrp, cam), strict=True):
        expected = stats.paired(hybrid, other, "lower")
        got = [getattr(row, name) for name in stats.Pair._fields]
        assert got == list(expected)
    assert found["p_holm"].tolist() == stats.holm(found["p"]).tolist()


def test_compare_stays_within_a_network_and_averages_seeds():
    scores = table(
        rows("hybrid", [1, 2], seed=0),
        rows("hybrid", [3, 4], seed=1),
        rows("lrp", [0, 0], seed=0),
        rows("lrp", [1, math.inf], seed=1),
        rows("hybrid", [9, 9], network="resnet"),
        rows("lrp", [4, 6], network="resnet"),
    )
    found = compare(scores, "gini", "hybrid", ["lrp"], "higher").set_index("network")
    assert found.loc["resnet", "difference"] == 4
    # image 0: mean of 1 and 3 less mean of 0 and 1; image 1 has no finite score under seed 1
    assert found.loc["vgg", "difference"] == 1.5
    assert found.loc["vgg", ["n", "excluded"]].tolist() == [1, 1]


def test_a_missing_seed_a_missing_row_and_a_missing_method_are_counted():
    scores = table(
        rows("hybrid", [1, 2, 3], seed=0),
        rows("hybrid", [1, 2, 3], seed=1),
        rows("lrp", [1, 2, 3], seed=0),
        rows("cam", [1, 1], seed=0),
        rows("cam", [1, 1], seed=1),
        rows("hybrid", [1], network="vit"),
        rows("lrp", [1], network="vit"),
    )
    found = compare(scores, "gini", "hybrid", ["lrp", "cam"], "higher")
    counts = found.set_index(["network", "other"])[["n", "excluded"]]
    assert counts.loc[("vgg", "lrp")].tolist() == [0, 3]
    assert counts.loc[("vgg", "cam")].tolist() == [2, 1]
    assert counts.loc[("vit", "cam")].tolist() == [0, 1]
    assert math.isnan(found.set_index(["network", "other"]).loc[("vit", "cam"), "p_holm"])


def test_summarise_by_hand():
    scores = table(
        rows("hybrid", [1, 2, 6]),
        rows("hybrid", [5, math.nan], network="resnet"),
        rows("hybrid", [math.nan], network="vit"),
        rows("hybrid", [8], workload="imagenet"),
    )
    found = summarise(scores).set_index(["workload", "network"])
    first = found.loc[("scenes", "vgg")]
    mean, low, high = stats.mean_interval(torch.tensor([1.0, 2.0, 6.0]).double())
    assert first[["mean", "low", "high", "n", "excluded"]].tolist() == [mean, low, high, 3, 0]
    assert first[["networks", "least", "most"]].tolist() == [2, 3, 5]
    assert found.loc[("scenes", "resnet"), ["n", "excluded"]].tolist() == [1, 1]
    assert math.isnan(found.loc[("scenes", "vit"), "mean"])
    assert found.loc[("imagenet", "vgg"), ["networks", "least", "most"]].tolist() == [1, 8, 8]


def test_summarise_averages_seeds_before_images():
    scores = table(rows("hybrid", [1, 2], seed=0), rows("hybrid", [3, 6], seed=1))
    (row,) = summarise(scores).to_dict("records")
    # images 2 and 4, and the interval is that of two images, not of four scores
    assert (row["n"], row["mean"]) == (2, 3)
    assert (row["low"], row["high"]) == (2, 4)


def test_a_table_without_rows_has_no_summary():
    assert len(summarise(rows("hybrid", []).astype({"value": float}))) == 0


GOOD = rows("hybrid", [1.0, 2.0])


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([1], TypeError, r"table must be a pandas DataFrame, got list \[1\]"),
        (GOOD.drop(columns=["seed", "why"]), ValueError, r"got none named \['seed', 'why'\]"),
        (GOOD.assign(network=None), ValueError, r"must name every row, got nothing in \['network'"),
        (table(GOOD, GOOD), ValueError, "hold a score once, got twice .*'image': 'test-00000'"),
        (GOOD.assign(value="high"), TypeError, "must hold numbers as value, got"),
    ],
)
def test_what_is_no_score_table_is_refused(bad, error, message):
    for call in (checked, summarise, lambda t: compare(t, "gini", "hybrid", ["hybrid"], "lower")):
        with pytest.raises(error, match=message):
            call(bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ginni", "hybrid", ["lrp"], "higher"), "metric must be a known name, .* mean gini"),
        (("gini", "hybird", ["lrp"], "higher"), "method must be a known name, .* mean hybrid"),
        (("gini", "hybrid", ["lpr"], "higher"), "others must be a known name, .* mean lrp"),
        (("gini", "hybrid", ["lrp"], "more"), "better must be a known name"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(table(GOOD, rows("lrp", [1.0, 3.0])), *arguments)


def test_the_table_is_left_as_it_came():
    scores = table(GOOD, rows("lrp", [1.0, 3.0]))
    before = scores.copy(deep=True)
    compare(scores, "gini", "hybrid", ["lrp"], "higher")
    summarise(scores)
    pd.testing.assert_frame_equal(scores, before)
    assert [*KEYS, "value", "why"] == COLUMNS


DRAWS = {(m, seed): RNG.gamma(2, 1, 5).tolist() for m, seed in itertools.product("abc", range(4))}


def of_draws() -> pd.DataFrame:
    return table(*(rows(m, values, seed=seed) for (m, seed), values in DRAWS.items()))


def values_of(found: pd.DataFrame, method: str) -> list[float]:
    return found[found["method"] == method].sort_values("image")["value"].tolist()


def test_spread_by_hand():
    found = checked(spread(of_draws(), "gini", ["a", "b"], "lower"))
    assert set(found["method"]) == {"draws", "methods"}
    for i in range(5):
        of = {m: [DRAWS[m, seed][i] for seed in range(4)] for m in "ab"}
        means = [statistics.fmean(of[m]) for m in "ab"]
        within = math.sqrt(sum(statistics.variance(of[m]) for m in "ab") / 2)
        assert values_of(found, "draws")[i] == pytest.approx(within / statistics.fmean(means))
        assert values_of(found, "methods")[i] == pytest.approx(
            statistics.stdev(means) / statistics.fmean(means)
        )


def test_lowest_by_hand():
    for better, best in (("lower", min), ("higher", max)):
        found = checked(lowest(of_draws(), "gini", ["a", "b", "c"], better))
        assert values_of(found, "always") == [1.0] * 5
        for i in range(5):
            means = {m: statistics.fmean(DRAWS[m, s][i] for s in range(4)) for m in "abc"}
            for m in "abc":
                won = float(means[m] == best(means.values()))
                assert values_of(found, m)[i] == won
    tie = lowest(table(rows("a", [1, 2]), rows("b", [1, 3])), "gini", ["a", "b"], "lower")
    assert (values_of(tie, "a"), values_of(tie, "b")) == ([1, 1], [1, 0])


def test_a_statistic_of_a_picture_without_a_score_is_none():
    gap = of_draws()
    gap.loc[
        (gap["method"] == "b") & (gap["image"] == "test-00003") & (gap["seed"] == 2), "value"
    ] = math.nan
    for found in (
        spread(gap, "gini", ["a", "b"], "lower"),
        lowest(gap, "gini", ["a", "b"], "lower"),
    ):
        lost = found[found["value"].isna()]
        assert set(lost["image"]) == {"test-00003"}
        assert "always" not in set(lost["method"])
    gone = gap[~((gap["method"] == "b") & (gap["image"] == "test-00003"))]  # no row at all
    assert spread(gone, "gini", ["a", "b"], "lower")["value"].isna().sum() == 2
    zero = table(*(rows(m, [0.0, 1.0], seed=seed) for m in "ab" for seed in range(2)))
    assert values_of(spread(zero, "gini", ["a", "b"], "lower"), "draws")[1] == 0
    assert math.isnan(values_of(spread(zero, "gini", ["a", "b"], "lower"), "draws")[0])


def test_statistics_do_not_depend_on_the_order_of_rows_nor_on_other_methods():
    mixed = of_draws().sample(frac=1, random_state=1)
    for made in (spread, lowest):
        first, second = (made(one, "gini", ["a", "b"], "lower") for one in (of_draws(), mixed))
        pd.testing.assert_frame_equal(first, second)


def test_a_spread_needs_two_draws():
    with pytest.raises(ValueError, match="table must have two seeds or more for a spread, got 1"):
        spread(table(rows("a", [1, 2]), rows("b", [1, 2])), "gini", ["a", "b"], "lower")
