"""A column of dates that are all of one plain form, read at once.

The forms: ``2014-05-01``, ``2014-05-01 12:30:00``, ``2014-05-01T12:30:00``, and with a ``Z``. A
column with any other value, or with a day that is none, is left to times.py, date by date.
"""

import numpy as np

_FORMS = {10: "0000-00-00", 19: "0000-00-00?00:00:00", 20: "0000-00-00?00:00:00Z"}  # by length
_UNITS = ((8, 10), (11, 13), (14, 16), (17, 19))  # where day, hour, minute and second stand
_MOST = (31, 23, 59, 59)


def plain_dates(values: list) -> tuple[np.ndarray, bool] | None:
    """(n,) int64 seconds since 1970, and whether the dates have a zone; None where one of them is
    not of the first one's form."""
    if set(map(type, values)) != {str}:
        return None
    width = len(values[0])
    joined = "".join(values)
    if width not in _FORMS or set(map(len, values)) != {width} or not joined.isascii():
        return None
    letters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(-1, width)
    digits = letters - np.uint8(ord("0"))  # of what is below "0" a large number
    for k, form in enumerate(_FORMS[width]):
        column = letters[:, k]
        if form == "0":
            good = digits[:, k] <= 9
        elif form == "?":
            good = (column == ord(" ")) | (column == ord("T"))
        else:
            good = column == ord(form)
        if not good.all():
            return None
    seconds = _seconds(digits.astype(np.int64), width)
    return None if seconds is None else (seconds, width == 20)


def _seconds(digits: np.ndarray, width: int) -> np.ndarray | None:
    """(n,) int64; None where there is no such day or time."""

    def number(start: int, end: int) -> np.ndarray:
        return digits[:, start:end] @ 10 ** np.arange(end - start)[::-1]

    year, month = number(0, 4), number(5, 7)
    units = [number(*place) for place in _UNITS if place[1] <= width]
    if year.min() < 1 or month.min() < 1 or month.max() > 12 or units[0].min() < 1:
        return None
    if any(unit.max() > most for unit, most in zip(units, _MOST)):
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (units[0] - 1)
    if (days.astype("datetime64[M]") != months).any():  # such as the 31st of April
        return None
    hour, minute, second = units[1:] or (0, 0, 0)
    return days.astype(np.int64) * 86_400 + hour * 3600 + minute * 60 + second
