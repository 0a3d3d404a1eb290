"""Files that grow for hours: killed at any moment they go on, and no file of others is touched."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import PRELOADED
from tests.kills import arm, strays
from utils.errors import UserError
from utils.growing_files import check_growing, growing

ALL = pytest.param(None, marks=pytest.mark.slow, id="all")
LINES = [b"one\n", b"two\n", b"three\n"]
ASKED = {"lines": 3, "data": {"a.txt": "0" * 64}}


def backwards(part: Path, path: Path) -> None:
    path.write_bytes(b"".join(reversed(part.read_bytes().splitlines(keepends=True))))


def write(path: Path, convert=None, asked=ASKED, overwrite=False, until=3, lines=LINES) -> int:
    """Write the lines that are not there yet; how many there were."""
    with growing(path, asked, overwrite) as file:
        before = file.done
        for line in lines[before:until]:
            file.append(line, file.done + 1)
        if file.done == len(lines):
            file.finish(convert)
    return before


def write_and_die(path: Path, convert, overwrite: bool, nth: int) -> None:
    arm(nth, str(path.parent))
    write(path, convert, overwrite=overwrite)


def killed(*args: object) -> bool:
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOADED)
    process = forks.Process(target=write_and_die, args=args)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize("few", [7, ALL])
@pytest.mark.parametrize("convert", [None, backwards], ids=["part", "converted"])
def test_killed_and_gone_on_with(few, convert, tmp_path) -> None:
    old, path = tmp_path / "old" / "out.txt", tmp_path / "here" / "out.txt"
    write(old, lines=[b"old\n"])
    expected = b"".join(LINES if convert is None else reversed(LINES))
    begun, seen = set(), set()
    for nth in range(1, 1000, few or 1):
        shutil.rmtree(path.parent, ignore_errors=True)
        overwrite = nth % 2 == 0
        if overwrite:
            shutil.copytree(old.parent, path.parent)
        if not killed(path, convert, overwrite, nth):
            break
        content = path.read_bytes() if path.exists() else None
        assert content in (None if not overwrite else b"old\n", expected)
        seen.add(content)
        if (path.parent / "out.txt.part.json").exists() or content in (None, b"old\n"):
            begun.add(write(path, convert, overwrite=overwrite))
        assert path.read_bytes() == expected
        assert {p.name for p in path.parent.iterdir()} == {"out.txt", "out.txt.json"}
        assert strays(path.parent) == []
    assert nth > 20
    if few is None:
        assert begun == {0, 1, 2, 3}
        assert seen == {None, b"old\n", expected}


def test_what_the_journal_does_not_know_of_is_dropped(tmp_path) -> None:
    path, part = tmp_path / "out.txt", tmp_path / "out.txt.part"
    write(path, until=2)
    assert part.read_bytes() == b"one\ntwo\n"
    assert not path.exists()
    with part.open("ab") as file:
        file.write(b"thr" * 9)
    assert write(path) == 2
    assert path.read_bytes() == b"".join(LINES)


@pytest.mark.parametrize("content", [b"one\n", b"one\ntwx\n", b""])
def test_a_part_that_was_changed(content, tmp_path) -> None:
    path, part = tmp_path / "out.txt", tmp_path / "out.txt.part"
    write(path, until=2)
    part.write_bytes(content)
    with pytest.raises(UserError, match=r"out.txt.part: not as the earlier run left it"):
        write(path)
    assert part.read_bytes() == content


@pytest.mark.parametrize(
    "asked", [{**ASKED, "lines": 4}, {"lines": 3}, {**ASKED, "more": 1}, {**ASKED, "data": {}}]
)
def test_a_run_that_asks_for_something_else_does_not_go_on(asked, tmp_path) -> None:
    path = tmp_path / "out.txt"
    write(path, until=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"was begun with another (lines|data|more) .*to go on"):
        write(path, asked=asked)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("ending", ["", ".part", ".part.json", ".json"])
@pytest.mark.parametrize("content", ["mine", "", "[1]", '{"program": "other"}', "folder", "link"])
def test_files_of_others_are_left_alone(content, ending, overwrite, tmp_path) -> None:
    path, mine = tmp_path / "out.txt", tmp_path / f"out.txt{ending}"
    if content == "folder":
        mine.mkdir()
    elif content == "link":
        (tmp_path / "other").write_text("mine")
        mine.symlink_to("other")
    else:
        mine.write_text(content)
    with pytest.raises(UserError, match=rf"out.txt{ending}: .*(Move it away|Name another file)"):
        write(path, overwrite=overwrite)
    if mine.is_file():
        assert mine.read_text() == ("mine" if content == "link" else content)
    left = {mine.name, "other"} if content == "link" else {mine.name}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_a_whole_file_goes_by_overwrite_only_and_as_long_as_it_is_ours(tmp_path) -> None:
    path = tmp_path / "out.txt"
    write(path)
    with pytest.raises(UserError, match=r"is there already, and whole. .*--overwrite"):
        write(path)
    write(path, backwards, asked={"other": 1}, overwrite=True)
    assert path.read_bytes() == b"".join(reversed(LINES))
    assert json.loads((tmp_path / "out.txt.json").read_text())["asked"] == {"other": 1}
    path.write_bytes(path.read_bytes() + b"a remark of mine\n")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not by this program, or was changed"):
            check_growing(path, overwrite)
    assert path.read_bytes().endswith(b"mine\n")


def test_a_full_disk_keeps_what_is_written(tmp_path, monkeypatch) -> None:
    path = tmp_path / "out.txt"
    write(path, until=1)

    fsync, calls = os.fsync, []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) > 1:  # the journal at the start still finds room
            raise OSError(28, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"out.txt: cannot be written \(No space left.*goes on"):
            write(path)
    assert write(path) == 1
    assert path.read_bytes() == b"".join(LINES)
