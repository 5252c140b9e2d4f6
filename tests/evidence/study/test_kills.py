"""SIGKILL at seeded moments: no finished part is lost, and the table is as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.evidence.study.conftest import table
from tests.evidence.study.test_engines import ROOT
from xaiutils.evidence.study import create_study, load_study, open_study, run_study, study_status

pytestmark = pytest.mark.slow  # notebook 14 kills a worker, the user study's tests their server

ASKED = {
    "methods": ["hybrid", "random_map"],
    "metrics": ["relevance_mass", "srg"],  # none of Quantus, which takes seconds to import
    "images": 20,
    "part": 1,
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> bytes:
    opened = create_study(tmp_path_factory.mktemp("undisturbed") / "study", **ASKED)
    run_study(opened)
    return table(opened)


@pytest.fixture
def study(tmp_path):
    return create_study(tmp_path / "study", **ASKED)


def parts(opened) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (opened.path / "parts").glob("part-*.parquet")}


def finished(opened, expected: bytes) -> None:
    """The study is complete, holds every row once, and is the undisturbed one."""
    assert table(opened) == expected
    keys = load_study(opened)[["image", "method", "metric", "seed"]]
    assert len(keys) == 20 * 2 * 2
    assert not keys.duplicated().any()
    assert not list((opened.path / "parts").glob(".*"))


@pytest.fixture(scope="module")
def zygote():
    command = [sys.executable, "-m", "tests.evidence.study.zygote"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=ENVIRONMENT
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def start(zygote, opened, pause: int) -> int:
    zygote.stdin.write(f"{opened.path} {pause}\n")
    zygote.stdin.flush()
    return int(zygote.stdout.readline())


def until(zygote, word: str) -> list[str]:
    lines = []
    while not lines or lines[-1] != word:
        lines.append(zygote.stdout.readline().strip())
    return lines


def test_the_whole_run_is_killed_at_any_moment(zygote, tmp_path, expected):
    chance, counted = random.Random(0), 0
    for study in range(10):
        opened = create_study(tmp_path / f"study{study}", **ASKED)
        before: dict[str, bytes] = {}
        while study_status(opened).done < 20 and counted < 14:
            number = start(zygote, opened, 0)
            time.sleep(chance.uniform(0.05, 2.5))
            with suppress(ProcessLookupError):  # it has ended by itself: not counted
                os.kill(number, signal.SIGKILL)
            counted += "done" not in until(zygote, "ended")
            after = parts(opened)
            assert all(after[name] == content for name, content in before.items())
            assert all(len(content) for content in after.values())
            before = after
        run_study(opened)
        assert all(parts(opened)[name] == content for name, content in before.items())
        finished(opened, expected)
        if counted == 14:
            break
    print(f"\n{counted} kills of the whole run in progress, {study + 1} studies, 0 rows lost")
    assert counted == 14


def test_the_whole_run_is_killed_between_writing_and_renaming(zygote, study, expected):
    for pause in (1, 2, 3):
        before = parts(study)
        number = start(zygote, study, pause)
        assert until(zygote, "between") == ["between"]
        left = list((study.path / "parts").glob(".part-*.tmp"))
        assert len(left) == 1
        os.kill(number, signal.SIGKILL)
        until(zygote, "ended")
        assert len(parts(study)) == len(before) + pause - 1
    run_study(study)
    finished(study, expected)


def heard() -> None:
    """What a shell starts in the background is deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(opened, *more: str) -> subprocess.Popen:
    words = [
        sys.executable,
        "-m",
        "xaiutils.apps.cli.__main__",
        "study",
        "run",
        str(opened.path),
        *more,
    ]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env=ENVIRONMENT, start_new_session=True,
        preexec_fn=heard,  # noqa: PLW1509, no threads here
    )  # fmt: skip


def wait_for(opened, count: int, process) -> None:
    """Until so many parts are there, while the process lives."""
    deadline = time.monotonic() + 90
    while len(parts(opened)) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_workers_are_killed_and_the_run_goes_on(study, expected):
    chance, killed = random.Random(1), 0
    process = command(study, "--workers", "2")
    for count in (2, 6, 10):
        wait_for(study, count, process)
        time.sleep(chance.uniform(0, 0.3))
        victims = workers_of(process)
        if victims and len(parts(study)) < 20:
            chance.choice(victims).kill()
            killed += 1
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 0, text
    print(f"\n{killed} kills of a worker in progress")
    assert killed == 3
    finished(study, expected)


def test_a_run_with_workers_is_killed_and_they_go_too(study, expected):
    process = command(study, "--workers", "2")
    wait_for(study, 3, process)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    assert 3 <= len(parts(study)) < 20
    run_study(study)
    finished(study, expected)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(study, expected, workers):
    process = command(study, "--workers", workers)
    wait_for(study, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert f"Go on with: xaiutils study run {study.path}" in text
    assert "Traceback" not in text, text
    assert study_status(study).done < 20
    run_study(study)
    finished(study, expected)


def test_two_runs_on_one_folder(study, expected):
    first = command(study)
    wait_for(study, 1, first)
    first.send_signal(signal.SIGSTOP)  # else it may be done before the second has started
    second = command(study)
    text = second.communicate(timeout=60)[0]
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2, text
    assert f"{study.path} is being run by another process, which holds run-1-of-1.lock" in text
    first.communicate(timeout=120)
    assert first.returncode == 0
    finished(open_study(study.path), expected)
