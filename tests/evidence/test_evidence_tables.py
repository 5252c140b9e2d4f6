"""The experiments and their tables: what decides them, where they are kept, what they may read."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch

from xaiutils.cases.workloads import Workload, load_workload
from xaiutils.evidence import experiments, forensics, results, tables
from xaiutils.evidence.claims import Claim, load_claims
from xaiutils.evidence.claims_page import judge_claims, write_page
from xaiutils.evidence.experiments import (
    AGREEMENT,
    CALIBRATION,
    EXPERIMENTS,
    SIGMA_SHARES,
    TABLES,
    Chosen,
    choose,
    sigma_label,
)
from xaiutils.evidence.results import largest_difference, load_table, store, stored
from xaiutils.evidence.tables import make_table
from xaiutils.hybrid import explain
from xaiutils.methods import METHODS
from xaiutils.methods.record import Setting
from xaiutils.metrics import METRICS
from xaiutils.metrics.score_table import checked
from xaiutils.metrics.scoring import COLUMNS, Contender, contender
from xaiutils.network.classifier import load_model
from xaiutils.pictures import scenes
from xaiutils.support.files import BrokenPart

ROOT = Path(__file__).parents[2]
CLAIMS = load_claims(ROOT / "docs" / "claims.yaml", METRICS)
SOME = Chosen(0.1, 1 / 32, "paper")
FEW = {"images": 2, "methods": ("hybrid(threshold=0.2)",)}
STORED = sorted((ROOT / "results").glob("*/*.parquet"))


def labels(name: str, chosen: Chosen | None = SOME) -> list[str]:
    """What the table of an experiment calls its methods."""
    found = EXPERIMENTS[name].contenders(128, chosen)
    return [one.label if isinstance(one, Contender) else contender(one).label for one in found]


@pytest.fixture(scope="module")
def little() -> pd.DataFrame:
    """Two calibration scenes on each of the three networks, by one method."""
    return make_table(CALIBRATION, "scenes", **FEW)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder of results of its own."""
    monkeypatch.setenv("XAIUTILS_RESULTS", str(tmp_path))
    return tmp_path


