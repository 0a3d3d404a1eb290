"""Does a column that nobody named hold times? Their order would be lost without a word.

What a column holds is seen by its shape: digits in groups, or names of months, are a date even
where times.py cannot read it.
"""

import re
import shlex
from pathlib import Path
from typing import Any

from modules.preparation.clock import in_epoch, is_compact_date
from modules.preparation.columns import Sample
from modules.preparation.times import Moment, problem_of, read_moment
from utils.errors import UserError, limit

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_WORDS_OF_TIMES = {"time", "times", "date", "datetime", "timestamp", "ts", "created", "when"}
_WORDS_OF_CLOCKS = _WORDS_OF_TIMES | {"clock", "hour", "at"}
_WORDS_OF_IDS = {"id", "isbn", "asin", "code", "phone", "key"}
# Words of names -> the numbers that are then times of 1980 to 2100.
_COUNTED = {
    "days": (3652, 47_482),
    "hours": (87_648, 1_139_568),
    "minutes": (5_258_880, 68_374_080),
}
_MOST_ARE = 0.9  # share of a column's first values that must be times
_LONGEST = 64  # characters of a time

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_SEP = r"[\s.,/-]+"
_DAY = r"\d\d?(?:st|nd|rd|th)?"
_SHAPES = re.compile(
    rf"""(?:\w{{2,12}}\.?,?\s+)?(?:                  # a weekday
      \d{{1,2}}([./-])\s?\d{{1,2}}\1\s?(?:\d{{4}}|\d\d)
    | \d{{4}}([./-])\d{{1,2}}\2\d{{1,2}}
    | (?:19|20)\d\d[/-](?:0[1-9]|1[0-2])             # a year and a month
    | (?:0[1-9]|1[0-2])[/-](?:19|20)\d\d
    | \d{{4}}\s?年\s?\d{{1,2}}\s?月(?:\s?\d{{1,2}}\s?日)?
    | \d{{4}}\s?년\s?\d{{1,2}}\s?월(?:\s?\d{{1,2}}\s?일)?
    | {_DAY}{_SEP}{_MONTH}{_SEP}\d{{2,4}}
    | {_MONTH}{_SEP}{_DAY}{_SEP}\d{{2,4}}
    | {_MONTH}{_SEP}\d{{4}}
    | \d\d?\.?\s(?:de\s)?[^\W\d_]{{3,12}}\.?\s(?:de\s)?\d{{4}}   # of other languages
    | /Date\(-?\d+
    )(?:\W.*|T\d.*)?""",
    re.IGNORECASE | re.VERBOSE,
)
_CLOCK = re.compile(r"\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[AP]\.?M\.?)?", re.IGNORECASE)


def check_no_times(path: Path, sample: Sample, taken: set[str | None]) -> None:
    """UserError where a column that has no role seems to hold times.

    Args:
        taken: columns that have a role.
    """
    for name in sample.names:
        if name in taken:
            continue
        values = [value for value in sample.values.get(name, []) if not _is_empty(value)]
        if not values or not _holds_times(name, values):
            continue
        said = f"{path}: the column {limit(name)} seems to hold times ({limit(values[0])})."
        order = "--no_time if the rows stand in the order of time."
        flag = f"--time {shlex.quote(name)}"
        if _are_most([read_moment(value) for value in values]):
            raise UserError(f"{said} Give {flag}, or {order}")
        raise UserError(
            f"{said} They cannot be read: a time must be {problem_of(values[0])}. Rewrite them and "
            f"give {flag}, or give {order}"
        )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _are_most(found: list) -> bool:
    """Are nearly all of them something?"""
    return sum(map(bool, found)) >= _MOST_ARE * len(found)


def _holds_times(name: str, values: list[Any]) -> bool:
    """Dates; numbers that are seconds (or a finer unit) of our time; or numbers, if the name says
    that they are times."""
    words = {word.lower() for word in _WORD.findall(name)}
    moments = [read_moment(value) for value in values]
    if _are_most(moments):
        times = [moment for moment in moments if moment is not None]
        if words & _WORDS_OF_TIMES or all(moment.is_date for moment in times):
            return True
        if words & _WORDS_OF_IDS:
            return False
        return _are_times_by_size(name, words, times)
    clock = _CLOCK if words & _WORDS_OF_CLOCKS else None
    return _are_most(
        [
            (moment is not None and moment.is_date) or _has_shape(value, clock)
            for value, moment in zip(values, moments)
        ]
    )


def _has_shape(value: Any, clock: re.Pattern[str] | None) -> bool:
    """clock: the shape of times of the day; None where they do not count."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > _LONGEST:
        return False
    return any(shape.fullmatch(text) for shape in (_SHAPES, clock) if shape)


def _are_times_by_size(name: str, words: set[str], times: list[Moment]) -> bool:
    """Numbers whose name is no word of times."""
    wholes = [moment.whole for moment in times]
    if all(map(in_epoch, wholes)) or all(map(is_compact_date, wholes)):
        return True
    if name.lower() == "year":
        return all(1980 <= whole <= 2100 for whole in wholes)
    spans = [_COUNTED[word] for word in sorted(words & set(_COUNTED))]
    return any(all(since <= whole <= until for whole in wholes) for since, until in spans)
