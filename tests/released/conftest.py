"""Files are opened in forks of one process with PyTorch imported: a new one takes two seconds."""

import multiprocessing
import os
from pathlib import Path

import pytest

from modules.released import reader, unpickle

_FORKS = multiprocessing.get_context("forkserver")
# With those of tests/conftest.py, for there is one such process for all tests.
_PRELOAD = ["modules.training.resume", "modules.recommend", "modules.released.unpickle"]


def _main(errors: Path, *arguments: str) -> None:
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    unpickle.main(*arguments)


def _open_in_fork(path: Path, folder: Path, memory: int, seconds: int) -> tuple[int, str]:
    """Instead of ``reader._open_elsewhere``; the same limits hold."""
    _FORKS.set_forkserver_preload(_PRELOAD)
    errors = folder / "errors.txt"
    arguments = errors, str(path.absolute()), str(folder), str(memory), str(seconds)
    process = _FORKS.Process(target=_main, args=arguments)
    process.start()
    process.join(60)
    process.kill()
    process.join()
    return process.exitcode, errors.read_text().strip()


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No new process for each file that a test reads."""
    monkeypatch.setattr(reader, "_open_elsewhere", _open_in_fork)
