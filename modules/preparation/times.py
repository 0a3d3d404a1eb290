"""Times of interactions: numbers in any unit, or dates, compared exactly.

A time is two whole numbers: units, and parts of 1e-18 of a unit. So 19-digit nanoseconds and
decimal fractions keep their order, which floats would lose. Dates are seconds since 1970; a date
without a zone is UTC. All forms are read by the patterns here, whatever the version of Python and
the language of the machine.

clock.py holds a column of them to one unit.
"""

import re
from datetime import date, datetime
from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

PARTS = 18  # decimal places of a unit that are kept
FORMS = (
    "a number, or a date as 2014-05-01, 2014-05-01T12:30:00Z, 2011/11/05 10:00, 20200101T000000, "
    "Tue Apr 03 18:00:09 +0000 2012, November 5, 2011, 5 Nov 2011 10:00 or 09 1, 2014"
)
_LONGEST = 64  # characters of a time
_EXACT = Context(prec=_LONGEST + 2 * PARTS)
_SWAPPABLE = re.compile(r"\d\d?([./-])\d\d?\1(\d{4}|\d\d)(\D.*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

_CLOCK = (
    r"(?P<hour>\d\d|\d(?=:))(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?)?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = r"(?:\s?(?P<zone>[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)(?: \(?[A-Z]{2,5}\)?)?)?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?"
_MONTH = r"(?P<name>[A-Za-z]{3,9})\.?"
_ISO_CLOCK = rf"(?:(?:\s+|[^\d\s+]){_CLOCK}{_ZONE})?"
_LATER_CLOCK = rf"(?:,?\s+(?:at\s+)?{_CLOCK}{_ZONE})?"
_PATTERNS = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d\d?)\2(?P<day>\d\d?)" + _ISO_CLOCK,
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)" + _ISO_CLOCK,
        r"(?P<year>\d{4})-?W(?P<week>\d\d)(?:-?(?P<weekday>[1-7]))?" + _ISO_CLOCK,
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d\d?)\s+{_CLOCK}{_ZONE}\s+(?P<year>\d{{4}})",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d\d?),?\s+(?P<year>\d{{4}})" + _LATER_CLOCK,
        rf"{_WEEKDAY}(?P<day>\d\d?)[\s-]{_MONTH}[\s-](?P<year>\d{{4}})" + _LATER_CLOCK,
        r"(?P<month>\d\d?)\s(?P<day>\d\d?),\s?(?P<year>\d{4})",  # Amazon's reviewTime
    )
)
_MONTH_NAMES = ("january", "february", "march", "april", "may", "june", "july", "august",
                "september", "october", "november", "december")  # fmt: skip
_MONTHS = {
    name: number
    for number, full in enumerate(_MONTH_NAMES, start=1)
    for name in (full, full[:3], full[:4])  # "sept" too
}
_DAY, _EPOCH = 86_400, date(1970, 1, 1).toordinal()


class Moment(NamedTuple):
    """One time, as a cell of the file says it."""

    whole: int  # units; of dates, seconds since 1970; fits int64
    part: int  # 1e-18 of a unit, 0 to below 1e18
    is_date: bool
    has_zone: bool


def read_moment(value: Any) -> Moment | None:
    """A time of any kind; None where it is none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _read_text(value.strip()) if len(value) <= 2 * _LONGEST else None  # bounds the work
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    if isinstance(value, int):
        return Moment(value, 0, False, False) if -(2**63) <= value < 2**63 else None
    return _read_number(repr(value) if isinstance(value, float) else str(value))


def _read_text(text: str) -> Moment | None:
    if len(text) > _LONGEST:
        return None
    if text[4:5] == text[7:8] == "-" and (len(text) in (10, 19) or text[19:] == "Z"):
        moment = _read_plain_date(text)
        if moment is not None:
            return moment
    return _read_number(text) if _NUMBER.fullmatch(text) else _read_date(text)


def _read_number(text: str) -> Moment | None:
    """A decimal number. Digits beyond PARTS places are cut off."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > PARTS:  # more digits than int64 has
        return None
    whole = number.to_integral_value(ROUND_FLOOR, _EXACT)
    part = int(_EXACT.scaleb(_EXACT.subtract(number, whole), PARTS))
    return Moment(int(whole), part, False, False) if -(2**63) <= whole < 2**63 else None


def _read_plain_date(text: str) -> Moment | None:
    """The commonest forms, as all versions of Python read them; the patterns take three times as
    long. None where it may be another form."""
    try:
        moment = datetime.fromisoformat(text[:19])
    except ValueError:
        return None
    if moment.tzinfo is not None or moment.microsecond:
        return None
    clock = moment.hour * 3600 + moment.minute * 60 + moment.second
    whole = (moment.toordinal() - _EPOCH) * _DAY + clock
    return Moment(whole, 0, True, len(text) == 20)


@lru_cache(maxsize=1 << 16)  # days come many times
def _read_date(text: str) -> Moment | None:
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found:
            return _moment(found.groupdict())
    return None


def _moment(found: dict[str, str | None]) -> Moment | None:
    """found: groups of one of _PATTERNS. None where there is no such day, hour or month."""
    hour, minute, second = (int(found.get(unit) or 0) for unit in ("hour", "minute", "second"))
    if found.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"] in "Pp" else 0)
    try:
        if found.get("week"):
            day = date.fromisocalendar(
                int(found["year"]), int(found["week"]), int(found.get("weekday") or 1)
            )
        else:
            month = found.get("month") or _MONTHS.get((found["name"] or "").lower(), 0)
            day = date(int(found["year"]), int(month), int(found["day"]))
        if (hour, minute, second) != (24, 0, 0) or found.get("half"):  # ISO's end of the day
            datetime(1970, 1, 1, hour, minute, second)  # ValueError: no such time of the day
    except ValueError:
        return None
    whole = (day.toordinal() - _EPOCH) * _DAY + hour * 3600 + minute * 60 + second
    part = int((found.get("part") or "0")[:PARTS].ljust(PARTS, "0"))
    zone = found.get("zone")
    return Moment(whole - _offset(zone or ""), part, True, zone is not None)


def _offset(zone: str) -> int:
    """Seconds that a zone is ahead of UTC: "+05:30" -> 19800; 0 for "Z" and its like."""
    digits = zone.lstrip("+-").replace(":", "")
    if not digits.isdigit():
        return 0
    hours, minutes, seconds = (int(digits[k : k + 2] or 0) for k in (0, 2, 4))
    return (-1 if zone[0] == "-" else 1) * (hours * 3600 + minutes * 60 + seconds)


def problem_of(value: Any) -> str:
    """What a bad time must be."""
    if isinstance(value, str) and _SWAPPABLE.fullmatch(value.strip()):
        return f"{FORMS}. Which of its numbers is the month is not sure: write 2011-11-05"
    return FORMS
