"""One writer a folder: a lock that names its holder, and ends with the process that holds it.

The system frees the lock when its process dies, however it dies, so none is ever stale. Where a
file system has no such locks, ``filelock`` writes process and host into the file, and takes the
lock of a process that is gone.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from utils.errors import UserError, limit
from utils.files import LOCK_FILE

__all__ = ["LOCK_FILE", "check_free", "locked"]

_HEAD = "process "  # how a lock begins: who holds it


@contextmanager
def locked(path: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file; at the end the file goes. Who holds it may take it again.

    Args:
        path: of the lock; its folder is made where it is missing, and goes again if it is empty
            at the end.
        what: flag and value that name what is locked, for errors.
        wait: seconds that another holder is waited for.

    Raises:
        UserError: naming the process that holds it, or where it cannot be taken at all.
    """
    _check_ours(path, what)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, is_singleton=True)
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise UserError(
            f"{what}: {_holder(path)} writes there. Wait until it ends, or name another folder."
        ) from error
    except OSError as error:
        raise UserError(
            f"{what}: no lock can be taken at {path} ({error.strerror or error}). Give the folder "
            "write permission, or name another."
        ) from error
    try:
        script = Path(sys.argv[0]).name
        path.write_text(f"{_HEAD}{os.getpid()} on {socket.gethostname()}\n{script}\n")
        yield
    finally:
        if lock.lock_counter == 1:
            path.unlink(missing_ok=True)  # while it is held: a waiting process makes a new one
        lock.release()
        for folder in made:
            with suppress(OSError):  # something is in it
                folder.rmdir()


def _check_ours(path: Path, what: str) -> None:
    """UserError where a file of somebody else has the name of the lock."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
    except OSError:  # not there; or taking the lock says what is wrong
        return
    if head and head != _HEAD.encode():
        raise UserError(f"{what}: {path} is not a lock of this program. Move it away.")


def check_free(path: Path, what: str) -> None:
    """UserError where another process holds a lock; ``what``: see ``locked``."""
    with locked(path, what, wait=1.0):  # one that only writes a result is waited for
        pass


def _holder(path: Path) -> str:
    """The process that holds a lock, in words; what it wrote is shown as text of others."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(1000).splitlines()
    except OSError:  # it has just ended
        lines = []
    return limit(", ".join(lines), 200)[1:-1] if lines else "another process"
