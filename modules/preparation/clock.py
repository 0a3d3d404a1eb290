"""A column of times, held to one unit.

Where numbers stand among dates, or seconds among milliseconds, the order of the rows would be wrong
without a word: that is an error. A number shows its unit by its size: times of 1980 to 2100 in
seconds, milliseconds, ... lie apart. Of other units (days, minutes, 20200205, ...) it is the gap:
real times, and counters too, do not leap to several times as much with nothing in between.
"""

import math
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.preparation.columns import BadLines
from modules.preparation.plain_dates import plain_dates
from modules.preparation.times import Moment, read_moment
from utils.errors import UserError, limit

_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
# Seconds from 1980 to 2100. No real column reaches from there to a thousand times as much.
_SINCE, _UNTIL = 315_532_800, 4_102_444_800
_COUNTERS = 1000  # below it a number may be a mark for "no time"
_STEPS = 8  # sizes are told apart by steps of 2 ** (1 / 8)
_GAP = 20  # steps without a number: a factor of 5.7
_SPREAD = 13  # steps that times in one unit take: a factor of 3. Counters from 0 take more
# 2020020500 is the hour 0 of a day; as seconds it would be of 2032 or later.
_FIRST_HOUR, _LAST_HOUR = 1_980_010_100, 2_100_123_123
_COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class Times(NamedTuple):
    """Times of a chunk, sorted by ``wholes``, of equal ones by ``parts``."""

    wholes: np.ndarray  # (n,) int64
    parts: np.ndarray  # (n,) int64


class Clock:
    """Reads a column of times, chunk after chunk, and holds it to one unit."""

    def __init__(self, path: Path, column: str, bad: BadLines) -> None:
        """bad: takes the remark that some dates have a zone and some have none."""
        self._path, self._column, self._bad = path, column, bad
        self._is_date: bool | None = None  # None: no time was read yet
        self._unit: int | None = None  # index of _UNITS, once a number shows it
        self._has_zone: bool | None = None
        self._sizes: dict[int, _Seen] = {}  # size in steps -> the first number of it
        self._hours: _Seen | None = None  # the first number that is an hour of a day by its digits

    def read(self, values: list, numbers: Any, unit: str) -> tuple[Times, list[int]]:
        """The times of a chunk, and the places of values that are none (their times are 0).

        Args:
            numbers, unit: where the values are in the file, as in Columns.

        Raises:
            UserError: naming the first line whose unit is not that of the lines before.
        """
        wholes = _whole_numbers(values)
        if wholes is not None:
            wrong, parts = [], np.zeros(len(wholes), dtype=np.int64)
            moments = [Moment(0, 0, False, False)]  # in the place of all: numbers have no zone
        elif (plain := plain_dates(values)) is not None:
            wholes, has_zone = plain
            wrong, parts = [], np.zeros(len(wholes), dtype=np.int64)
            moments = [Moment(0, 0, True, has_zone)]  # likewise
        else:
            read = list(map(read_moment, values))
            first = next((moment for moment in read if moment is not None), None)
            if first is None:
                return Times(*np.zeros((2, len(values)), dtype=np.int64)), list(range(len(values)))
            wrong = [k for k, moment in enumerate(read) if moment is None] if None in read else []
            none = first._replace(whole=0, part=0)
            moments = [moment or none for moment in read] if wrong else read
            wholes, parts = (np.array(part, np.int64) for part in list(zip(*moments))[:2])
        try:
            self._check_kind(moments, numbers, unit)
            if self._is_date is False:
                self._check_magnitude(wholes, wrong)
                self._note_sizes(wholes, values, numbers, unit)
        except _UnitChanged as changed:
            raise UserError(
                f"{self._path}, {unit} {numbers[changed.at]}: the time, {self._column!r}, is "
                f"{limit(values[changed.at])}, {changed.reason}. A column of times must have one "
                "unit, else the order of the rows is wrong. Convert such rows, or take them out."
            ) from None
        return Times(wholes, parts), wrong

    def _check_kind(self, moments: list[Moment], numbers: Any, unit: str) -> None:
        """Numbers or dates, not both; a remark where only some dates have a zone."""
        if self._is_date is None:
            _, _, self._is_date, self._has_zone = moments[0]
        if set(zip(*list(zip(*moments))[2:])) == {(self._is_date, self._has_zone)}:
            return
        for k, moment in enumerate(moments):
            if moment.is_date is not self._is_date:
                one, other = ("a date", "numbers") if moment.is_date else ("a number", "dates")
                raise _UnitChanged(k, f"{one}; the rows before it have {other}")
            if moment.has_zone is not self._has_zone:
                self._bad.remark(
                    "rows whose time has a zone, among rows whose time has none and is taken as UTC"
                    if moment.has_zone
                    else "rows whose time has no zone and is taken as UTC, among rows with one",
                    numbers[k],
                    unit,
                )

    def _check_magnitude(self, wholes: np.ndarray, wrong: list[int]) -> None:
        found = {}  # unit -> the first place
        for k in range(len(_UNITS)):
            inside = (wholes >= _SINCE * 1000**k) & (wholes < _UNTIL * 1000**k)
            inside[wrong] = False
            if inside.any():
                found[k] = int(inside.argmax())
        for k, at in sorted(found.items(), key=lambda pair: pair[1]):
            if self._unit is None:
                self._unit = k
            if k != self._unit:
                before = f"the rows before it have {_UNITS[self._unit]}"
                raise _UnitChanged(at, f"by its size {_UNITS[k]} since 1970; {before}")

    def _note_sizes(self, wholes: np.ndarray, values: list, numbers: Any, unit: str) -> None:
        """wholes: (n,), 0 where a value is no time."""
        places = np.flatnonzero(wholes >= _COUNTERS)
        steps = (np.log2(wholes[places]) * _STEPS).astype(np.int64)
        for step in np.flatnonzero(np.bincount(steps)).tolist():
            if step not in self._sizes:
                at = int(places[(steps == step).argmax()])
                self._sizes[step] = _Seen(numbers[at], unit, values[at])
        if self._hours is None:
            inside = np.flatnonzero((wholes >= _FIRST_HOUR) & (wholes <= _LAST_HOUR)).tolist()
            at = next((at for at in inside if is_compact_date(int(wholes[at]))), None)
            self._hours = None if at is None else _Seen(numbers[at], unit, values[at])

    def check_sizes(self) -> None:
        """For the end of the file: UserError where its numbers are of two sizes, so that they
        cannot be of one unit."""
        steps, since = sorted(self._sizes), _step(_SINCE)
        for k, (low, high) in enumerate(pairwise(steps), start=1):
            if high - low > _GAP and high >= since and low - steps[0] <= _SPREAD:
                self._refuse([self._sizes[step] for step in steps[:k]],
                             [self._sizes[step] for step in steps[k:]])  # fmt: skip
        seconds = [step for step in steps if since <= step < _step(_FIRST_HOUR)]
        if self._hours and seconds:
            self._refuse([self._sizes[step] for step in seconds], [self._hours])

    def _refuse(self, some: list["_Seen"], others: list["_Seen"]) -> None:
        before, changed = sorted((min(some), min(others)))
        raise UserError(
            f"{self._path}, {changed.unit} {changed.number}: the time, {self._column!r}, is "
            f"{limit(changed.value)}; {before.unit} {before.number} has {limit(before.value)}, and "
            "the two cannot be of one unit. A column of times must have one unit, else the order "
            "of the rows is wrong. Convert such rows, or take them out."
        )


