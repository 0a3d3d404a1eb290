"""What the value of a flag may be: parsers for argparse, each with its error."""

import argparse
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

from utils.errors import limit

LARGEST = 1e30  # of a number: what float32 can hold, with room to be multiplied
_MOST = 2**31 - 1  # what an int32 holds: no list or batch is longer, and NumPy takes it as a seed


def bounded(kind: type, low: float, high: float, what: str) -> Callable[[str], float]:
    """A parser of numbers from ``low`` to ``high``. what: how the error calls them."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{limit(text)} must be {what}")
        return value

    return parse


def whole(low: int, high: int = _MOST) -> Callable[[str], float]:
    """A parser of whole numbers from ``low`` to ``high``."""
    return bounded(int, low, high, f"a whole number from {low} to {high}")


positive_int, natural = whole(1), whole(0)
non_negative = bounded(float, 0.0, LARGEST, "a number from 0 up")
positive = bounded(float, 1e-12, LARGEST, "a number above 0")
real = bounded(float, -LARGEST, LARGEST, "a number")
exponent = bounded(float, -10.0, 10.0, "a number from -10 to 10")


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = non_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to below 1")
    return value


def path_name(text: str) -> str:
    """A name that a file or folder can have."""
    parts = os.fsencode(text).split(b"/")
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{limit(text)} is no name; name a file or a folder")
    if max(map(len, parts)) > 255 or len(os.fsencode(text)) > 4095:
        raise argparse.ArgumentTypeError(
            f"{limit(text)} is longer than the 255 bytes that a name can have; name a shorter one"
        )
    return text


def path(text: str) -> Path:
    """The same, as a path."""
    return Path(path_name(text))


def file_stem(text: str) -> str:
    """A plain name that a file or folder can be called by."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", text):
        raise argparse.ArgumentTypeError(
            f"{limit(text)} must be a name of letters, digits, '_', '-', '+' and '.'"
        )
    return text


def file_ending(text: str) -> str:
    """The same, or nothing, behind a name."""
    file_stem(f"x{text}")
    return text


def names(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """``a,b`` -> its names, each once and each known."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(name.strip() for name in text.split(","))
        if len(set(found)) < len(found) or not set(found) <= set(known):
            note = f"{text!r}: name some of {','.join(known)}, each once"
            raise argparse.ArgumentTypeError(note)
        return found

    return parse


def numbers(kind: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """``1,2.5`` -> its numbers, each checked by ``kind``."""
    return lambda text: tuple(kind(part) for part in text.split(","))
