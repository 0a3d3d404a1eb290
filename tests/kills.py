"""SIGKILL before the n-th change that a script makes to the files below a folder."""

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import start

# Audit events of Python's that change files; "open" counts where it is for writing.
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}


def arm(nth: int, folder: str) -> None:
    """Have this process die before its nth change below a folder, counted from 1."""
    left = itertools.count(nth, -1)

    def hook(event: str, args: tuple) -> None:
        if event not in _CHANGES or not isinstance(args[0], str | os.PathLike):
            return
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if str(args[0]).startswith(folder) and next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_at(nth: int, below: Path, *command: object, output: Path) -> bool:
    """Run a script that is killed at its nth change below a folder; False where it ended before
    it. One that fails is an error."""
    process = start(*command, output=output, KILL_AT=nth, KILL_BELOW=below)
    process.join(120)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"hangs: {output.read_text()[-2000:]}")
    if process.exitcode == -signal.SIGKILL:
        return True
    assert process.exitcode == 0, output.with_suffix(".err").read_text()[-3000:]
    return False


def moments(few: int | None) -> Iterator[int]:
    """1, 2, ...: all moments to be killed at; or every ``few``-th of them."""
    return itertools.count(1, few or 1)


def strays(folder: Path) -> list[str]:
    """Hidden files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))
