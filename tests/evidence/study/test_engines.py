"""The same bytes whoever runs the study, and whatever goes wrong on the way."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import PIL.Image
import psutil
import pytest
import torch

from tests.evidence.study import own_workload
from tests.evidence.study.conftest import ASKED, table
from tests.evidence.study.own_workload import NAME, make_pictures
from xaiutils import METHODS, Classifier, load_model
from xaiutils.apps.cli import __main__ as cli
from xaiutils.evidence import runner
from xaiutils.evidence.study import (
    create_study,
    load_study,
    merge_studies,
    open_study,
    read_log,
    run_study,
    study_status,
    work,
)
from xaiutils.evidence.study.parts import read_part, write_part
from xaiutils.evidence.study.work import BROKEN, CHANGED, MISSING
from xaiutils.metrics import scoring
from xaiutils.pictures import scenes
from xaiutils.support import asking

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_same_bytes(fresh, result, workers, monkeypatch):
    sockets, real = [], runner.ready

    def look(busy):
        for worker in busy:
            sockets.extend(psutil.Process(worker.process.pid).net_connections())
        return real(busy)

    monkeypatch.setattr(runner, "ready", look)
    run_study(fresh, workers=workers)
    assert table(fresh) == result
    assert not sockets  # no port is open
    assert read_log(fresh)["process"].nunique() > 1
    assert os.getpid() not in set(read_log(fresh)["process"])


def test_shards_on_one_folder_and_on_copies_give_the_same_bytes(fresh, result, tmp_path):
    paths = [shutil.copytree(fresh.path, tmp_path / f"copy{i}") for i in (1, 2, 3)]
    copies = [open_study(path) for path in paths]
    for i, copy in enumerate(copies, start=1):
        run_study(copy, shard=(i, 3))
        run_study(fresh, shard=(4 - i, 3))
    assert [study_status(one).done for one in copies] == [1, 1, 1]
    assert table(fresh) == result
    assert merge_studies(tmp_path / "merged", copies) == 3
    merged = open_study(tmp_path / "merged")
    assert table(merged) == result
    assert merge_studies(tmp_path / "merged", copies[:1]) == 3  # again: nothing new
    assert table(merged) == result


def test_what_is_not_of_one_study_is_not_merged(undisturbed, tmp_path):
    other = create_study(tmp_path / "other", **(ASKED | {"seeds": [7]}))
    with pytest.raises(ValueError, match="folders must be of one study"):
        merge_studies(tmp_path / "merged", [undisturbed, other])
    with pytest.raises(FileExistsError, match="must be new or of study"):
        merge_studies(other.path, [undisturbed])


def test_two_that_disagree_about_a_part_are_not_merged(undisturbed, tmp_path):
    changed = open_study(shutil.copytree(undisturbed.path, tmp_path / "changed"))
    rows = read_part(changed.path, changed.study.hash, 1).to_pylist()
    rows[0]["value"] += 1
    write_part(changed.path, changed.study.hash, 1, rows)
    with pytest.raises(ValueError, match="disagree about part 1"):
        merge_studies(tmp_path / "merged", [undisturbed, changed])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 0}, "workers must be"),
        ({"shard": (4, 3)}, "shard must be i/n with 1 <= i <= n, got 4/3"),
    ],
)
def test_a_wrong_engine_is_refused(fresh, change, message):
    with pytest.raises(ValueError, match=message):
        run_study(fresh, **change)


def test_a_full_disk_ends_the_run_and_loses_nothing(fresh, result, monkeypatch):
    def full(number, count=[0], real=os.fsync):  # noqa: B006, it counts
        count[0] += 1
        if count[0] == 7:  # the second part's own content
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            run_study(fresh)
    before = study_status(fresh)
    assert 0 < before.done < 3
    assert not list((fresh.path / "parts").glob(".*"))
    assert run_study(fresh).kept == before.done
    assert table(fresh) == result


def _mount(path: Path, *options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a file system here: {error}")


def test_a_small_disk_and_a_read_only_one(result, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount(disk, "size=40k")
    try:
        opened = create_study(disk / "study", **ASKED)
        (disk / "ballast").write_bytes(bytes(6 * 4096))
        with pytest.raises(OSError, match="No space left on device"):
            run_study(opened)
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        run_study(opened)
        assert table(opened) == result
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        again = open_study(opened.path)
        assert study_status(again).done == 3
        assert len(load_study(again)) == 160
        with pytest.raises(OSError, match="Read-only file system"):
            run_study(again)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_clock_that_jumps_changes_nothing(fresh, result, monkeypatch):
    wild = random.Random(0)

    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(wild.uniform(0, 4e9), tz)

    monkeypatch.setattr(work, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: wild.uniform(0, 4e9))
    run_study(fresh)
    assert read_log(fresh)["finished"].str[:4].nunique() > 20  # years
    assert table(fresh) == result
    assert (read_log(fresh)["seconds"] >= 0).all()


ASKED_OWN = {
    "workload": NAME,
    "methods": ["hybrid", "random_map"],
    "metrics": ["sparseness"],
    "part": 2,
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A study of pictures in a folder, undisturbed once for its bytes, and not yet run again."""
    pictures = tmp_path / "pictures"
    make_pictures(pictures)
    monkeypatch.setenv("STUDY_PICTURES", str(pictures))
    before = create_study(tmp_path / "before", **ASKED_OWN)
    run_study(before)
    return create_study(tmp_path / "own", **ASKED_OWN), pictures, table(before)


