"""Claims: how they are read, when they hold, and the page that says so."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, strategies as st

from tests.metrics.test_score_table import rows, table
from xaiutils.evidence.claims import (
    RELATIONS,
    Amendment,
    Claim,
    Verdict,
    judge,
    load_claims,
    verdict_of,
)
from xaiutils.evidence.claims_page import report
from xaiutils.metrics import stats

EXAMPLES = """
- id: sparser
  gist: The hybrid is sparser than either parent.
  where: Table I, complexity
  paper: 0.9 against 0.5 and 0.6
  table: table_one
  metric: gini
  of: hybrid
  against: [cam, lrp]
  relation: better
  margin: 0
  workloads: [scenes, imagenet]
  cell: 11_metrics.ipynb#table
  note: Any product is.
- id: as_robust
  gist: The hybrid is about as robust as LRP | Grad-CAM++.
  where: section IV
  paper: "0.41"
  table: table_one
  metric: sensitivity
  of: hybrid
  against: [lrp]
  relation: near
  margin: 0.05
  workloads: [scenes]
  cell: 11_metrics.ipynb
"""
ENTRIES = yaml.safe_load(EXAMPLES)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.1, 60)


def read(tmp_path, entries) -> list[Claim]:
    file = tmp_path / "claims.yaml"
    file.write_text(entries if isinstance(entries, str) else yaml.safe_dump(entries))
    return load_claims(file)


def changed(**keys) -> list[dict]:
    return [ENTRIES[0], ENTRIES[1] | keys]


def statistic(name="spread", **keys) -> list[dict]:
    values = {"of": "draws", "against": ["methods"], "among": ["a", "b"]} | keys
    return changed(statistic=name, **values)


def test_claims_are_read(tmp_path):
    first, second = read(tmp_path, EXAMPLES)
    assert first.against == ("cam", "lrp")
    assert first.workloads == ("scenes", "imagenet")
    assert (first.relation, first.margin, first.note) == ("better", 0, "Any product is.")
    assert (second.id, second.paper, second.margin, second.note) == ("as_robust", "0.41", 0.05, "")


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ("- [", ValueError, "claims.yaml must be YAML, got: "),
        ("a: 1", ValueError, "claims.yaml must be a list of claims, got dict {'a': 1}"),
        ("- a", ValueError, "must be a list of claims, got list"),
        ("", ValueError, "must be a list of claims, got NoneType None"),
        ("- id: a\n  id: b", ValueError, "(?s)key 'id' stands twice.*line 1"),
        (changed(margins=1), ValueError, "claim 'as_robust': key must be .* mean margin"),
        (changed(id="sparser"), ValueError, "'sparser': id must be unique, got it 2 times"),
        ([{"gist": "a"}], ValueError, "claim number 1: keys must be complete, .* named id, where"),
        (changed(paper=0.41), TypeError, r"paper must be text \(in quotes\), got float 0.41"),
        (changed(gist=" "), TypeError, "claim 'as_robust': gist must be text"),
        (changed(id=3), TypeError, "claim 3: id must be text .* got int 3"),
        (changed(relation="best"), ValueError, "'as_robust': relation must be a known name"),
        (changed(margin=-1), ValueError, "'as_robust': margin must be >= 0, got -1"),
        (changed(margin="small"), TypeError, "'as_robust': margin must be a number, got str"),
        (changed(margin=True), TypeError, "'as_robust': margin must be a number, got bool"),
        (changed(margin=0), ValueError, "margin must be > 0 for 'near', got 0"),
        (changed(relation="not_better", margin=0), ValueError, "> 0 for 'not_better', got 0"),
        (changed(against="lrp"), TypeError, "against must be a list of names, got str 'lrp'"),
        (changed(against=[]), TypeError, "against must be a list of names, got list"),
        (changed(against=["lrp", "lrp"]), ValueError, "against must name each once"),
        (changed(against=["hybrid"]), ValueError, "against must name other methods, got 'hybrid'"),
        (changed(workloads=[1]), TypeError, "workloads must be text"),
        (changed(relation="better_than_one"), ValueError, "two or more for 'better_than_one', got"),
        (changed(statistic="spread"), ValueError, "statistic and among must stand together"),
        (changed(among=["a", "b"]), ValueError, "statistic and among must stand together"),
        (statistic("middle"), ValueError, "'as_robust': statistic must be a known name"),
        (statistic(among=["a"]), ValueError, r"among must name two or more, got \['a'\]"),
        (statistic(among="ab"), TypeError, "among must be a list of names, got str 'ab'"),
        (statistic(of="a"), ValueError, "row of spread must be a known name, got 'a'"),
        (statistic("lowest"), ValueError, "row of lowest must be a known name, got 'draws'"),
        (changed(cell="metrics"), ValueError, "cell must be a notebook such as .* got 'metrics'"),
    ],
)
def test_wrong_claims_are_refused(tmp_path, entries, error, message):
    with pytest.raises(error, match=message):
        read(tmp_path, entries)


AMENDED = {"date": date(2026, 11, 30), "kind": "withdrawn", "why": "Misread."}


def test_an_amendment_is_read(tmp_path):
    first, second = read(tmp_path, changed(amended=AMENDED))
    assert (first.amended, first.withdrawn) == (None, False)
    assert second.amended == Amendment("2026-11-30", "withdrawn", "Misread.")
    assert second.withdrawn
    assert not read(tmp_path, changed(amended=AMENDED | {"kind": "added"}))[1].withdrawn


@pytest.mark.parametrize(
    ("amended", "error", "message"),
    [
        ("withdrawn", TypeError, "amended must be a mapping of date, kind, why, got str"),
        ({"date": date(2026, 11, 30)}, TypeError, "amended must be a mapping of date, kind, why"),
        (AMENDED | {"date": "soon"}, TypeError, "amended: date must be .*, got str 'soon'"),
        (AMENDED | {"date": datetime(2026, 11, 30)}, TypeError, "amended: date must be a day"),
        (AMENDED | {"kind": "lost"}, ValueError, "amended: kind must be a known name"),
        (AMENDED | {"why": ""}, TypeError, "amended: why must be text"),
    ],
)
def test_a_wrong_amendment_is_refused(tmp_path, amended, error, message):
    with pytest.raises(error, match=f"claim 'as_robust': {message}"):
        read(tmp_path, changed(amended=amended))


def test_claims_run_no_code(tmp_path):
    with pytest.raises(ValueError, match="could not determine a constructor"):
        read(tmp_path, "- !!python/object/apply:os.getcwd []")


def test_known_metrics_are_asked_for_where_they_are_given(tmp_path):
    read(tmp_path, EXAMPLES)
    file, metrics = tmp_path / "claims.yaml", ["gini", "sensitivity"]
    assert len(load_claims(file, metrics)) == 2
    with pytest.raises(ValueError, match="claim 'as_robust': metric must be a known name"):
        load_claims(file, metrics[:1])


def test_a_claim_of_a_statistic_is_read(tmp_path):
    one = read(tmp_path, statistic())[1]
    assert (one.statistic, one.among) == ("spread", ("a", "b"))
    assert read(tmp_path, EXAMPLES)[0].among == ()
    read(tmp_path, statistic("lowest", of="always", against=["a", "b"]))


def pair(low, low_90, high_90, high) -> stats.Pair:
    values = dict.fromkeys(stats.Pair._fields, 0)
    return stats.Pair(**values | {"low": low, "low_90": low_90, "high_90": high_90, "high": high})


@pytest.mark.parametrize(
    ("relation", "margin", "ends", "verdict"),
    [
        ("better", 0, (0.1, 0.2, 0.3, 0.4), "holds"),
        ("better", 0.1, (0.1, 0.2, 0.3, 0.4), "undecided"),
        ("better", 0.4, (0.1, 0.2, 0.3, 0.4), "fails"),
        ("better", 0, (0.0, 0.1, 0.3, 0.4), "undecided"),
        ("better", 0, (-0.2, -0.1, 0.0, 0.0), "fails"),
        ("worse", 0, (-0.4, -0.3, -0.2, -0.1), "holds"),
        ("worse", 0.1, (-0.4, -0.3, -0.2, -0.1), "undecided"),
        ("worse", 0.4, (-0.4, -0.3, -0.2, -0.1), "fails"),
        ("worse", 0, (0.0, 0.1, 0.2, 0.3), "fails"),
        ("near", 0.3, (-0.4, -0.2, 0.2, 0.4), "holds"),
        ("near", 0.2, (-0.4, -0.2, 0.2, 0.4), "undecided"),
        ("near", 0.1, (0.1, 0.2, 0.3, 0.4), "fails"),
        ("near", 0.1, (-0.4, -0.3, -0.2, -0.1), "fails"),
        ("not_better", 0.5, (0.1, 0.2, 0.3, 0.4), "holds"),
        ("not_better", 0.4, (0.1, 0.2, 0.3, 0.4), "undecided"),
        ("not_better", 0.1, (0.1, 0.2, 0.3, 0.4), "fails"),
    ],
)
def test_the_rules_at_their_edges(relation, margin, ends, verdict):
    assert verdict_of(relation, pair(*ends), margin) == verdict


ENDS = st.lists(st.integers(-8, 8), min_size=4, max_size=4).map(sorted)


@given(ENDS, st.integers(1, 8))
def test_rules_agree_with_each_other(ends, margin):
    said = {name: verdict_of(name, pair(*ends), margin) for name in RELATIONS}
    mirrored = pair(*(-end for end in reversed(ends)))
    assert verdict_of("worse", mirrored, margin) == said["better"]
    assert verdict_of("near", mirrored, margin) == said["near"]
    if said["better"] == "holds":
        assert said["not_better"] == said["near"] == "fails"
        assert said["worse"] == "fails"
    if said["not_better"] == "holds":
        assert said["better"] == "fails"
    if said["near"] == "holds":
        assert "holds" not in (said["better"], said["worse"])


def claim(relation="better", margin=0.0, **keys) -> Claim:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in ENTRIES[0].items()}
    values |= {"relation": relation, "margin": margin, "workloads": ("scenes",)}
    return replace(Claim(**values), **keys)


def scores(gains: dict[str, tuple[float, float]], images: int = 60) -> pd.DataFrame:
    """A table where the hybrid beats cam and lrp by so much on each network."""
    base, parts = RNG.random(images), []
    for network, (over_cam, over_lrp) in gains.items():
        parts.append(rows("hybrid", base, network=network))
        for name, gain in (("cam", over_cam), ("lrp", over_lrp)):
            parts.append(rows(name, base - gain - NOISE[:images], network=network))
    return table(*parts)


@pytest.mark.parametrize(
    ("gains", "verdict", "why"),
    [
        ({"vgg": (0.2, 0.3)}, "holds", ""),
        ({"vgg": (0.2, -0.3)}, "fails", ""),
        ({"vgg": (0.2, -NOISE.mean())}, "undecided", ""),
        ({"vgg": (0.2, 0.3), "vit": (0.1, 0.1)}, "holds", ""),
        ({"vgg": (-0.2, 0.3), "vit": (0.1, -0.1)}, "fails", ""),
        (
            {"vgg": (0.2, 0.3), "vit": (0.1, -0.1), "resnet": (0.2, 0.2)},
            "undecided",
            "holds on 2, fails on 1 of 3 networks",
        ),
    ],
)
def test_a_claim_must_hold_against_all_and_everywhere(gains, verdict, why):
    found = judge(claim(), scores(gains), "higher")
    assert found.outcomes["scenes"] == (verdict, why)
    assert len(found.pairs) == 2 * len(gains)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({"vgg": (0.2, 0.3)}, "holds"),
        ({"vgg": (0.2, -0.3)}, "holds"),
        ({"vgg": (-0.2, -NOISE.mean())}, "undecided"),
        ({"vgg": (-0.2, -0.3)}, "fails"),
        ({"vgg": (0.2, -0.3), "vit": (-0.2, 0.3)}, "holds"),  # not the same one everywhere
        ({"vgg": (0.2, -0.3), "vit": (-0.2, -0.3)}, "undecided"),
    ],
)
def test_better_than_one_asks_for_one_of_them_on_every_network(gains, verdict):
    found = judge(claim("better_than_one"), scores(gains), "higher")
    assert found.outcomes["scenes"].verdict == verdict
    assert found.pairs["verdict"].tolist() == [
        verdict_of("better", one, 0) for one in found.pairs.itertuples()
    ]


def test_the_direction_and_the_margin_of_the_claim_are_used():
    one = scores({"vgg": (0.2, 0.3)})
    assert judge(claim(), one, "lower").outcomes["scenes"].verdict == "fails"
    assert judge(claim("worse"), one, "lower").outcomes["scenes"].verdict == "holds"
    assert judge(claim(margin=0.5), one, "higher").outcomes["scenes"].verdict == "fails"
    assert judge(claim("near", 0.5), one, "higher").outcomes["scenes"].verdict == "holds"
    assert judge(claim("not_better", 0.5), one, "higher").outcomes["scenes"].verdict == "holds"
    assert judge(claim("not_better", 0.1), one, "higher").outcomes["scenes"].verdict == "fails"


def test_few_images_decide_nothing():
    found = judge(claim(), scores({"vgg": (0.2, 0.3)}, images=19), "higher")
    assert found.outcomes["scenes"]._asdict() == {
        "verdict": "undecided",
        "why": "19 paired images, 20 needed",
    }
    assert (
        judge(claim(), scores({"vgg": (0.5, 0.5)}, images=20), "higher").outcomes["scenes"].verdict
        == "holds"
    )
    gaps = scores({"vgg": (0.2, 0.3)}, images=25)
    gaps.loc[(gaps["method"] == "lrp") & (gaps.index % 25 < 10), "value"] = math.nan
    found = judge(claim(), gaps, "higher")
    assert found.outcomes["scenes"].why == "15 paired images, 20 needed"
    assert found.pairs["excluded"].tolist() == [0, 10]
    decided = judge(claim(), gaps, "lower").outcomes["scenes"]
    assert decided == ("fails", "")  # cam alone, on 25 images, is enough
    both = table(scores({"vgg": (0.2, 0.3)}), scores({"vit": (0.2, 0.3)}, images=5))
    assert judge(claim(), both, "higher").outcomes["scenes"].why == (
        "holds on 1, undecided on 1 of 2 networks; 5 paired images, 20 needed"
    )


def test_what_is_not_scored_is_undecided():
    one = scores({"vgg": (0.2, 0.3)})
    found = judge(claim(workloads=("scenes", "imagenet")), one, "higher")
    assert found.outcomes["scenes"].verdict == "holds"
    assert found.outcomes["imagenet"].verdict == "undecided"
    assert found.outcomes["imagenet"].why == "not scored: hybrid, cam, lrp"
    other = judge(claim(metric="sensitivity"), one, "higher")
    assert other.outcomes["scenes"].verdict == "undecided"
    assert len(other.pairs) == 0
    without = one[one["method"] != "lrp"]
    assert judge(claim(), without, "higher").outcomes["scenes"].why == "not scored: lrp"


def test_two_splits_are_not_mixed():
    both = table(*(rows(m, RNG.random(30), split=s) for m in ("hybrid", "lrp") for s in "ab"))
    with pytest.raises(ValueError, match=r"'sparser': table must hold one split of scenes"):
        judge(claim(against=("lrp",)), both, "higher")


def test_the_page(tmp_path):
    claims = read(tmp_path, EXAMPLES)
    gini = scores({"vgg": (0.2, 0.3), "vit": (0.25, 0.1)})
    gini.loc[
        (gini["method"] == "lrp") & (gini["network"] == "vit") & (gini.index % 60 < 4), "value"
    ] = math.nan
    near = table(
        rows("hybrid", 0.5 + NOISE, metric="sensitivity"),
        rows("lrp", 0.5 + NOISE[::-1], metric="sensitivity"),
    )
    everything = table(gini, near)
    verdicts = [judge(claims[0], everything, "higher"), judge(claims[1], everything, "lower")]
    lines = report(list(zip(claims, verdicts, strict=True)))
    assert lines[2].startswith("Written by `xaiutils claims` from `docs/claims.yaml`")
    assert "| scenes | 2 | 0 | 0 |" in lines
    assert "| imagenet | 0 | 0 | 1 |" in lines
    first, second = lines[-2:]
    assert first.startswith(
        "| The hybrid is sparser than either parent.<br>Any product is. | Table I, complexity "
        "| 0.9 against 0.5 and 0.6 | gini: hybrid better than cam and lrp, by more than 0 "
    )
    assert first.endswith(
        "| scenes: **holds**<br>imagenet: **undecided** not scored: hybrid, cam, lrp "
        "| [11_metrics](../notebooks/11_metrics.ipynb#table) |"
    )
    ours = first.split(" | ")[4].split("<br>")
    of = verdicts[0].pairs[verdicts[0].pairs["other"] == "lrp"]
    assert ours[1] == (
        f"scenes: {of['mean'].min():.3g} to {of['mean'].max():.3g} against lrp "
        f"{of['other_mean'].min():.3g} to {of['other_mean'].max():.3g}, difference "
        f"{of['difference'].min():+.3g} to {of['difference'].max():+.3g} "
        f"[{of['low'].min():+.3g}, {of['high'].max():+.3g}], n = 56 to 60 (0 to 4 without a "
        "score), p < 0.001"
    )
    assert "as robust as LRP \\| Grad-CAM++." in second
    assert "sensitivity: hybrid within 0.05 of lrp" in second
    assert "n = 60 |" in second  # no p: nothing here claims a difference


def test_p_values_are_adjusted_over_the_page():
    weak = scores({"vgg": (0.01, 0.03)}, images=40)
    one = claim(against=("lrp",))
    many = [one, claim("worse", id="b", against=("cam",)), claim("near", 0.1, id="c")]
    verdicts = [judge(each, weak, "higher") for each in many]
    raw = [float(v.pairs["p"].iloc[0]) for v in verdicts[:2]]
    expected = 2 * raw[0]
    assert raw[0] < raw[1] / 2  # the smaller of two is doubled; "near" claims no difference
    assert f", p = {expected:.3f} |" in report(list(zip(many, verdicts, strict=True)))[-3]
    assert f", p = {raw[0]:.3f} |" in report([(one, verdicts[0])])[-1]


def test_what_is_withdrawn_stays_on_the_page_and_is_not_counted():
    clear = scores({"vgg": (0.2, 0.3)})
    old = claim(against=("lrp",), amended=Amendment("2026-11-30", "withdrawn", "Misread."))
    new = claim("worse", id="b", gist="Less sparse.", against=("lrp",))
    new = replace(new, amended=Amendment("2026-11-30", "added", "Its result was known."))
    verdicts = [judge(each, clear, "higher") for each in (old, new)]
    verdicts = [Verdict(v.claim, v.outcomes, v.pairs.assign(p=0.04)) for v in verdicts]
    page = report([(old, verdicts[0]), (new, verdicts[1])])
    assert "| scenes | 0 | 1 | 0 |" in page
    assert f"| <s>{old.gist}</s> | <s>holds</s> | [11_metrics](../notebooks/{old.cell}) |" in page
    assert any(line.startswith("| Less sparse. *(Added late.)* | fails | ") for line in page)
    start = page.index("## Amendments")
    assert page[start + 2 : start + 4] == [
        f"- 2026-11-30, withdrawn: *<s>{old.gist}</s>* Misread.",
        "- 2026-11-30, added: *Less sparse.* Its result was known.",
    ]
    first, second = page[-2:]
    assert "<s>scenes: **holds**</s>" in first
    assert ", p " not in first
    assert ", p = 0.040 |" in second  # adjusted for one: what is withdrawn is no test any more


def test_the_page_gives_the_largest_p_of_the_networks():
    one = claim(against=("cam",))
    verdict = judge(one, scores({"vgg": (0.01, 0), "vit": (0.2, 0)}, images=40), "higher")
    largest = verdict.pairs["p"].max()  # the larger of two is not raised by Holm
    assert 0.05 < largest < 1
    assert f", p = {largest:.3f} |" in report([(one, verdict)])[-1]


@pytest.mark.parametrize(
    ("gain", "margin", "p", "said"),
    [
        (0.2, 0, 0.04, "holds"),
        (0.2, 0, 0.06, "holds, weakly"),
        (-0.2, 0, 0.06, "fails, weakly"),
        (0.1, 0.5, 0.06, "fails"),  # below the margin: it may well be no difference from 0
        (0, 0, 0.9, "undecided"),
    ],
)
def test_a_verdict_that_p_does_not_confirm_is_said_to_be_weak(gain, margin, p, said):
    one = claim(against=("lrp",), margin=margin)
    found = judge(one, scores({"vgg": (0, gain)}), "higher")
    verdict = Verdict(found.claim, found.outcomes, found.pairs.assign(p=p))
    page = report([(one, verdict)])
    assert any(line.startswith(f"| {one.gist} | {said} | [") for line in page)
    word, _, rest = said.partition(",")
    assert f"scenes: **{word}**{rest and ',' + rest} " in page[-1]


@pytest.mark.parametrize(
    ("p", "said"), [((0.01, 0.9), ""), ((0.9, 0.01), ""), ((0.9, 0.9), ", weakly")]
)
def test_better_than_one_is_weak_where_no_deciding_difference_is_confirmed(p, said):
    one = claim("better_than_one")
    found = judge(one, scores({"vgg": (0.2, 0.3), "vit": (0.2, -0.3)}), "higher")
    assert found.pairs["verdict"].tolist() == ["holds", "holds", "holds", "fails"]
    verdict = Verdict(found.claim, found.outcomes, found.pairs.assign(p=[*p, 0.01, 0.01]))
    assert f"scenes: **holds**{said} " in report([(one, verdict)])[-1]


def test_the_page_without_scores():
    nothing = judge(claim(), scores({"vgg": (0, 0)}).iloc[:0], "higher")
    assert (
        "| not scored | scenes: **undecided** not scored: hybrid, cam, lrp |"
        in report([(claim(), nothing)])[-1]
    )
    gone = scores({"vgg": (0, 0)})
    gone.loc[gone["method"] == "lrp", "value"] = math.nan
    page = report([(claim(), judge(claim(), gone, "higher"))])
    assert "<br>scenes: no image with both scores against lrp |" in page[-1]
    assert report([])[-1] == "|---|---|---|---|---|---|---|"


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "claims.yaml")
    with pytest.raises(ValueError, match="path must be a regular file, got the pipe"):
        load_claims(tmp_path / "claims.yaml")


def drawn(values: dict[str, float], images: int = 30, draws: int = 5) -> pd.DataFrame:
    """Scores around a level of each method, of deviation 0.1 over the draws."""
    chance = np.random.default_rng(1)
    return table(
        *(
            rows(name, level + chance.normal(0, 0.1, images), metric="infidelity", seed=seed)
            for name, level in values.items()
            for seed in range(draws)
        )
    )


def of_statistic(name: str, of: str, against: tuple[str, ...], margin: float = 0) -> Claim:
    keys = {"metric": "infidelity", "statistic": name, "among": ("cam", "lrp", "hybrid")}
    return claim(margin=margin, of=of, against=against, **keys)


@pytest.mark.parametrize(("level", "verdict"), [(1.0, "holds"), (3.0, "fails")])
def test_a_spread_is_judged_whatever_the_direction_of_its_metric(level, verdict):
    one = of_statistic("spread", "draws", ("methods",))
    near = drawn({"cam": 1.0, "lrp": 1.0, "hybrid": level, "noise": 9.0})
    for better in ("lower", "higher"):
        assert judge(one, near, better).outcomes["scenes"].verdict == verdict
    page = report([(one, judge(one, near, "lower"))])
    assert "infidelity, spread among cam, lrp, hybrid: draws better than methods" in page[-1]


@pytest.mark.parametrize(("level", "verdict"), [(1.0, "holds"), (0.2, "fails")])
def test_a_method_that_is_always_the_lowest_is_found(level, verdict):
    one = of_statistic("lowest", "always", ("cam", "lrp", "hybrid"), margin=0.1)
    found = judge(one, drawn({"cam": 1.0, "lrp": 1.0, "hybrid": level}), "lower")
    assert found.outcomes["scenes"].verdict == verdict
    assert found.pairs["mean"].eq(1).all()


def test_a_statistic_of_methods_that_are_not_there_is_not_scored():
    one = of_statistic("lowest", "always", ("cam", "lrp", "hybrid"))
    found = judge(one, drawn({"cam": 1.0, "noise": 1.0}), "lower")
    assert found.outcomes["scenes"].why == "not scored: lrp, hybrid"
