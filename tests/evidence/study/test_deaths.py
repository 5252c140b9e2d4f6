"""A process that dies costs at most what it computed, and nobody else anything."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.evidence.study import deadly
from tests.evidence.study.conftest import table
from tests.evidence.study.own_workload import make_pictures
from tests.evidence.study.test_engines import ROOT
from xaiutils import METHODS
from xaiutils.evidence.study import Unfinished, create_study, read_log, run_study, study_status
from xaiutils.evidence.study.engines import TIMES
from xaiutils.support import processes

ASKED = {
    "workload": deadly.NAME,
    "methods": ["random_map", "deadly"],
    "metrics": ["srg"],  # not of Quantus, which takes seconds to import
    "part": 2,
}


@pytest.fixture
def forked(monkeypatch):
    """Processes that start at once, forked by one that has imported everything."""
    many = multiprocessing.get_context("forkserver")
    slow = ["torch._dynamo", "torchvision.models", "torchvision.transforms.v2", "tqdm.auto"]
    many.set_forkserver_preload(["tests.evidence.study.deadly", *slow])
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda kind: many)
    monkeypatch.setattr("xaiutils.evidence.study.engines.score_part", deadly.score_part)


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin a study of six pictures; from then on its method ends processes."""
    make_pictures(tmp_path / "pictures")
    monkeypatch.setenv("STUDY_PICTURES", str(tmp_path / "pictures"))

    def begin(name="study", **about):
        about = {"how": "kill", "at": "", "times": 99, "folder": str(tmp_path)} | about
        monkeypatch.setenv("DEADLY", json.dumps(about | {"at": ""}))
        opened = create_study(tmp_path / name, **ASKED)
        arm(opened, **about)
        return opened

    yield begin
    METHODS.pop("deadly", None)


def arm(opened, **about):
    os.environ["DEADLY"] = json.dumps(json.loads(os.environ["DEADLY"]) | about)
    kept = {name: os.environ[name] for name in ("DEADLY", "STUDY_PICTURES")}
    (opened.path.parent / "environment.json").write_text(json.dumps(kept))


@pytest.fixture
def undisturbed(begin):
    opened = begin("undisturbed", times=0)
    run_study(opened)
    return table(opened)


def failed(opened):
    log = read_log(opened).query("error_code == 'failed'")
    return {(row.image_id, row.method) for row in log.itertuples()}, list(log["reason"])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        pytest.param("segfault", "SIGSEGV", marks=pytest.mark.slow),
        ("exit", "exit status 3"),
        ("kill", "SIGKILL"),
    ],
)
def test_what_costs_three_processes_is_a_failed_row_and_the_others_go_on(
    begin, forked, undisturbed, how, says
):
    opened = begin(how=how, at="02")
    said = []
    run_study(opened, workers=2, say=said.append)
    rows, reasons = failed(opened)
    assert rows == {("02.png", "deadly")}
    assert f"{TIMES} processes died while each computed deadly, " in reasons[0]
    assert says in reasons[0]
    assert study_status(opened).codes == {"failed": 1, "undefined": 6}
    deaths = [line for line in said if "is tried again" in line]
    assert len(deaths) == TIMES
    assert all(
        "while it computed deadly, " in line and "on 02.png; part 1" in line for line in deaths
    )
    assert not list((opened.path / "log").glob("*.now"))
    arm(opened, times=0)
    run_study(opened, workers=2, retry_failed=True)
    assert table(opened) == undisturbed


@pytest.mark.parametrize("at", ["start", "00", "05"])
def test_a_process_that_dies_twice_at_a_place_costs_nothing(begin, forked, undisturbed, at):
    opened = begin(at=at, times=2)
    said = []
    run_study(opened, workers=2, say=said.append)
    assert table(opened) == undisturbed
    assert len([line for line in said if "SIGKILL" in line]) == 2


def test_processes_that_all_die_at_the_start_end_the_run_with_the_part(begin, forked):
    opened = begin(at="start")
    message = (
        rf"part \d is missing: {TIMES} processes died while each opened the network and the "
        r"pictures, the last was ended by SIGKILL; finished parts are kept; go on with: xaiutils"
    )
    with pytest.raises(Unfinished, match=message):
        run_study(opened, workers=2)


def test_no_process_to_be_had_ends_the_run_with_its_parts(begin, monkeypatch):
    def none(self, *more):
        raise OSError(11, "Resource temporarily unavailable")

    opened = begin(times=0)
    monkeypatch.setattr(processes.Worker, "__init__", none)
    with pytest.raises(Unfinished, match=r"parts \[0, 1, 2\] are missing: no process can be had"):
        run_study(opened, workers=2)


def test_fewer_processes_than_asked_will_do(begin, forked, undisturbed, monkeypatch):
    real = processes.Worker.__init__

    def one(self, number, *more):
        if number:
            raise OSError(11, "Resource temporarily unavailable")
        real(self, number, *more)

    opened = begin(times=0)
    monkeypatch.setattr(processes.Worker, "__init__", one)
    run_study(opened, workers=3)
    assert table(opened) == undisturbed


def test_a_serial_run_that_died_is_told_of_by_the_next(begin, undisturbed):
    opened = begin(times=0)
    arm(opened, at="03", times=1)
    run = "import sys, xaiutils as xai; xai.run_study(xai.open_study(sys.argv[1]))"
    words = [sys.executable, "-c", run, str(opened.path)]
    died = subprocess.run(words, cwd=ROOT, check=False, env=os.environ)
    assert died.returncode == -signal.SIGKILL
    said = []
    run_study(opened, say=said.append)
    (told,) = [line for line in said if "ended without a word" in line]
    assert "part 1" in told
    assert "computed deadly, " in told
    assert " on 03.png. " in told
    assert "--workers 2" in told
    assert table(opened) == undisturbed
    run_study(opened, say=said.append)
    assert len([line for line in said if "ended without a word" in line]) == 1


def test_an_error_or_ctrl_c_is_no_death(begin, monkeypatch):
    opened = begin(times=0)

    def interrupted(*more, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr("xaiutils.evidence.study.work.score_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(opened)
    assert not list((opened.path / "log").glob("*.now"))


@pytest.mark.parametrize(
    "left",
    [
        b"[" * 100_000,
        b'["another", ["00.png", "deadly", "srg", 0, ""], []]',  # of an earlier version
        b'["00.png", "deadly", "srg"',
    ],
)
def test_a_trail_that_cannot_be_read_says_nothing(begin, undisturbed, left):
    opened = begin(times=0)
    (opened.path / "log" / "part-00000.now").write_bytes(left)
    said = []
    run_study(opened, say=said.append)
    assert not [line for line in said if "without a word" in line]
    assert not list((opened.path / "log").glob("*.now"))
    assert table(opened) == undisturbed


PARENT = """
import sys, time
from xaiutils.support.processes import Worker
def main():
    workers = [Worker(number, time.sleep, {}) for number in range(2)]
    for worker in workers:
        worker.ask(**{})
    print(*(worker.process.pid for worker in workers), flush=True)
    time.sleep(60)
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_parent(tmp_path, kind):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    children = [psutil.Process(int(number)) for number in parent.stdout.readline().split()]
    assert len(children) == 2
    time.sleep(0.3)
    parent.send_signal(kind)
    parent.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1]
