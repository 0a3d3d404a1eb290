"""A file that takes hours to write: what is written survives a kill, the same command goes on from
there, and the file takes its name only when it is whole.

Until then two files stand beside FILE. ``FILE.part`` grows. ``FILE.part.json``, the journal, says
what was asked for, and how much of the part counts. At the end the journal becomes ``FILE.json``,
the record by which a later run knows FILE for one of ours.
"""

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from utils.errors import UserError, limit
from utils.files import LOCK_FILE, aside_of, flush_folder, sha256, sweep
from utils.json_files import read_json, write_json
from utils.limits import Arguments, Checksum, Count, Text
from utils.locks import locked
from utils.own_files import check_place

# Makes the file of the second path out of the part at the first.
Converter = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Journal:
    """What a growing file is, and how far it is.

    Attributes:
        asked: all that its content depends on.
        done: of the work, in any unit.
        size: bytes of the part that count.
        crc32: of these bytes.
        sha256: of the whole file, once it is; None before.
    """

    program: Literal["ELMRec"]
    command: Text
    asked: Arguments
    done: Count = 0
    size: Count = 0
    crc32: Count = 0
    sha256: Checksum | None = None


def _beside(path: Path) -> tuple[Path, Path, Path]:
    """The part, the journal and the record of a file."""
    return tuple(path.with_name(path.name + ending) for ending in (".part", ".part.json", ".json"))


def _read_journal(path: Path) -> Journal | None:
    """A journal or record; None where there is none; UserError where it is another program's."""
    if not os.path.lexists(path):
        return None
    try:
        return read_json(path, Journal)
    except UserError as error:
        raise UserError(
            f"{path}: is not by this program, which would write there. Move it away, or name "
            f"another file. ({error})"
        ) from error


def check_growing(path: Path, overwrite: bool, flag: str = "--out") -> bool:
    """Check that a file may be begun, gone on with, or replaced: asked before the work.

    overwrite: a whole file of ours may go. One of others may not, nor one that was changed.

    Returns:
        whether it is whole already, and was killed before the journal became the record.

    Raises:
        UserError: where it may not; nothing is written.
    """
    part, journal_path, record_path = _beside(path)
    for place in (path, part, journal_path, record_path):
        if os.path.lexists(place) and not stat.S_ISREG(os.lstat(place).st_mode):
            raise UserError(f"{flag} {place}: a folder, a link or a device. Name another file.")
    journal, record = _read_journal(journal_path), _read_journal(record_path)
    if journal is None and os.path.lexists(part):
        raise UserError(
            f"{part}: is there already, and no {journal_path.name} beside it says that it is by "
            "this program. Move it away, or name another file."
        )
    if os.path.lexists(path):
        found = sha256(path)
        if journal and journal.sha256 == found:
            return True
        if record is None or record.sha256 != found:
            raise UserError(
                f"{flag} {path}: is there already, and is not by this program, or was changed "
                "since. Move it away, or name another file."
            )
        if not overwrite:
            raise UserError(
                f"{flag} {path}: is there already, and whole. Name another file, or add "
                "--overwrite to replace it."
            )
    check_place(path.parent, flag)
    return False


class GrowingFile:
    """A file that is being written; ``growing`` opens it."""

    def __init__(self, path: Path, journal: Journal, whole: bool) -> None:
        self._path, self._journal, self._whole = path, journal, whole
        self._part, self._journal_path, self._record_path = _beside(path)
        write_json(self._journal_path, asdict(journal))  # first: it says whose the part is
        if not whole:
            mode = "r+b" if os.path.lexists(self._part) else "w+b"
            self._file = open(self._part, mode)  # noqa: SIM115  until ``close``
            self._take_up()

    @property
    def done(self) -> int:
        """How much of the work is written."""
        return self._journal.done

    def _take_up(self) -> None:
        """Check what an earlier run has written, and drop what the journal does not know of."""
        crc, left = 0, self._journal.size
        while left and (block := self._file.read(min(left, 1 << 20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        if left or crc != self._journal.crc32:
            raise UserError(
                f"{self._part}: not as the earlier run left it; it was changed or cut short. "
                f"Remove it and {self._journal_path.name} to start anew."
            )
        self._file.seek(self._journal.size)
        self._file.truncate()

    def append(self, content: bytes, done: int) -> None:
        """Write on. Once this returns, content and ``done`` outlive a kill.

        Raises:
            UserError: where it cannot be written; what was there before still counts.
        """
        with self._kept():
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._note(
            done=done,
            size=self._journal.size + len(content),
            crc32=zlib.crc32(content, self._journal.crc32),
        )

    def finish(self, convert: Converter | None = None) -> None:
        """Give the file its name. convert: by which it is made out of the part; None: it is the
        part.

        Raises:
            UserError: where it cannot be written; the part is kept.
        """
        if not self._whole:
            new = self._part if convert is None else aside_of(self._path)
            with self._kept():
                if convert is not None:
                    convert(self._part, new)
                    with open(new, "rb") as file:
                        os.fsync(file.fileno())
                self._note(sha256=sha256(new))
                os.replace(new, self._path)
                flush_folder(self._path.parent)
        with self._kept():
            self._part.unlink(missing_ok=True)
            os.replace(self._journal_path, self._record_path)
            flush_folder(self._path.parent)

    def close(self) -> None:
        """Let go of the part, which stays."""
        if not self._whole:
            self._file.close()

    def _note(self, **changes: object) -> None:
        self._journal = replace(self._journal, **changes)
        write_json(self._journal_path, asdict(self._journal))

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror or error}). What is written so "
                f"far is kept in {self._part.name}; free space, and the same command goes on."
            ) from error


@contextmanager
def growing(path: Path, asked: dict, overwrite: bool, flag: str = "--out") -> Iterator[GrowingFile]:
    """A file to write on: from its beginning, or from where an earlier run was stopped.

    Args:
        asked: all that the content depends on. An earlier run must have asked for the same.
        overwrite: see ``check_growing``.

    Raises:
        UserError: where ``check_growing`` says no, another process writes there, the earlier run
            asked for something else, or the disk or the permissions say no.
    """
    part, journal_path, _ = _beside(path)
    with locked(path.with_name(f".{path.name}{LOCK_FILE}"), f"{flag} {path}"):
        for name in (path.name, journal_path.name):
            sweep(path.parent, only=name)
        whole = check_growing(path, overwrite, flag)
        journal = _read_journal(journal_path)
        if journal is None:
            journal = Journal("ELMRec", " ".join(["python", *sys.argv]), asked)
        _check_same(journal, asked, part, flag)
        file = GrowingFile(path, journal, whole)
        try:
            yield file
        finally:
            file.close()


def _check_same(journal: Journal, asked: dict, part: Path, flag: str) -> None:
    """UserError where a part is of something else than what is asked for now."""
    names = [*journal.asked, *(name for name in asked if name not in journal.asked)]
    other = [name for name in names if journal.asked.get(name) != asked.get(name)]
    if other:
        then, now = (limit(x.get(other[0])) for x in (journal.asked, asked))
        raise UserError(
            f"{flag}: {part} was begun with another {' and '.join(other)} ({other[0]} {then}, now "
            f"{now}). Ask for the same to go on, name another file, or remove {part.name} and "
            f"{part.name}.json to start anew."
        )