def made(
    values: dict[str, list[float]], *, metric="srg", split=CALIBRATION, name=CALIBRATION
) -> pd.DataFrame:
    """A table as `make_table` has it, of given scores."""
    rows = [
        ("scenes", "scenes_vgg_seed0", split, f"{split}-{i:05d}", method, metric, 0, value, "")
        for method, found in values.items()
        for i, value in enumerate(found)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = {"name": name, "workload": "scenes", "hash": "0123456789abcdef"}
    return table


# The two kinds of splits


def test_only_the_calibration_reads_the_calibration_split():
    splits = {name: one.split for name, one in TABLES.items()}
    assert [name for name, split in splits.items() if split == CALIBRATION] == [CALIBRATION]
    assert "train" not in splits.values()
    assert "validation" not in splits.values()
    calibration = _ids(CALIBRATION)
    for split in set(splits.values()) - {CALIBRATION}:
        assert not calibration & _ids(split)
    seeds = [one.seed for one in scenes.SPLITS.values()]
    assert len(set(seeds)) == len(seeds), "a scene is drawn from its split's seed and its place"
    for one in EXPERIMENTS.values():
        assert one.images <= scenes.SPLITS[one.split].count


def _ids(split: str) -> set[str]:
    return {scenes.scene(split, i).id for i in range(min(scenes.SPLITS[split].count, 200))}


GRID = {label: [1.0, 1.0] for label in labels(CALIBRATION, None)}


def test_the_best_of_each_setting_is_chosen():
    best = {"hybrid(threshold=0.5)": [3.0, 0.0], sigma_label(1 / 32): [1.0, 1.5]}
    best |= {"hybrid(composite=z)": [1.1, 1.1]}
    assert choose(made(GRID | best)) == Chosen(0.5, 1 / 32, "z")
    assert choose(made(GRID)) == Chosen(0.0, 0, "paper"), "ties go to the first"
    other = made({label: [9.0] for label in list(GRID)[-1:]}, metric="sparseness")
    table = pd.concat([made(GRID | best), other])
    assert choose(table) == Chosen(0.5, 1 / 32, "z"), "by SRG alone"


@pytest.mark.parametrize("split", ["test", "duo", "unit", "hard", ""])
def test_no_other_split_chooses_settings(split):
    with pytest.raises(ValueError, match="table must be of the split calibration alone, got"):
        choose(made(GRID, split=split))
    mixed = pd.concat([made(GRID), made(GRID, split=split)])
    with pytest.raises(ValueError, match="table must be of the split calibration alone, got"):
        choose(mixed)
    with pytest.raises(ValueError, match=r"of the split calibration alone, got \[\]"):
        choose(made({}))


@pytest.mark.parametrize("label", [*list(GRID)[:1], "hybrid(sigma=0)", list(GRID)[-1]])
def test_a_setting_that_is_missing_or_has_no_score_stops_the_choice(label):
    message = re.escape(f"table must have every setting, lacks ['{label}']")
    with pytest.raises(ValueError, match=message):
        choose(made({key: value for key, value in GRID.items() if key != label}))
    with pytest.raises(ValueError, match=message):
        choose(made(GRID | {label: [np.nan, np.nan]}))


def test_the_grid_changes_one_setting_at_a_time_and_holds_the_shipped_one():
    grid = experiments.grid(128)
    assert len({one.label for one in grid}) == len(grid) == 7 + 5 + 7
    assert all(one.method is METHODS["hybrid"] and len(one.settings) == 1 for one in grid)
    sigmas = [one.settings["sigma"] for one in grid if "sigma" in one.settings]
    assert sigmas == [0, 1, 2, 4, 8]
    assert [share * 128 for share in SIGMA_SHARES] == sigmas
    assert {one.settings.get("threshold") for one in grid} > {0.2}
    assert {one.settings.get("composite") for one in grid} > {"paper"}
    assert sigma_label(1 / 64) == "hybrid(sigma=H/64)"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_of_a_table_has_a_name_of_its_own(name):
    for chosen in (None, SOME):
        found = labels(name, chosen)
        assert len(set(found)) == len(found)
    for metric, settings in EXPERIMENTS[name].metrics.items():
        assert settings.keys() <= METRICS[metric].settings.keys()


def test_the_shipped_hybrid_is_the_paper_s_whatever_the_calibration_says():
    shipped = {key: one.default for key, one in METHODS["hybrid"].settings.items()}
    asked = inspect.signature(explain).parameters
    assert shipped == {key: asked[key].default for key in shipped}
    assert (shipped["threshold"], shipped["sigma"]) == (0.2, None)
    assert (shipped["composite"], shipped["cam"]) == ("paper", "grad_cam_plus_plus")
    for name, one in EXPERIMENTS.items():
        if name == CALIBRATION:
            continue
        for chosen in (None, SOME):
            assert "hybrid" in [e for e in one.contenders(128, chosen) if isinstance(e, str)]
    one = experiments.calibrated(64, SOME)
    assert one.label == "hybrid_calibrated"
    assert one.settings == {"threshold": 0.1, "sigma": 2, "composite": "paper"}


# Making a table


def test_a_table_is_that_of_its_experiment(little):
    checked(little)
    assert len(little) == 3 * 2 * 4
    assert set(little["network"]) == set(experiments.VGG)
    assert set(little["image"]) == {"calibration-00000", "calibration-00001"}
    assert little["value"].notna().all()
    about = little.attrs
    assert (about["name"], about["split"], about["chosen"]) == (CALIBRATION, [CALIBRATION], None)
    assert json.loads(json.dumps(about)) == about


@pytest.mark.slow
def test_the_number_of_processes_changes_no_bit(little):
    threads = torch.get_num_threads()
    other = make_table(CALIBRATION, "scenes", **FEW, workers=2)
    pd.testing.assert_frame_equal(other, little, check_exact=True)
    assert other.attrs == little.attrs
    assert torch.get_num_threads() == threads


def test_parts_that_are_kept_are_not_scored_again(little, tmp_path, monkeypatch):
    first = make_table(CALIBRATION, "scenes", **FEW, parts=tmp_path)
    pd.testing.assert_frame_equal(first, little, check_exact=True)
    assert len(list(tmp_path.iterdir())) == 3  # one part for each network
    lost = next(tmp_path.iterdir())
    lost.unlink()
    scored = []
    real = tables._score
    monkeypatch.setattr(tables, "_score", lambda job: scored.append(job.file) or real(job))
    again = make_table(CALIBRATION, "scenes", **FEW, parts=tmp_path)
    pd.testing.assert_frame_equal(again, little, check_exact=True)
    assert scored == [lost]
    make_table(CALIBRATION, "scenes", **FEW | {"images": 1}, parts=tmp_path)  # other pictures
    assert len(scored) == 4
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"] * 6


@pytest.fixture
def part(little, tmp_path, monkeypatch):
    """A part that is kept, and is what `little` is."""
    file = tmp_path / "calibration-0.parquet"
    job = tables._Job(CALIBRATION, "scenes", None, (0,), None, None, None, "run", file)
    monkeypatch.setattr(tables, "_score", lambda job: little.copy())
    tables._work(job)
    pd.testing.assert_frame_equal(tables._kept(job), little, check_exact=True)
    return job


def _edited(path: Path) -> bytes:
    """One value changed by a good writer, all that the file says of itself kept."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = pq.read_table(path)
    values = [0.5, *read["value"].to_pylist()[1:]]
    at = read.schema.get_field_index("value")
    buffer = pa.BufferOutputStream()
    field = read.schema.field(at)
    pq.write_table(read.set_column(at, field, pa.array(values, field.type)), buffer)
    return buffer.getvalue().to_pybytes()


def _other(path: Path) -> bytes:
    other = path.with_name("b")
    job = tables._Job(CALIBRATION, "scenes", None, (0,), None, None, None, "run", other)
    tables._work(job)
    return job.file.read_bytes()


@pytest.mark.parametrize("damage", [lambda path: path.read_bytes()[:-50], _edited, _other])
def test_a_part_that_was_changed_is_made_anew(little, part, damage):
    before = part.file.read_bytes()
    part.file.write_bytes(damage(part.file))
    (found,) = tables._run([part], 1, False)
    pd.testing.assert_frame_equal(found, little, check_exact=True)
    assert part.file.read_bytes() == before


def test_a_stored_table_that_was_changed_is_refused(little, home):
    path = store(little)
    work = load_workload("scenes", CALIBRATION)
    load_table(CALIBRATION, work)
    path.write_bytes(_edited(path))
    message = "another content than was written: .* make it anew: xaiutils evidence calibration"
    with pytest.raises(BrokenPart, match=message):
        load_table(CALIBRATION, work)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BrokenPart, match=r"calibration\.parquet cannot be read: .* make it anew"):
        stored(CALIBRATION)


def test_what_a_killed_writer_left_of_a_table_goes(little, home):
    path = store(little)
    left, young = (path.with_name(f".{path.name}.{name}.tmp") for name in ("old", "young"))
    for one in (left, young):
        one.touch()
    os.utime(left, (0, 0))
    store(little)
    assert (left.exists(), young.exists()) == (False, True)


def die(job):
    os._exit(1)


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(part, monkeypatch):
    part.file.unlink()
    monkeypatch.setattr(tables, "_work", die)
    with pytest.raises(ChildProcessError, match="that scored a part of calibration died"):
        tables._run([part, replace(part, file=None)], 2, False)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"name": "tabel_one"}, ValueError, "name must be a known name, .* did you mean table_one"),
        ({"workload": "scene"}, ValueError, "name must be a known name, got 'scene'"),
        ({"workers": 0}, ValueError, "workers must be >= 1, got 0"),
        ({"workers": 1.5}, ValueError, "workers must be a whole number, got 1.5"),
        ({"images": 0}, ValueError, "images must be >= 1, got 0"),
        ({"images": -1}, ValueError, "images must be >= 1, got -1"),
        ({"images": 1, "methods": ("hybird",)}, ValueError, "methods must be a known name, got 'h"),
    ],
)
def test_wrong_arguments_are_refused(asked, error, message):
    with pytest.raises(error, match=message):
        make_table(**{"name": CALIBRATION, "workload": "scenes"} | asked)


def test_no_experiment_but_the_calibration_runs_before_the_settings_are_chosen(home):
    with pytest.raises(FileNotFoundError, match=r"make it with xaiutils evidence .* calibration"):
        make_table("classes", "scenes", images=1)


def test_photographs_without_boxes_make_no_table(monkeypatch):
    work = load_workload("scenes", "unit")
    bare = [replace(work.samples[0], boxes=(), mask=None), replace(work.samples[1], label=None)]
    monkeypatch.setattr(
        tables, "load_workload", lambda *_: Workload("photographs", work.classifier, bare)
    )
    with pytest.raises(
        ValueError, match=r"pictures with boxes or masks for calibration, photographs has none"
    ):
        make_table(CALIBRATION, "photographs")


def test_pictures_that_are_taken_for_something_else_are_passed_over():
    unit = load_workload("scenes", "unit")
    samples = [unit.samples[i] for i in range(4)]
    samples[1] = replace(samples[1], label=(samples[1].label + 1) % 6)
    work = Workload("imagenet", unit.classifier, samples)
    assert tables._right(work, 2, False) == [0, 2]
    assert tables._right(work, 9, False) == [0, 2, 3]
    assert tables._right(work, 9, True) == [0, 1, 2, 3]
    samples[0] = replace(samples[0], label=None)  # as of a picture without annotation
    assert tables._right(work, 9, True) == [1, 2, 3]


def test_all_that_decides_a_table_changes_its_hash(little, monkeypatch):
    work = load_workload("scenes", CALIBRATION)
    job = tables._Job(CALIBRATION, "scenes", None, (), None, FEW["methods"], None, "run")

    def hashed(table=little, network=load_model, **change) -> str:
        asked = replace(job, **change)
        models = [network(name) for name in experiments.VGG]
        return tables._configuration(tables._about(asked, work, models, 0), table)["hash"]

    before = hashed()
    assert before == little.attrs["hash"] == hashed()
    changes = {"image": "calibration-00009", "seed": 4}
    found = [hashed(little.replace({key: little[key][0]}, new)) for key, new in changes.items()]
    found.append(hashed(methods=("hybrid(threshold=0.3)",)))
    found.append(hashed(settings=SOME))
    with monkeypatch.context() as patch:
        moved = METHODS["hybrid"].settings | {"cam": Setting("grad_cam", "moved")}
        patch.setitem(METHODS, "hybrid", replace(METHODS["hybrid"], settings=moved))
        found.append(hashed())
    with monkeypatch.context() as patch:
        newer = {"numpy": "9.9"}
        patch.setattr(tables.fingerprint, "version", lambda name: newer.get(name, "1"))
        found.append(hashed())
    with monkeypatch.context() as patch:
        metrics = MappingProxyType(EXPERIMENTS[CALIBRATION].metrics | {"srg": {"steps": 24}})
        patch.setitem(TABLES, CALIBRATION, replace(EXPERIMENTS[CALIBRATION], metrics=metrics))
        found.append(hashed())
    found.append(hashed(network=_nudged))
    assert len({before, *found}) == 1 + 8


def _nudged(name: str):
    classifier = load_model(name)
    with torch.no_grad():
        next(classifier.module.parameters())[0] += 1e-6
    return classifier


# Keeping a table


def test_a_stored_table_comes_back_as_it_was_to_float32(little, home):
    table = little.copy()
    table.attrs = dict(little.attrs)
    table.loc[1, ["value", "why"]] = np.nan, "the map is zero everywhere"
    path = store(table)
    assert path == home / "scenes" / "calibration.parquet"
    found = load_table(CALIBRATION, load_workload("scenes", CALIBRATION))
    assert found.attrs == table.attrs
    assert found["value"].tolist()[2:] == table["value"].astype("float32").tolist()[2:]
    assert np.isnan(found["value"][1])
    rest = [column for column in COLUMNS if column != "value"]
    assert found[rest].to_numpy().tolist() == table[rest].to_numpy().tolist()
    checked(found)
    (again,) = stored(CALIBRATION)
    pd.testing.assert_frame_equal(again, found, check_exact=True)
    assert largest_difference(table, found) < 1e-5
    assert stored("road") == []


def test_a_table_that_nobody_has_made_says_how(home):
    work = load_workload("scenes", CALIBRATION)
    with pytest.raises(FileNotFoundError, match="xaiutils evidence --workload scenes road"):
        load_table("road", work)
    with pytest.raises(ValueError, match="name must be a known name, got 'raod'"):
        load_table("raod", work)
    with pytest.raises(FileNotFoundError, match="calibration"):
        results.chosen()


def test_the_folder_is_the_asked_one_else_that_of_the_environment(home, monkeypatch):
    work = load_workload("scenes", CALIBRATION)
    assert results.folder(work, Path("mine")) == Path("mine/scenes")
    assert results.folder(work) == home / "scenes"
    assert results.folder(replace(work, name="imagenet")).name == "imagenet_scenes_vgg_seed0"
    monkeypatch.delenv("XAIUTILS_RESULTS")
    assert results.base() == ROOT / "results"


def test_the_difference_of_two_tables():
    table = made({"hybrid": [1.0, 2.0], "lrp_paper": [3.0, np.nan]})
    assert largest_difference(table, table) == 0
    assert largest_difference(table[1:2], table.sample(frac=1, random_state=0)) == 0
    changed = made({"hybrid": [1.0, 1.75], "lrp_paper": [3.5, np.nan]})
    assert largest_difference(table, changed) == largest_difference(changed, table) == 0.5
    with pytest.raises(ValueError, match="1 rows are not in the stored table"):
        largest_difference(table, table[1:])
    with pytest.raises(ValueError, match="a row has a score in one table and none in the other"):
        largest_difference(table, made({"hybrid": [1.0, 2.0], "lrp_paper": [3.0, 1.0]}))


# The stored tables


@pytest.mark.skipif(not STORED, reason="no table is stored yet: xaiutils evidence makes them")
@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_table_is_that_of_its_experiment_and_its_settings_are_the_calibration_s(path):
    table = checked(results._read(path))
    about, name = table.attrs, path.stem
    assert about["name"] == name in TABLES
    scenery = about["workload"] == "scenes"
    if scenery:
        assert set(table["split"]) == {TABLES[name].split}
        assert set(about["weights"]) == set(table["network"])
    chosen = choose(load_table(CALIBRATION, load_workload("scenes", CALIBRATION), ROOT / "results"))
    if name in (CALIBRATION, AGREEMENT):
        assert about["chosen"] is None
    else:
        assert Chosen(**about["chosen"]) == chosen
        assert set(table["method"]) <= set(labels(name, chosen))
        assert set(table["metric"]) == set(EXPERIMENTS[name].metrics)
    assert table["why"][table["value"].isna()].ne("").all(), "no score without a reason"
    assert table["why"][table["value"].notna()].eq("").all()
    about = dict(about)
    told = about.pop("hash")
    assert told == hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", [CALIBRATION, "localisation"])
def test_a_few_rows_made_anew_are_the_stored_ones(name):
    out = ROOT / "results"
    for needed in {CALIBRATION, name}:
        if not (out / "scenes" / f"{needed}.parquet").is_file():
            pytest.skip(f"results/scenes/{needed}.parquet is not there: xaiutils evidence {needed}")
    kept = load_table(name, load_workload("scenes", CALIBRATION), out)
    some = tuple(labels(name)[:3])
    live = make_table(name, "scenes", images=1, methods=some, out=out)
    assert len(live) == 3 * len(some) * len(EXPERIMENTS[name].metrics)
    assert largest_difference(live, kept) < 1e-3


def test_ten_samples_of_average_sensitivity_do_for_two_hundred():
    """For means, as `METRICS` says; a single picture's score is another matter."""
    keys = ["network", "image", "method", "metric", "seed"]
    work = load_workload("scenes", CALIBRATION)
    ten, many = (load_table(name, work, ROOT / "results") for name in ("table_one", "samples"))
    assert EXPERIMENTS["samples"].metrics["avg_sensitivity"]["samples"] == 200
    assert METRICS["avg_sensitivity"].settings["samples"].default == 10
    both = many.merge(ten, on=keys, suffixes=("", "_ten"))
    assert len(both) == len(many) == 16 * 4
    means = both.groupby("method")[["value", "value_ten"]].mean()
    assert (means["value_ten"] - means["value"]).abs().max() < 0.005
    assert (both["value_ten"] - both["value"]).abs().max() < 0.0705
    ranked = [means[column].rank().to_dict() for column in means]
    assert ranked[0]["grad_cam_plus_plus"] == ranked[1]["grad_cam_plus_plus"] == 1
    assert ranked[0]["lrp_paper"] == ranked[1]["lrp_paper"] == 4


# The claims and their page


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_a_claim_can_be_judged_by_its_table(claim: Claim):
    assert claim.table in EXPERIMENTS
    one = EXPERIMENTS[claim.table]
    assert one.split != CALIBRATION
    assert claim.metric in one.metrics
    assert {*(claim.among or (claim.of, *claim.against))} <= set(labels(claim.table))
    assert set(claim.workloads) <= {"scenes", "imagenet"}
    assert "imagenet" not in claim.workloads or one.real


ROWS = dict(zip(("grad_cam_plus_plus", "lrp_paper", "hybrid"), forensics.PAPER, strict=True))
REPORTED = [c for c in CLAIMS if c.table == "table_one" and {c.of, *c.against} <= set(ROWS)]


@pytest.mark.parametrize("claim", REPORTED, ids=lambda claim: claim.id)
def test_a_claim_about_the_rows_of_table_one_has_their_order(claim: Claim):
    column = forensics.COLUMNS.index(claim.metric)
    sign = 1 if METRICS[claim.metric].better == "higher" else -1
    gains = [sign * (ROWS[claim.of][column] - ROWS[one][column]) for one in claim.against]
    agree = [(gain > 0) == (claim.relation != "worse") for gain in gains]
    right = any(agree) if claim.relation == "better_than_one" else all(agree)
    assert right != claim.withdrawn


@pytest.mark.parametrize("cell", sorted({claim.cell for claim in CLAIMS}))
def test_a_claim_s_notebook_has_the_place_that_the_page_links_to(cell):
    file, _, anchor = cell.partition("#")
    path = ROOT / "notebooks" / file
    if not path.is_file():
        pytest.skip(f"notebooks/{file} is not there yet")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings]
    assert anchor in {*slugs, *re.findall(r"""(?:id|name)=["']([\w.-]+)["']""", text)}


