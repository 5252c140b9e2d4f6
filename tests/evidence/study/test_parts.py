"""A part is there whole or not at all, and says when it is not what was written."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil

import pyarrow.parquet as pq
import pytest

from tests.evidence.study.conftest import table
from xaiutils.evidence.study import BrokenPart, Busy, ForeignPart, run_study
from xaiutils.evidence.study.parts import KEY, found_parts, part_path, read_part, write_part
from xaiutils.support.files import alone, write_whole


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, lambda stream: stream.write(b"one"))

    def fails(stream):
        stream.write(b"tw")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, fails)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]

    order = []
    monkeypatch.setattr(
        os, "fsync", lambda number, real=os.fsync: (order.append("sync"), real(number))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b, real=os.replace: (order.append("name"), real(a, b))
    )
    write_whole(path, lambda stream: stream.write(b"two"))
    assert order == ["sync", "name", "sync"]  # the content, the name, the folder
    assert path.read_bytes() == b"two"


def test_rows_are_sorted_and_come_back(undisturbed):
    hash_ = undisturbed.study.hash
    rows = read_part(undisturbed.path, hash_, 0).to_pylist()
    keys = [tuple(row[key] for key in KEY) for row in rows]
    assert keys == sorted(set(keys))
    # 4 pictures x (4 methods x 2 metrics x 2 seeds + whether the network is right)
    assert len(rows) == 4 * (4 * 2 * 2 + 1)
    assert {row["model"] for row in rows} == {"scenes_vgg_seed0"}
    assert list(found_parts(undisturbed.path)) == [0, 1, 2]


def test_a_part_of_elsewhere_is_refused(undisturbed, fresh):
    source = part_path(undisturbed.path, 1)
    shutil.copy(source, part_path(fresh.path, 0))
    with pytest.raises(ForeignPart, match=r"must be part 0 of study .* it is part 1 of"):
        read_part(fresh.path, fresh.study.hash, 0)
    with pytest.raises(ForeignPart):  # nor does a run move it aside, for it may be another's work
        run_study(fresh)
    assert part_path(fresh.path, 0).is_file()


@pytest.fixture(scope="module")
def copy(undisturbed, tmp_path_factory):
    """A folder with one part, to be damaged."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "parts").mkdir()
    return folder, part_path(undisturbed.path, 0).read_bytes(), undisturbed.study.hash


FLIPS = (1, 2, 128, 255)


@pytest.mark.parametrize(
    "flips", [FLIPS, *(pytest.param((one,), marks=pytest.mark.slow) for one in FLIPS)], ids=str
)
def test_any_changed_byte_is_seen_or_changes_nothing(copy, flips):
    """Every byte, changed by the one or by each in its turn."""
    folder, content, hash_ = copy
    part_path(folder, 0).write_bytes(content)
    before = read_part(folder, hash_, 0)
    seen = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= flips[place % len(flips)]
        part_path(folder, 0).write_bytes(changed)
        try:
            assert read_part(folder, hash_, 0).equals(before), place  # some bytes say nothing
        except BrokenPart:
            seen += 1
    assert seen > len(content) / 3


@pytest.mark.parametrize("cut", [0, 1, 4, 100, -1, -9])
def test_a_part_that_was_cut_is_broken(copy, cut):
    folder, content, hash_ = copy
    part_path(folder, 0).write_bytes(content[:cut])
    with pytest.raises(BrokenPart, match="cannot be read"):
        read_part(folder, hash_, 0)


def test_a_value_that_was_changed_by_a_good_writer_is_broken(copy):
    folder, content, hash_ = copy
    path = part_path(folder, 0)
    path.write_bytes(content)
    read = pq.read_table(path)
    values = read["value"].to_pylist()
    values[3] += 1e-9
    column = read.schema.get_field_index("value")
    pq.write_table(read.set_column(column, read.schema.field(column), [values]), path)
    with pytest.raises(BrokenPart, match="its checksum differs"):
        read_part(folder, hash_, 0)


@pytest.mark.parametrize("damage", ["emptied", "cut", "changed"])
def test_a_broken_part_is_moved_aside_and_made_anew(fresh, result, damage):
    run_study(fresh)
    path = part_path(fresh.path, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(
        {"emptied": b"", "cut": bytes(content[:-40]), "changed": bytes(content)}[damage]
    )
    said: list[str] = []
    todo = run_study(fresh, say=said.append)
    assert (todo.fresh, todo.kept) == ((1,), 2)
    (aside,) = todo.broken
    assert aside.is_file()
    assert str(aside) in said[0]
    assert table(fresh) == result


def test_what_a_killed_writer_left_is_removed_by_its_own_shard_only(fresh):
    left = [
        fresh.path / folder / f".part-{i:05d}.parquet.abc.tmp"
        for i in (0, 1)
        for folder in ("parts", "log")
    ]
    for path in left:
        path.write_bytes(b"half")
    run_study(fresh, shard=(1, 2))
    assert [path.exists() for path in left] == [False, False, True, True]


def test_one_run_has_the_folder(tmp_path):
    with alone(tmp_path, (1, 1)):
        with pytest.raises(Busy, match=r"is being run by another process, which holds run-1-of-1"):
            alone(tmp_path, (1, 1)).__enter__()
        with pytest.raises(Busy, match="shards run beside shards of the same n only"):
            alone(tmp_path, (1, 3)).__enter__()
    with alone(tmp_path, (1, 3)), alone(tmp_path, (2, 3)):
        with pytest.raises(Busy, match=r"holds run-2-of-3"):
            alone(tmp_path, (2, 3)).__enter__()
        with pytest.raises(Busy, match="shards run beside"):
            alone(tmp_path, (1, 1)).__enter__()
    with alone(tmp_path, (1, 1)):
        pass


def _hold(folder, shard, start, held, end):
    start.wait()
    try:
        with alone(folder, shard):
            held.put("held")
            end.wait()
    except Busy as error:
        held.put(str(error))


def test_shards_that_start_together_do_not_refuse_each_other(tmp_path):
    with alone(tmp_path, (1, 1)):  # a whole run, long ended, has left its file
        pass
    many = multiprocessing.get_context("fork")
    for _ in range(5):
        start, end, held = many.Barrier(8), many.Event(), many.Queue()
        shards = [
            many.Process(target=_hold, args=(tmp_path, (i + 1, 8), start, held, end))
            for i in range(8)
        ]
        for shard in shards:
            shard.start()
        found = [held.get(timeout=30) for _ in shards]
        end.set()
        for shard in shards:
            shard.join()
        assert found == ["held"] * 8


def test_a_log_is_added_and_never_overwritten(fresh):
    run_study(fresh)
    count = len(list((fresh.path / "log").iterdir()))
    part_path(fresh.path, 0).unlink()
    run_study(fresh)
    assert len(list((fresh.path / "log").iterdir())) == count + 1


def test_writing_twice_gives_the_same_bytes(undisturbed, tmp_path):
    (tmp_path / "parts").mkdir()
    rows = read_part(undisturbed.path, undisturbed.study.hash, 0).to_pylist()
    write_part(tmp_path, undisturbed.study.hash, 0, rows[::-1])
    assert part_path(tmp_path, 0).read_bytes() == part_path(undisturbed.path, 0).read_bytes()