def accidents(opened) -> dict[str, int]:
    """Rows by code; these pictures have no label, so that nobody knows what is right."""
    codes = study_status(opened).codes
    assert codes.pop("undefined", 0) <= 6
    return codes


def _damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "swapped":
        PIL.Image.new("RGB", (30, 30), "red").save(path)
    else:
        path.write_bytes(path.read_bytes()[:-200] if how == "cut" else b"no picture")


@pytest.mark.parametrize(
    ("how", "code", "reopened"),
    [
        *(("missing", MISSING, reopened) for reopened in (True, False)),
        ("swapped", CHANGED, True),
        ("cut", CHANGED, False),
        ("text", CHANGED, True),
    ],
)
def test_a_picture_that_is_lost_during_the_run(own, how, code, reopened):
    opened, pictures, expected = own
    good = (pictures / "02.png").read_bytes()
    parts = [opened.path, opened.study.hash]
    work.score_part(*parts, 0, opened.place, run="one")
    _damage(pictures / "02.png", how)
    if reopened:  # the folder has fewer pictures, and the others are found at new places
        run_study(opened)
    else:  # the process has the folder open since before the loss
        for index in (1, 2):
            work.score_part(*parts, index, opened.place, run="one")
    assert study_status(opened).done == 3
    assert accidents(opened) == {code: 3}
    assert table(opened) != expected
    reasons = read_log(opened).query("error_code == @code")
    assert "02" in reasons["reason"].iloc[0]
    assert "Traceback" in reasons["traceback"].iloc[0]
    assert run_study(opened).kept == 3  # not tried again unless asked
    (pictures / "02.png").write_bytes(good)
    assert run_study(opened, retry_failed=True).again == (1,)
    assert accidents(opened) == {}
    assert table(opened) == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError, MISSING),
        (IndexError, "failed"),
        (ZeroDivisionError, "failed"),
        (OSError, BROKEN),
    ],
)
def test_pictures_of_ones_own_may_raise_anything(own, monkeypatch, error, code):
    _, pictures, _ = own
    samples = list(own_workload.small().samples)

    class Sometimes(Sequence):
        def __len__(self):
            return len(samples)

        def __getitem__(self, index):
            if armed and index == 3:
                raise error("no such picture")
            return samples[index]

    def sometimes():
        return replace(work, samples=Sometimes())

    work, armed = own_workload.small(), False
    monkeypatch.setattr(own_workload, "small", sometimes)
    opened = create_study(pictures.parent / "raising", **ASKED_OWN)
    armed = True
    run_study(opened)
    assert accidents(opened) == {code: 3}
    armed = False
    run_study(opened, retry_failed=True)
    assert accidents(opened) == {}


def test_fewer_pictures_of_ones_own_than_before(own, monkeypatch):
    _, pictures, _ = own
    samples = list(own_workload.small().samples)
    work = own_workload.small()
    monkeypatch.setattr(own_workload, "small", lambda: replace(work, samples=samples))
    opened = create_study(pictures.parent / "shrinking", **ASKED_OWN)
    samples.pop()
    run_study(opened)
    assert accidents(opened) == {MISSING: 3}


def test_an_error_of_the_network_is_no_missing_picture(own, monkeypatch):
    opened, *_ = own
    case = work._case

    def fails(self, x):
        raise KeyError("a layer")

    def then_fails(tools, picture):  # the workload is wrapped, and so asked, before
        found = case(tools, picture)
        monkeypatch.setattr(Classifier, "predict", fails)
        return found

    monkeypatch.setattr(work, "_case", then_fails)
    run_study(opened)
    assert set(accidents(opened)) == {"failed"}


def test_a_second_attempt_gives_up_no_score(own, monkeypatch):
    opened, pictures, _ = own

    def fails(classifier, x, target):
        raise ZeroDivisionError("always")

    with monkeypatch.context() as patch:
        odd = replace(METHODS["random_map"], function=fails, stochastic=False)
        patch.setattr(scoring, "METHODS", {**METHODS, "random_map": odd})
        run_study(opened)
    before = load_study(opened).query("method == 'hybrid'")
    assert accidents(opened) == {"failed": 6}
    (pictures / "02.png").unlink()
    assert run_study(opened, retry_failed=True).again == (0, 1, 2)
    assert accidents(opened) == {MISSING: 1}  # of the method that had failed, not of the other
    after = load_study(opened).query("method == 'hybrid'")
    assert after["value"].tolist() == before["value"].tolist()


