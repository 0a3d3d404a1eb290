"""A run's folder: files that are whole or not there, and what the run was started with."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import UserError
from utils.inputs import parse_json, read_file

MISSING = "--checkpoint names a folder that pretrain.py wrote."


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to that takes its name only when all is written: write aside, flush to
    the disk, rename. A reader never sees half a file; where an error ends the writing, what stood
    there before still does.

    Raises:
        UserError: naming the path, where the disk or the permissions say no.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}). What stood there before is "
            "unchanged; free space or choose another folder."
        ) from error
    finally:
        with suppress(OSError):  # gone already, if all went well; if not, that error is told
            aside.unlink()


def write_bytes(path: str | Path, content: bytes) -> None:
    """``whole_file`` of bytes; UserError, naming the path, where it cannot be written."""
    with whole_file(path) as file:
        file.write(content)


def write_folder(
    target: Path, files: Mapping[str, bytes], index: str, values: Mapping[str, Any]
) -> None:
    """A folder that is whole or not there: written aside, flushed, renamed.

    Args:
        target: the folder; one of that name is replaced.
        files: contents by name.
        index: name of a JSON file of ``values``, to which the files' checksums are added.

    Raises:
        UserError: naming the folder, where the disk or the permissions say no.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(".*.tmp"):  # of a process that was killed
            shutil.rmtree(left)
        aside.mkdir()
        for name, content in files.items():
            write_bytes(aside / name, content)
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        write_json(aside / index, {**values, "sha256": checksums})
        if target.exists():
            shutil.rmtree(target)
        os.replace(aside, target)
        _flush_folder(target.parent)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({error.strerror or error}). What was saved before is "
            "unchanged; free space or choose another folder."
        ) from error
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """``write_bytes`` of UTF-8 text.

    A path of the command line may hold bytes that are not UTF-8; Python keeps them as halves of
    surrogate pairs, which are written as escapes. In a JSON string they read back as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def to_json(value: Any) -> str:
    """Indented JSON, as all files of a run have it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """``write_bytes`` of indented JSON."""
    write_text(path, to_json(value))


def write_jsonl(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """``write_bytes`` of one JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def check_writable(folder: str | Path) -> None:
    """UserError where no file can be made in a folder: before an hour's work, not after it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder}: results cannot be written there ({error.strerror or error}). Give the "
            "folder write permission, or copy it to where you have that."
        ) from error


def sha256(path: str | Path) -> str:
    """The checksum of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: str | Path) -> Any:
    """Read a JSON file of a run's folder; UserError, naming it, where it is missing or broken."""
    return parse_json(path, read_file(path, MISSING))


def read_jsonl(path: str | Path) -> list[Any]:
    """Read what ``write_jsonl`` wrote; UserError, naming file and line, where it is broken."""
    lines = read_file(path, MISSING).splitlines()  # of bytes: at line ends and nowhere else
    return [parse_json(path, line, number) for number, line in enumerate(lines, start=1)]
