"""What the value of a flag may be: parsers for argparse, each with its error."""

import argparse
from collections.abc import Callable, Collection


def _bounded(kind: type, low: float, note: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is no {note}")
        return value

    return parse


positive_int = _bounded(int, 1, "whole number from 1 up")
natural = _bounded(int, 0, "whole number from 0 up")
non_negative = _bounded(float, 0.0, "number from 0 up")
positive = _bounded(float, 1e-12, "number above 0")
real = _bounded(float, -1e30, "number")


def share(text: str) -> float:
    value = non_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to below 1")
    return value


def task_list(text: str) -> list[str]:
    """``sequential,direct`` -> its names, in the order in which batches go round."""
    known = ["explanation", "sequential", "direct"]
    chosen = names(known)(text)
    return [name for name in known if name in chosen]


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
