"""Values of a raw file, as they stand there, as ids, numbers and texts."""

import math
from decimal import Decimal
from typing import Any

import numpy as np

EXACT_FLOAT = 2**53  # below it every whole number is a float of its own


def identities(values: list) -> list[str | None]:
    """Original ids, without blanks around them; None where a value is none."""
    if set(map(type, values)) == {str} and is_unicode("\n".join(values)):
        names = list(map(str.strip, values))
        return [name or None for name in names] if "" in names else names
    if set(map(type, values)) == {int}:
        return list(map(str, values))
    return list(map(identity, values))


def many_numbers(values: list) -> list[float | None]:
    """Numbers that are finite; None where a value is none."""
    try:
        found = list(map(float, values)) if set(map(type, values)) <= {int, float, str} else []
    except (ValueError, OverflowError):
        found = []
    if found and np.isfinite(found).all():
        return found
    return list(map(number, values))


def many_words(values: list) -> list[str]:
    """Texts; "" where a value is none."""
    if set(map(type, values)) == {str} and is_unicode("".join(values)):
        return values
    return list(map(words, values))


def is_unicode(text: str) -> bool:
    """No: it has halves of surrogate pairs, from bytes that are not UTF-8 or from JSON."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def identity(value: Any) -> str | None:
    """A user's or item's original id; whole numbers as their digits."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return (value.strip() or None) if is_unicode(value) else None
    if type(value) is int:
        return str(value)
    if isinstance(value, (float, Decimal)) and abs(value) < EXACT_FLOAT and value == int(value):
        return str(int(value))  # a column with a gap in it: its whole numbers became floats
    return None


def number(value: Any) -> float | None:
    """A finite number; None where a value is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, bytes, Decimal)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def words(value: Any) -> str:
    """A text; "" for what is none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    if is_unicode(value):
        return value
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # JSON can hold half of a surrogate pair
        return value.encode("utf-8", "replace").decode("utf-8")