def test_a_module_brings_a_method_of_its_own(own, monkeypatch):
    _, pictures, _ = own
    monkeypatch.setitem(METHODS, "mine", METHODS["random_map"])
    del METHODS["mine"]
    asked = ASKED_OWN | {"workload": NAME.replace("small", "with_a_method"), "methods": ["mine"]}
    opened = create_study(pictures.parent / "mine", **asked)
    run_study(opened)
    assert set(load_study(opened)["method"]) == {"mine"}
    del METHODS["mine"]


def test_a_picture_that_was_broken_from_the_start_is_a_fact(tmp_path, monkeypatch):
    pictures = tmp_path / "pictures"
    make_pictures(pictures, 3)
    (pictures / "01.png").write_bytes(b"no picture")
    monkeypatch.setenv("STUDY_PICTURES", str(pictures))
    asked = {"workload": NAME, "methods": ["random_map"], "metrics": ["sparseness"]}
    bytes_ = []
    for name in ("one", "two"):
        opened = create_study(tmp_path / name, **asked)
        run_study(opened)
        bytes_.append(table(opened))
        assert study_status(opened).where == {
            ("picture_broken", "network", "right"): 1,
            ("undefined", "network", "right"): 2,
            ("picture_broken", "random_map", "sparseness"): 1,
        }
    assert bytes_[0] == bytes_[1]
    kept = load_study(opened)
    assert kept["value"].isna().sum() == 1
    assert len(load_study(opened, right_only=True)) == 0  # nobody knows what is right here


def test_a_method_that_fails_is_a_row_and_ends_nothing(fresh, result, monkeypatch):
    def fails(classifier, x, target, **settings):
        if float(x.sum()) > mean:
            raise ZeroDivisionError("too bright")
        return METHODS["random_map"].function(classifier, x, target, **settings)

    classifier = load_model("scenes_vgg_seed0")
    sums = sorted(float(classifier.preprocess(s).sum()) for s in scenes.samples("test", 10))
    mean = (sums[6] + sums[7]) / 2
    odd = replace(METHODS["random_map"], function=fails)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "METHODS", {**METHODS, "random_map": odd})
        run_study(fresh)
    status = study_status(fresh)
    assert status.codes == {"failed": 12}  # 3 pictures, 2 metrics, 2 seeds
    assert {method for _, method, _ in status.where} == {"random_map"}
    log = read_log(fresh).query("error_code == 'failed'")
    assert set(log["reason"]) == {"too bright"}
    assert all("ZeroDivisionError" in text for text in log["traceback"])
    run_study(fresh, retry_failed=True)
    assert table(fresh) == result


class Unprintable(Exception):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "reason", "where"),
    [
        (Unprintable, "its text cannot be printed: ZeroDivisionError", "method"),
        (lambda: ValueError("\udcff"), "\\udcff", "picture"),
        (lambda: SystemExit("enough"), "enough", "method"),
        (lambda: SystemExit("enough"), "enough", "picture"),
        (
            lambda: RuntimeError(Unprintable()),
            "its text cannot be printed: ZeroDivisionError",
            "picture",
        ),
    ],
)
def test_an_error_of_any_kind_is_a_row(own, monkeypatch, error, reason, where):
    opened, *_ = own

    def fails(*more, **given):
        raise error()

    if where == "method":
        odd = replace(METHODS["random_map"], function=fails)
        monkeypatch.setattr(scoring, "METHODS", {**METHODS, "random_map": odd})
    else:
        monkeypatch.setattr(work, "_case", fails)
    run_study(opened)
    log = read_log(opened).query("error_code in ['failed', 'picture_broken']")
    assert set(log["reason"]) == {reason}
    assert len(log) == 6


def test_a_file_name_of_any_bytes_is_a_picture(tmp_path, monkeypatch):
    make_pictures(tmp_path / "pictures", 2)
    folder = os.fsencode(tmp_path / "pictures")
    os.rename(folder + b"/01.png", folder + b"/\xff.png")
    monkeypatch.setenv("STUDY_PICTURES", str(tmp_path / "pictures"))
    opened = create_study(tmp_path / "study", **ASKED_OWN)
    run_study(opened)
    assert accidents(opened) == {}
    assert set(load_study(opened)["image"]) == {"00.png", "\\udcff.png"}
    again = open_study(opened.path)
    assert again.pictures == opened.pictures
    assert run_study(again).kept == 1


