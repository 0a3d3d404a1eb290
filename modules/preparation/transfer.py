"""One file from a folder or a server: resumed where it broke off, bounded in size and in time."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from modules.preparation.sources import TAG, Interrupted, Known, StartAgain, Unreachable, answer
from utils.console import progress, say
from utils.errors import UserError
from utils.json_files import write_json

TRIES = 4  # of an interrupted transfer, before it is left to the next call
PAUSE = 1.0  # seconds before the second try; doubled before each later one
ANSWER = 20  # seconds that a source has to begin its answer
WINDOW, SLOWEST = 60, 4096  # seconds, and the fewest bytes a second of each of them
_WAITING = 4  # blocks that may wait to be written


def fetch(source: str, name: str, folder: Path, most: int) -> Path | None:
    """Get one file into a folder, resuming what an earlier call left as ``<name>.part``.

    Args:
        source: of the file's folder: http(s)://, file://, or a path.
        name: of the file; never a server's word.
        most: bytes that the file may have.

    Returns:
        The file; None where the source has no file of this name.

    Raises:
        UserError: where the source cannot be read, gives something else than the file, or is
            interrupted every time; where the folder cannot be written to.
        Unreachable: where there is no answer, not even to the first request. The network is then
            down, or the server is, and nobody is to wait for further tries.
    """
    target, part = folder / name, folder / f"{name}.part"
    if target.is_file() and not target.is_symlink():  # complete, from an earlier call
        return target
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            if not _transfer(source, name, part, most):
                return None
            part.replace(target)
            _tag_file(part).unlink()
            return target
        except StartAgain as error:
            problem: Exception = error
            say(f"{name}: starts again ({error})")
            forget(part)
        except Interrupted as error:
            if isinstance(error, Unreachable) and attempt == 0:
                raise
            problem = error
            have = part.stat().st_size if part.exists() else 0
            say(f"{name}: interrupted after {have:,} bytes ({error})")
        except OSError as error:
            raise UserError(
                f"{part}: cannot be written ({error.strerror or error}). Free space or choose "
                "another folder."
            ) from error
    again = f"Run the command again to continue from {part}."
    if not _known(part).have:
        forget(part)
        again = "Run the command again."
    raise UserError(f"{source}/{name}: interrupted {TRIES} times ({problem}). {again}")


def forget(part: Path) -> None:
    """Delete a part and its tag."""
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _tag_file(part: Path) -> Path:
    """The file that says which version ``part`` is of, and how long that is."""
    return part.with_name(part.name + ".tag")


def _known(part: Path) -> Known:
    """What can be continued of ``part``; nothing, unless it is known what it is of."""
    tag = _tag_file(part)
    if part.is_symlink() or tag.is_symlink() or not (part.is_file() and tag.is_file()):
        return Known()
    try:
        said = json.loads(tag.read_text())
        size, version = said["size"], said["tag"]
    except (ValueError, TypeError, KeyError):  # of another version of this program, or damaged
        return Known()
    if not (isinstance(version, str) and TAG.fullmatch(version)):
        return Known()
    return Known(part.stat().st_size, version, size if type(size) is int else None)


def _transfer(source: str, name: str, part: Path, most: int) -> bool:
    """Append to ``part`` what is missing; False where there is no such file. Raises Interrupted,
    StartAgain."""
    known = _known(part)
    with closing(_watched(answer(source, name, known))) as coming:
        reply = next(coming)
        if reply is None:
            return False
        too_large = f"{source}/{name}: has more than {most:,} bytes, which the file cannot have. "
        too_large += "Give another source with --from."
        if reply.size is not None and reply.size > most:
            forget(part)
            raise UserError(too_large)
        if reply.start == 0:
            forget(part)
            write_json(_tag_file(part), {"tag": reply.tag, "size": reply.size})  # makes the folder
        have = reply.start
        with part.open("ab") as file, progress(reply.size or 0, name, "B") as bar:
            bar.update(have)
            for block in coming:
                if reply.size is not None and have + len(block) > reply.size:
                    raise StartAgain(f"more came than the {reply.size:,} bytes that it has")
                if have + len(block) > most:
                    forget(part)
                    raise UserError(too_large)
                have += file.write(block)
                bar.update(len(block))
    if reply.size is not None and have != reply.size:
        raise Interrupted(f"{have:,} of {reply.size:,} bytes received")
    return True


def _watched(coming: Iterator[Any]) -> Iterator[Any]:
    """What an iterator yields, or Interrupted where bytes come slower than ``SLOWEST``, and
    Unreachable where nothing comes in ``ANSWER``.

    Another thread reads it: a server that sends its headers a byte a minute would hold this one in
    the midst of a line.
    """
    waiting: queue.Queue[Any] = queue.Queue(_WAITING)
    left = threading.Event()

    def read() -> None:
        try:
            for thing in coming:
                waiting.put(thing)
                if left.is_set():
                    return
            waiting.put(StopIteration())
        except Exception as error:  # raised where it is waited for
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    try:
        began, got, answered = time.monotonic(), 0, False
        while True:
            seconds = began + (WINDOW if answered else ANSWER) - time.monotonic()
            if seconds <= 0:
                if not answered:
                    raise Unreachable(f"no answer in {ANSWER} seconds")
                if got < SLOWEST * WINDOW:
                    least = f"fewer than {SLOWEST:,} a second"
                    raise Interrupted(f"{got:,} bytes came in {WINDOW} seconds, {least}")
                began, got = time.monotonic(), 0
                continue
            try:
                thing = waiting.get(timeout=seconds)
            except queue.Empty:
                continue
            if isinstance(thing, StopIteration):
                return
            if isinstance(thing, Exception):
                raise thing
            answered = True
            yield thing
            got += len(thing) if isinstance(thing, bytes) else 0
    finally:
        left.set()
        while not waiting.empty():  # so that the other thread can go on, and end
            waiting.get_nowait()
