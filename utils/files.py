"""Files and folders: written so that they are whole or not there, and read so that an error names
them."""

import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError, limit

MISSING = "--checkpoint names a folder that pretrain.py wrote."
LOCK_FILE = ".elmrec.lock"  # in a folder that a process writes to (utils/locks.py)
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
    aside = aside_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A new file, never one that is there, nor what a link points at.
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
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


@contextmanager
def whole_folder(target: str | Path) -> Iterator[Path]:
    """A folder to fill that takes its name only when all is in it. Files in it are to be written
    by ``whole_file``, which flushes them.

    A folder that has the name already is renamed aside first, and removed last. Where the process
    is killed between the two renames, ``sweep`` gives it its name back.

    Raises:
        UserError: naming the folder, where the disk or the permissions say no.
    """
    target = Path(target).resolve()  # of a link, where it points
    aside, old = aside_of(target), aside_of(target, _OLD)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        if target.exists():
            os.replace(target, old)
        os.replace(aside, target)
        flush_folder(target.parent)
        if old.exists():
            shutil.rmtree(old)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({error.strerror or error}). What was saved before is "
            "unchanged; free space or choose another folder."
        ) from error
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        if aside.is_dir():
            shutil.rmtree(aside)


_NEW, _OLD = ".tmp", ".old"  # endings of what is written or renamed aside
_ASIDE = re.compile(r"\.(?P<name>.+)\.elmrec-[0-9a-f]{16}(?P<ending>\.tmp|\.old)", re.DOTALL)


def aside_of(path: Path, ending: str = _NEW) -> Path:
    """A hidden name beside a file or folder, which nobody can guess."""
    return path.with_name(f".{path.name}.elmrec-{secrets.token_hex(8)}{ending}")


def sweep(folder: Path, only: str | None = None) -> None:
    """Remove what killed processes left aside in a folder, and give back its name to what was
    renamed aside and not replaced. The caller holds the lock of what it sweeps, so that no living
    process writes there.

    only: sweep what was left beside the file or folder of this name.

    Raises:
        UserError: where something cannot be removed.
    """
    try:
        left = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in left:
            match = _ASIDE.fullmatch(path.name)
            if match is None or only not in (None, match["name"]):
                continue
            if match["ending"] == _OLD and not (folder / match["name"]).exists():
                os.replace(path, folder / match["name"])
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise UserError(
            f"{folder}: what an earlier run left there cannot be removed ({error}). Remove it, or "
            "choose another folder."
        ) from error


def flush_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder as they are now."""
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


def foreign(folder: Path) -> list[str]:
    """Names of what is in a folder but a lock and what a killed process of ours left aside."""
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name != LOCK_FILE and not _ASIDE.fullmatch(name)]


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


def as_typed(folder: str | Path) -> Path:
    """An absolute path whose name is the one that was typed: where that is a link, the link's."""
    return Path(os.path.abspath(folder))


def check_file(path: str | Path, missing: str) -> None:
    """UserError, naming the path, where it is not a regular file. missing: what to say then."""
    with readable_path(path, missing):
        # A folder, or a pipe, from which a reader would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: a folder or a device; it must be a file.")


def read_file(path: str | Path, missing: str, most: int | None = None) -> bytes:
    """All of a file; UserError, naming the path, where it cannot be read.

    Args:
        missing: what to say where there is no such file.
        most: bytes that it may have.
    """
    check_file(path, missing)
    with readable_path(path, missing):
        if most is not None and os.path.getsize(path) > most:
            raise UserError(f"{path}: larger than {most:,} bytes; it is no file of ours.")
        return Path(path).read_bytes()


@contextmanager
def readable_path(path: str | Path, missing: str) -> Iterator[None]:
    """Turn what the system says of a path that cannot be read into a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {missing}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}).") from error


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
