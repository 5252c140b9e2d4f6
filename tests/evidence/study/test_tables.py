"""What is read from a study: the same scores as without one, its summary, another beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.evidence.study.conftest import ASKED
from xaiutils import load_cases, score
from xaiutils.apps.cli import __main__ as cli
from xaiutils.cases.workloads import load_workload
from xaiutils.evidence.study import (
    against,
    create_study,
    load_study,
    open_study,
    read_log,
    run_study,
    study_status,
    study_summary,
    study_verdicts,
    write_result,
)
from xaiutils.evidence.study.parts import RESULT, part_path
from xaiutils.evidence.study.tables import require_comparable
from xaiutils.metrics import stats
from xaiutils.metrics.score_table import compare

CLAIM = """
- id: sparser
  gist: The hybrid is sparser than noise.
  where: nowhere
  paper: no number
  table: table_one
  metric: sparseness
  of: hybrid
  against: [random_map]
  relation: better
  margin: 0
  workloads: [scenes]
  cell: 11_metrics.ipynb
- id: unanswered
  gist: The hybrid is sparser than LRP.
  where: nowhere
  paper: no number
  table: table_one
  metric: sparseness
  of: hybrid
  against: [lrp_paper]
  relation: better
  margin: 0
  workloads: [scenes]
  cell: 11_metrics.ipynb
