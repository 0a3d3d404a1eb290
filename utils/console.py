"""What a person at the terminal sees: lines with the time, and progress bars.

Ids, names and texts come from files of other people. None of them may steer the terminal, break a
line or turn its order round: all that is printed goes through ``printable``.
"""

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from utils import distributed
from utils.errors import UserError

# Control and format characters (those that turn the direction of writing are among the latter),
# separators of lines and paragraphs, halves of surrogate pairs.
_HIDDEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_NO_WIDTH = {"Mn", "Me", "Cf"}
_ANY_LENGTH = 1_000_000
_JOINERS = "\u200c\u200d"  # format characters that Persian words and emoji are written with


def is_hidden(character: str) -> bool:
    """Does a terminal obey this character in place of showing it?"""
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS


def printable(text: str) -> str:
    """The text with each hidden character as Python escapes it: an escape is ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode("ascii") if is_hidden(c) else c for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes: Chinese characters and emoji two each,
    accents that stand on others none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(c) in _NO_WIDTH for c in text)


def terminal_columns() -> int:
    """Columns of the terminal that is written to; in a file or a pipe, a line has no end."""
    return shutil.get_terminal_size((_ANY_LENGTH, 0)).columns


def progress(total: int, title: str, unit: str, shown: bool = True, done: int = 0) -> tqdm:
    """A progress bar: live at a terminal, a line every half minute in a log file. done: of the
    total, by an earlier run."""
    interval = 0.1 if sys.stderr.isatty() else 30.0
    shown = shown and distributed.is_main()
    return tqdm(
        total=total,
        desc=title,
        unit=unit,
        disable=not shown,
        mininterval=interval,
        maxinterval=60,
        initial=done,
    )


def printable_json(text: str) -> str:
    """JSON in which no hidden character stands as it is; what it says is the same."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if is_hidden(c) else c for c in text)


def say(message: str) -> None:
    """One line for the person at the terminal, with the time; of several processes, one speaks."""
    if distributed.is_main():
        print(time.strftime("[%H:%M:%S] ") + printable(message), flush=True)


@contextmanager
def by_product(what: str) -> Iterator[None]:
    """Around the writing of ``what`` beside results: where it fails, that is said, no more."""
    try:
        yield
    except UserError as error:
        say(f"warning: {what} was not written, the results were. {error}")


def open_streams() -> None:
    """Make both output streams such that a script can print: of a shell that closed one
    (``>&-``), nothing is seen; what a terminal cannot show is escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  to the end
        getattr(sys, name).reconfigure(errors="backslashreplace")


class _Lenient:
    """An output stream, until it fails: from then on nothing is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.failed = stream, False

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        if not self.failed:
            try:
                self._stream.write(text)
                self._stream.flush()  # a failure is met here, not when the program ends
            except OSError as error:
                self.failed = True
                if self._stream is sys.__stdout__:
                    print(f"standard output failed ({error.strerror}); going on", file=sys.stderr)
        return len(text)

    def flush(self) -> None:
        """All is flushed."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def unattended() -> Iterator[None]:
    """Within this, a terminal that is closed, a pipe whose reader has gone or a full disk under
    ``> log.txt`` end nothing: the work counts for more than what is said of it."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Lenient(stream) for stream in streams)
    try:
        yield
    finally:
        broken = sys.stdout.failed
        sys.stdout, sys.stderr = streams
        if broken:  # what is buffered cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
