"""Code that a file could make hang or fill the memory, run in a process with an end to both.

The processes are forks of one that has imported the reader, which takes seconds.
"""

import multiprocessing
import resource
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from modules.data.reader import load_dataset
from modules.released import import_checkpoint
from modules.released.convert import import_model
from modules.released.reader import read_released, read_torch_file
from utils.errors import UserError

SECONDS = 20
ROOM = 300 << 20  # bytes beyond what the process has when it begins

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.released.bounded"])


def read(path: Path) -> None:
    """Read any file of torch.save."""
    read_torch_file(path)


def convert(path: Path, folder: Path) -> None:
    """Read a released model and import it."""
    import_model(read_released(path), load_dataset(folder), None, None)


def command(*arguments: object) -> None:
    """modules.released.import_checkpoint."""
    sys.argv = ["import_checkpoint", *map(str, arguments)]
    import_checkpoint.main()


def _run(pipe: Connection, function: Callable[..., None], arguments: tuple) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        function(*arguments)
        pipe.send("no error")
    except UserError as error:
        pipe.send(str(error))
    except BaseException:
        pipe.send(traceback.format_exc())


def outcome(function: Callable[..., None], *arguments: object) -> str:
    """The message of the UserError, ``no error``, a traceback; or ``killed`` where it took too
    long or died."""
    ours, theirs = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_run, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(SECONDS) else "killed"
    except EOFError:
        return "killed"
    finally:
        process.kill()
        process.join()