"""


def test_scores_are_those_of_score(undisturbed):
    cases = load_cases(load_workload("scenes", "test"), range(10))
    entrants = undisturbed.study.entrants()
    bare = score(cases, entrants, undisturbed.study.scores(), seeds=(0, 1))
    keys = ["image", "method", "metric", "seed"]
    both = bare.merge(load_study(undisturbed), on=keys, suffixes=("", "_study"))
    assert len(both) == len(bare) == 160
    assert (both["value"] - both["value_study"]).abs().max() < 1e-6  # the threads differ
    for name in ("workload", "network", "split"):
        assert (both[name] == both[f"{name}_study"]).all()


def test_the_result_is_one_sorted_table_with_its_configuration(undisturbed, tmp_path):
    path = tmp_path / "result.parquet"
    assert write_result(undisturbed, path) == 170
    found = pq.read_table(path)
    assert found.schema.equals(RESULT)
    assert undisturbed.study.hash.encode() in found.schema.metadata[b"xaiutils"]
    rows = found.to_pandas()
    keys = ["image_id", "method", "metric", "seed"]
    assert rows[keys].equals(rows[keys].sort_values(keys, ignore_index=True))
    assert not rows.duplicated(keys).any()
    assert (rows["error_code"] == "").all()


def test_a_study_that_is_not_finished_says_so(tmp_path):
    opened = create_study(tmp_path / "study", **ASKED)
    with pytest.raises(FileNotFoundError, match=r"part-00000\.parquet must exist"):
        load_study(opened)
    with pytest.raises(FileNotFoundError, match="must have a part, it has none"):
        load_study(opened, partial=True)
    run_study(opened, shard=(2, 3))
    with pytest.raises(FileNotFoundError, match=r"part-00000\.parquet must exist"):
        write_result(opened, tmp_path / "result.parquet")
    assert not (tmp_path / "result.parquet").exists()
    assert load_study(opened, partial=True)["image"].nunique() == 4
    part_path(opened.path, 1).write_bytes(b"")
    status = study_status(opened)
    assert (status.parts, status.done, status.broken) == (3, 0, (1,))


def test_the_log_holds_what_each_score_took(undisturbed):
    log = read_log(undisturbed)
    assert len(log) == 170
    assert (log["seconds"] >= 0).all()
    assert study_status(undisturbed).seconds == pytest.approx(log["seconds"].sum())
    assert len(study_status(undisturbed).machines) == 1


def test_a_summary_is_that_of_the_scores(undisturbed):
    table = load_study(undisturbed)
    found = study_summary(table).set_index(["metric", "method"])
    values = table.query("metric == 'sparseness' and method == 'hybrid'")
    per_image = values.groupby("image", observed=True)["value"].mean()
    assert found.loc[("sparseness", "hybrid"), "mean"] == pytest.approx(per_image.mean())
    assert found.loc[("sparseness", "hybrid"), "n"] == 10
    assert len(found) == 8


def test_next_months_method_against_this_months_study(undisturbed, tmp_path):
    asked = {"methods": ["grad_cam", "hybrid"], "metrics": ["sparseness", "pointing_game"]}
    new = create_study(tmp_path / "new", **asked, images=8)
    run_study(new)
    found = against(load_study(new), load_study(undisturbed))
    assert set(found["metric"]) == {"sparseness"}  # of both
    assert set(found["n"]) == {8}
    pairs = found.set_index(["method", "other"])
    assert pairs.loc[("hybrid", "hybrid (other)"), "difference"] == 0
    one, two = (load_study(s).query("metric == 'sparseness'") for s in (new, undisturbed))
    a = one[one["method"] == "grad_cam"].set_index("image")["value"]
    b = two.query("method == 'random_map' and seed == 0").set_index("image")["value"]
    expected = (a - b.reindex(a.index)).mean()
    assert pairs.loc[("grad_cam", "random_map"), "difference"] == pytest.approx(expected)


def test_other_weights_or_pictures_are_not_paired(undisturbed, tmp_path, capsys):
    asked = {"methods": ["random_map"], "metrics": ["sparseness"], "images": 3}
    weights = create_study(tmp_path / "weights", **asked, model="scenes_vgg_seed1")
    pictures = create_study(tmp_path / "pictures", **asked)
    swapped = [replace(one, sha256="0" * 64) for one in pictures.pictures]
    with pytest.raises(ValueError, match="other must be of the same weights, "):
        require_comparable(undisturbed, weights)
    with pytest.raises(ValueError, match=r"got others under the names \['test-00000'"):
        require_comparable(undisturbed, replace(pictures, pictures=tuple(swapped)))
    require_comparable(undisturbed, pictures)
    command = ["study", "table", str(undisturbed.path), "--against", str(weights.path)]
    assert cli.main(command) == 2
    assert "other must be of the same weights" in capsys.readouterr().err


def test_a_log_that_cannot_be_read_is_named_and_stops_nothing(tmp_path):
    opened = create_study(tmp_path / "study", **ASKED)
    run_study(opened)
    path = sorted((opened.path / "log").iterdir())[1]
    path.write_bytes(path.read_bytes()[:50])
    status = study_status(opened)
    assert (status.done, status.unread) == (3, (path.name,))
    assert run_study(opened).kept == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "another"}, r"other must be of the same network, \['scenes_vgg_seed0'\], got"),
        ({"image": "another"}, "no image is in both"),
        ({"metric": "srg"}, "no metric is in both"),
    ],
)
def test_what_cannot_be_compared_is_refused(undisturbed, change, message):
    own = load_study(undisturbed)
    with pytest.raises(ValueError, match=message):
        against(own, own.assign(**change))


def test_claims_are_judged_by_a_study(undisturbed, tmp_path):
    claims = tmp_path / "claims.yaml"
    claims.write_text(CLAIM)
    (found,) = study_verdicts(undisturbed, claims)
    assert found.claim == "sparser"
    assert found.outcomes["scenes"].verdict == "undecided"  # 10 pictures are too few
    assert found.pairs["difference"].iloc[0] > 0.5


def test_the_command_line(tmp_path, capsys, monkeypatch):
    folder, out = str(tmp_path / "study"), tmp_path / "result"
    (tmp_path / "claims.yaml").write_text(CLAIM)
    begin = ["study", "run", folder, "--methods", "hybrid", "random_map", "--metrics", "sparseness"]
    assert cli.main(["study", "run", folder]) == 2
    assert "a new one needs --methods and --metrics" in capsys.readouterr().err
    assert cli.main([*begin, "--images", "4", "--part", "2"]) == 0
    assert "4 pictures x 2 methods x 1 metrics x 1 seeds" in capsys.readouterr().out
    assert cli.main([*begin, "--images", "5"]) == 2
    assert "images must be as the study began, 4, got 5" in capsys.readouterr().err
    assert cli.main([*begin, "--shard", "1/1"]) == 0  # the same options, nothing to do
    assert cli.main(["study", "table", folder]) == 0
    assert "sparseness                 hybrid" in capsys.readouterr().out
    assert cli.main(["study", "table", folder, "--against", folder]) == 0
    assert "hybrid against random_map (other)" in capsys.readouterr().out
    for ending, rows in ((".parquet", "12 rows"), (".csv", "8 scores")):
        assert cli.main(["study", "table", folder, "--out", str(out.with_suffix(ending))]) == 0
        assert rows in capsys.readouterr().out
    assert len(pd.read_csv(out.with_suffix(".csv"))) == 8
    for more in ([".txt"], [".parquet", "--right-only"], [".csv", "--against", folder]):
        command = ["study", "table", folder, "--out", str(out.with_suffix(more[0])), *more[1:]]
        assert cli.main(command) == 2
        assert "--out" in capsys.readouterr().err
    verdicts = ["study", "verdicts", folder, "--claims", str(tmp_path / "claims.yaml")]
    assert cli.main(verdicts) == 0
    assert "UNDECIDED  sparser" in capsys.readouterr().out
    assert cli.main(["study", "status", folder]) == 0
    assert "parts: 2 of 2, rows: 12" in capsys.readouterr().out
    merged = str(tmp_path / "merged")
    assert cli.main(["study", "merge", merged, folder]) == 0
    assert "2 of 2 parts" in capsys.readouterr().out
    assert open_study(merged).study == open_study(folder).study
    nowhere = str(tmp_path / "nowhere" / "result.csv")
    assert cli.main(["study", "table", folder, "--out", nowhere]) == 2
    assert "--out must lie in a folder that exists" in capsys.readouterr().err
    for wrong, message in (
        (["--shard", "one/two"], "must be I/N from 1/N to N/N, got 'one/two'"),
        (["--shard", "4/3"], "must be I/N from 1/N to N/N, got '4/3'"),
        (["--batch", "most"], "must be a number or auto, got 'most'"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*begin, *wrong])
        assert message in capsys.readouterr().err


def test_a_large_table_has_the_normal_interval_which_is_the_bootstraps():
    import torch

    values = torch.from_numpy(np.random.default_rng(0).exponential(1, stats.MANY + 1))
    few = stats.mean_interval(values[:-1])
    many = stats.mean_interval(values)
    assert few == pytest.approx(many, abs=2e-3)
    rows = [
        {
            "workload": "w",
            "network": "n",
            "split": "s",
            "metric": "srg",
            "seed": 0,
            "image": f"{i}",
            "method": m,
            "value": float(values[i]) + j,
            "why": "",
        }
        for i in range(len(values))
        for j, m in enumerate("ab")
    ]
    found = compare(pd.DataFrame(rows), "srg", "b", ["a"], "higher")
    assert found["difference"].iloc[0] == pytest.approx(1)