def test_a_folder_of_any_bytes_is_a_study(tmp_path, capsys):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    opened = create_study(folder, methods=["random_map"], metrics=["srg"], images=1)
    run_study(opened)
    assert run_study(open_study(folder)).kept == 1
    assert cli.main(["study", "run", str(folder)]) == 0
    assert len(read_log(opened)) == 2
    (opened.path / "parts" / "part-00000.parquet").write_bytes(b"")
    assert cli.main(["study", "run", str(folder)]) == 0
    assert "a broken part was moved to" in capsys.readouterr().out


def test_a_run_without_a_score_has_another_exit_status(own, monkeypatch, capsys):
    opened, *_ = own

    def fails(*more, **given):
        raise ZeroDivisionError("always")

    one = replace(METHODS["random_map"], function=fails)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "METHODS", {**METHODS, "random_map": one})
        assert cli.main(["study", "run", str(opened.path)]) == 0  # the other method has scores
    both = create_study(opened.path.parent / "both", **(ASKED_OWN | {"methods": ["random_map"]}))
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "METHODS", {**METHODS, "random_map": one})
        assert cli.main(["study", "run", str(both.path)]) == 2
    told = capsys.readouterr()
    assert f"no row of {both.path} has a score, 6 failed: always. Mend that and add" in told.err
    assert cli.main(["study", "run", str(both.path)]) == 2  # nothing is left to do, nor is a score
    assert cli.main(["study", "run", str(both.path), "--retry-failed"]) == 0


def test_a_score_that_does_not_exist_is_no_accident(tmp_path):
    opened = create_study(
        tmp_path / "study", methods=["oracle_mask"], metrics=["own_share", "random_logit"], images=2
    )
    run_study(opened)
    assert study_status(opened).codes == {"undefined": 2}  # one object has no share
    assert run_study(opened, retry_failed=True).again == ()
    why = read_log(opened).query("error_code == 'undefined'")["reason"].unique()
    assert list(why) == ["needs a second object"]


def test_a_batch_is_bounded_and_halved():
    sizes = []

    def answer(x):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x * 2

    x = torch.arange(10.0)
    with pytest.raises(torch.OutOfMemoryError):
        asking.in_pieces(answer, x)
    with asking.at_most(2):
        assert torch.equal(torch.cat(asking.in_pieces(answer, x)), x * 2)
    assert sizes == [10, *[2] * 5]
    sizes.clear()
    with asking.at_most(halve=True) as limit:
        assert torch.equal(torch.cat(asking.in_pieces(answer, x)), x * 2)
        assert torch.equal(torch.cat(asking.in_pieces(answer, x)), x * 2)  # remembers
    assert sizes == [10, 5, *[2] * 10]
    assert (limit.most, limit.halvings) == (2, 2)
    with asking.at_most(halve=True), pytest.raises(ValueError, match="other"):
        asking.in_pieces(lambda x: (_ for _ in ()).throw(ValueError("other")), x)
    with pytest.raises(ValueError, match="most must be"), asking.at_most(0):
        pass


def test_memory_that_does_not_suffice_halves_the_batch_or_is_a_row(tmp_path, monkeypatch):
    from xaiutils.network.graph import Graph

    real = Graph.run

    def small(self, x, **more):
        if len(x) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return real(self, x, **more)

    asked = {"methods": ["random_map"], "metrics": ["srg"], "images": 2}
    plain = create_study(tmp_path / "plain", **asked)
    auto = create_study(tmp_path / "auto", **asked, batch="auto")
    bounded = create_study(tmp_path / "bounded", **asked, batch=4)
    with monkeypatch.context() as patch:
        patch.setattr(Graph, "run", small)
        for one in (plain, auto, bounded):
            run_study(one)
    assert study_status(plain).codes == {"out_of_memory": 2}
    assert len({one.study.hash for one in (plain, auto, bounded)}) == 3
    run_study(plain, retry_failed=True)
    values = [load_study(one)["value"].to_numpy() for one in (plain, auto, bounded)]
    assert abs(values[0] - values[1]).max() < 1e-4
    assert abs(values[0] - values[2]).max() < 1e-4


@pytest.mark.slow
def test_bfloat16_is_another_study_near_the_first(tmp_path):
    asked = {"methods": ["hybrid", "lrp_paper"], "metrics": ["sparseness", "srg"], "images": 4}
    plain = create_study(tmp_path / "plain", **asked)
    half = create_study(tmp_path / "half", **asked, autocast=True)
    assert plain.study.hash != half.study.hash
    both = []
    for one in (plain, half):
        run_study(one)
        assert study_status(one).codes == {}
        both.append(load_study(one).set_index(["image", "metric", "method"])["value"])
    change = (both[0] - both[1]).abs().groupby("metric").max()
    assert 0 < change["sparseness"] < 0.02
    assert 0 < change["srg"] < 0.6
