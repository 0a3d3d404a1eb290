"""Files: written so that they are whole or not there, and read so that an error names them.

JSON is read strictly: a key that is given twice, NaN and Infinity are refused, though Python would
take them.
"""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import UserError, limit

MISSING = "--checkpoint names a folder that pretrain.py wrote."
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8; some editors put it at the start of a file


# ---------------------------------------------------------------------------------- writing


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to that takes its name only when all is written: write aside, flush to
    the disk, rename. A reader never sees half a file; where an error ends the writing, what was
    there before still is.

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
            f"{path}: cannot be written ({error.strerror or error}). What was there before is "
            "unchanged; free space or choose another folder."
        ) from error
    finally:
        with suppress(OSError):  # gone already, if all went well; if not, that error is raised
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


# ---------------------------------------------------------------------------------- reading


def check_file(path: str | Path, missing: str) -> None:
    """UserError, naming the path, where it is not a regular file. missing: what to say then."""
    with _readable_path(path, missing):
        # A folder, or a pipe, from which a reader would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: a folder or a device; it must be a file.")


def read_file(path: str | Path, missing: str) -> bytes:
    """All of a file; UserError, naming the path, where it cannot be read.

    missing: what to say where there is no such file.
    """
    check_file(path, missing)
    with _readable_path(path, missing):
        return Path(path).read_bytes()


@contextmanager
def _readable_path(path: str | Path, missing: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {missing}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}).") from error


def parse_json(path: str | Path, content: bytes, first_line: int = 1) -> Any:
    """The value of a JSON text.

    Args:
        path: of the file, for errors.
        content: UTF-8, with or without a byte order mark.
        first_line: number of the line at which it starts, for errors.

    Raises:
        UserError: naming the path, and the line or what is known of the place.
    """

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise UserError(
                f"{path}: key {limit(twice)} is given twice in one map. Remove one of the two."
            )
        return found

    def constant(name: str) -> None:
        raise UserError(f"{path}: {name} is not a number in JSON. Put a number in its place.")

    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
        return json.loads(text, object_pairs_hook=table, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {first_line + error.lineno - 1}, column {error.colno}: broken JSON "
            f"({error.msg}). The file may have been cut short."
        ) from error
    except RecursionError as error:
        raise UserError(f"{path}: lists or maps are nested too deep to be read.") from error
    except ValueError as error:  # Python reads whole numbers of up to 4300 digits
        raise UserError(f"{path}: holds a number that is too long ({error}).") from error


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what a library raises over a file into a UserError that names the file.

    transformers, tokenizers and safetensors raise whatever they meet first in a damaged file:
    KeyError, TypeError, plain Exception. So all are caught, and the kind is said.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise UserError(
            f"{what}: cannot be read, damaged or cut short as it seems ({type(error).__name__}: "
            f"{limit(reason, 200)})."
        ) from error


def read_json(path: str | Path) -> Any:
    """Read a JSON file of a run's folder; UserError, naming it, where it is missing or broken."""
    return parse_json(path, read_file(path, MISSING))


def read_jsonl(path: str | Path) -> list[Any]:
    """Read what ``write_jsonl`` wrote; UserError, naming file and line, where it is broken."""
    lines = read_file(path, MISSING).splitlines()  # of bytes: at line ends and nowhere else
    return [parse_json(path, line, number) for number, line in enumerate(lines, start=1)]
