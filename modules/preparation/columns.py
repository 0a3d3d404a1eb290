"""What a raw file holds, whatever its format: a chunk of columns, a sample, lines that are bad."""

from bisect import insort
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import UserError


class Columns(NamedTuple):
    """A chunk of the wanted columns."""

    numbers: Sequence[int]  # of each row in the file, for messages
    unit: str  # what is numbered: "line" or "row"
    values: list[list[Any]]  # a list per column, each as long as ``numbers``
    share: float  # of the file that is read by now, 0 to 1


class Sample(NamedTuple):
    """The columns of a file, and what the first rows hold."""

    names: list[str]
    values: dict[str, list[Any]]  # of each column; a row without a value is left out


class BadLines:
    """Lines that cannot be used: counted, and the first few kept to be shown. strict: an error.

    It also takes remarks about rows that were read, but perhaps not as their writer meant them.
    """

    SHOWN = 5

    def __init__(self, path: Path, strict: bool) -> None:
        self.path, self.strict = path, strict
        self.count = 0
        self._first: list[tuple[int, str]] = []
        self._remarks: dict[str, tuple[int, str, int]] = {}  # text -> count, first place, lines

    def add(self, number: int, unit: str, problem: str) -> None:
        """Count one. number, unit: 7, "line". Raises UserError under --strict."""
        message = f"{self.path}, {unit} {number}: {problem}"
        if self.strict:
            raise UserError(f"{message}. Fix it, or leave out --strict to skip it.")
        self.count += 1
        insort(self._first, (number, message))  # within a chunk they do not come in order
        del self._first[self.SHOWN :]

    def remark(self, text: str, number: int, unit: str, count: int = 1, lines: int = 0) -> None:
        """Count rows that a remark is about. number: of the first of them; lines: that they take,
        where they take several."""
        before, place, lines_before = self._remarks.get(text, (0, f"{unit} {number}", 0))
        self._remarks[text] = before + count, place, lines_before + lines

    @property
    def first(self) -> list[str]:
        """What is wrong with the first few."""
        return [message for _, message in self._first]

    @property
    def remarks(self) -> list[str]:
        """``rows with a field of several lines: 3 (the first: line 6)``, one for each text."""
        return [
            f"{text}: {count:,} ({f'{lines:,} lines; ' if lines else ''}the first: {place})"
            for text, (count, place, lines) in self._remarks.items()
        ]
