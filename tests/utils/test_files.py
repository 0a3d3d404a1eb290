"""Files and folders that are whole or not there, whatever ends the writing."""

import os
from pathlib import Path

import pytest

from utils import files
from utils.errors import UserError
from utils.files import aside_of, read_file, sweep, whole_file, whole_folder, write_bytes


def fill(folder: Path, content: bytes) -> None:
    with whole_folder(folder) as aside:
        write_bytes(aside / "a", content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_replaces_another_and_leaves_nothing_aside(tmp_path) -> None:
    fill(tmp_path / "step", b"old")
    (tmp_path / "step" / "b").touch()
    fill(tmp_path / "step", b"new")
    assert names(tmp_path) == ["step"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "step").iterdir()} == {"a": b"new"}


def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path, monkeypatch) -> None:
    fill(tmp_path / "step", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        fill(tmp_path / "step", b"new")
    assert names(tmp_path) == ["step"]
    assert (tmp_path / "step" / "a").read_bytes() == b"old"


def test_a_kill_between_two_renames_is_mended_by_the_next_start(tmp_path) -> None:
    fill(tmp_path / "step", b"old")
    os.replace(tmp_path / "step", aside_of(tmp_path / "step", ".old"))
    fill(aside_of(tmp_path / "step"), b"new")
    write_bytes(aside_of(tmp_path / "model"), b"half a file")
    theirs = [".a.0123456789abcdef.old", ".notes.tmp"]  # somebody's own
    for name in theirs:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == [*theirs, "step"]
    assert (tmp_path / "step" / "a").read_bytes() == b"old"


def test_a_kill_before_the_old_folder_is_removed_keeps_the_new_one(tmp_path) -> None:
    fill(aside_of(tmp_path / "step", ".old"), b"old")
    fill(tmp_path / "step", b"new")
    fill(aside_of(tmp_path / "other", ".old"), b"its own")
    sweep(tmp_path, only="step")
    assert (tmp_path / "step" / "a").read_bytes() == b"new"
    assert len(names(tmp_path)) == 2  # what belongs to others is left


def test_a_folder_behind_a_link_is_replaced_where_it_is(tmp_path) -> None:
    fill(tmp_path / "disk" / "set", b"old")
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    fill(tmp_path / "set", b"new")
    assert (tmp_path / "set").is_symlink()
    assert (tmp_path / "disk" / "set" / "a").read_bytes() == b"new"


def test_a_planted_link_is_not_written_through(tmp_path, monkeypatch) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    monkeypatch.setattr(files.secrets, "token_hex", lambda n: "0" * 16)  # as if it were guessed
    aside_of(tmp_path / "rows.jsonl").symlink_to(victim)
    with pytest.raises(UserError, match="File exists"), whole_file(tmp_path / "rows.jsonl") as file:
        file.write(b"ours")
    assert victim.read_bytes() == b"theirs"


def test_a_file_larger_than_it_may_be_is_refused(tmp_path) -> None:
    write_bytes(tmp_path / "a", bytes(11))
    assert read_file(tmp_path / "a", "", 11) == bytes(11)
    with pytest.raises(UserError, match=r"a: larger than 10 bytes"):
        read_file(tmp_path / "a", "", 10)