CLAIM = """
- id: sparser
  gist: Sparser than LRP.
  where: Table I
  paper: 0.8 against 0.6
  table: table_one
  metric: sparseness
  of: hybrid
  against: [lrp_paper]
  relation: {relation}
  margin: 0
  workloads: [scenes, imagenet]
  cell: 11_metrics.ipynb#table-i
"""


@pytest.mark.parametrize(("relation", "verdict"), [("better", "holds"), ("worse", "fails")])
def test_the_page_says_what_the_stored_tables_say(home, relation, verdict):
    file, page = home / "claims.yaml", home / "claims.md"
    file.write_text(CLAIM.format(relation=relation))
    spread = np.linspace(0, 0.1, 30)
    values = {"hybrid": list(0.8 + spread), "lrp_paper": list(0.6 + spread[::-1])}
    store(made(values, metric="sparseness", split="test", name="table_one"))
    ((claim, judged),) = judge_claims(file)
    assert (claim.id, judged.outcomes["scenes"].verdict) == ("sparser", verdict)
    assert judged.outcomes["imagenet"].verdict == "undecided"
    lines = write_page(file, page=page)
    assert page.read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    brief, row = [line for line in lines if line.startswith("| Sparser")]
    assert brief.startswith(f"| Sparser than LRP. | {verdict} | undecided | [11_metrics](")
    assert f"scenes: **{verdict}**" in row
    assert "imagenet: **undecided** not scored: hybrid, lrp_paper" in row
    assert "0.85 against lrp_paper 0.65" in row
    assert lines[-1] == "| scenes: table_one | `0123456789abcdef` | 60 |"


def test_the_page_of_the_stored_tables_is_the_committed_one(tmp_path):
    lines = write_page(page=tmp_path / "claims.md", out=ROOT / "results")
    kept = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    assert "\n".join(lines) + "\n" == kept, "xaiutils claims writes it anew"
    assert "not scored" not in kept, "a claim lacks its table"
    for table in stored("forensics", ROOT / "results"):
        title = f"Table I: {table.attrs['workload']},"
        (start,) = [i for i, line in enumerate(lines) if title in line]
        assert any(line.startswith("| no target, rules lost |") for line in lines[start:])