class _Seen(NamedTuple):
    """A number and where it is in the file."""

    number: int
    unit: str
    value: Any


class _UnitChanged(Exception):
    """at: place in the chunk."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at, self.reason = at, reason


def _step(whole: int) -> int:
    """The size of a number."""
    return int(math.log2(whole) * _STEPS)


def _whole_numbers(values: list) -> np.ndarray | None:
    """(n,) int64 where all values are whole numbers, or all are texts of some; else None."""
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = "".join(values)
        if "_" in joined or not joined.isascii():  # int() takes more than a number
            return None
    elif kinds != {int}:
        return None
    try:
        return np.fromiter(map(int, values), np.int64, len(values))
    except (ValueError, OverflowError):
        return None


def in_epoch(whole: int) -> bool:
    """Is a number a time from 1980 to 2100, in one of the units since 1970?"""
    return any(_SINCE <= whole // 1000**k < _UNTIL for k in range(len(_UNITS)))


def is_compact_date(number: int) -> bool:
    """Is a number a date of 1980 to 2100 as its digits, such as 20200205 or 20200205000700?"""
    text = str(number)
    if len(text) not in _COMPACT or not 1980 <= int(text[:4]) <= 2100:
        return False
    try:
        datetime.strptime(text, _COMPACT[len(text)])
    except ValueError:
        return False
    return True


def ranks(wholes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(n,) int64 in the order of the times, equal where the times are equal."""
    if not parts.any():
        return wholes
    order = np.lexsort((parts, wholes))
    new = np.zeros(len(order), dtype=np.int64)
    new[1:] = (np.diff(wholes[order]) != 0) | (np.diff(parts[order]) != 0)
    rank = np.empty_like(new)
    rank[order] = np.cumsum(new)
    return rank
