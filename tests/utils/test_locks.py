"""A folder has one writer, and a dead one holds nothing."""

import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.locks import check_free, locked


def hold(path: Path, held) -> None:
    with locked(path, "--checkpoint x"):
        held.set()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    spawn = multiprocessing.get_context("spawn")
    held = spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path / "run" / ".lock", held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


def test_the_second_is_told_who_is_first(other, tmp_path) -> None:
    holder = f"process {other.pid} on {socket.gethostname()}"
    with (
        pytest.raises(UserError, match=f"--checkpoint run: {holder}.* writes there"),
        locked(tmp_path / "run" / ".lock", "--checkpoint run"),
    ):
        raise AssertionError("two have it")
    assert (tmp_path / "run" / ".lock").exists()  # it is not ours to remove


def test_a_process_that_was_killed_holds_nothing(other, tmp_path) -> None:
    other.kill()
    other.join()
    assert (tmp_path / "run" / ".lock").exists()  # it had no time to remove it
    with locked(tmp_path / "run" / ".lock", "--checkpoint run"):
        assert f"process {os.getpid()}" in (tmp_path / "run" / ".lock").read_text()
    assert not list((tmp_path / "run").iterdir())


def test_nothing_is_left_of_folders_that_were_made_for_it(tmp_path) -> None:
    with locked(tmp_path / "a" / "b" / ".lock", "--out b"):
        pass
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b" / ".lock", "--out b"):
        (tmp_path / "a" / "notes").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["notes"]


def test_a_lock_that_cannot_be_taken(tmp_path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"--out x: no lock can be taken at .*File exists"),
        locked(tmp_path / "file" / ".lock", "--out x"),
    ):
        pass
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / ".lock").symlink_to(victim)  # planted
    with (
        pytest.raises(UserError, match="is not a lock of this program"),
        locked(tmp_path / ".lock", "--out x"),
    ):
        pass
    assert victim.read_text() == "theirs"


def test_a_file_of_somebody_else_is_no_lock(tmp_path) -> None:
    path = tmp_path / ".lock"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"--out x: .*\.lock is not a lock of this program"):
        check_free(path, "--out x")
    assert path.read_text() == "mine"
    path.write_text("")  # of a process that was killed before it could say its name
    check_free(path, "--out x")
    assert not path.exists()
