"""What the value of a flag may be: parsers for argparse, each with its error."""

import argparse
import re
from collections.abc import Callable, Collection

from modules.presets import LARGEST, MAX_LAYERS, MAX_PROMPTS
from utils.errors import limit


def _bounded(kind: type, low: float, high: float, note: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{limit(text)} is no {note}")
        return value

    return parse


_MOST = 2**31 - 1  # what an int32 holds: no list or batch is longer, and NumPy takes it as a seed

# Names of other files in a run's folder, without ending: results must not take their place.
TAKEN = ("run", "config", "model", "item_numbers", "tokenizer", "tokenizer_config", "train_log")

positive_int = _bounded(int, 1, _MOST, f"whole number from 1 up to {_MOST}")
natural = _bounded(int, 0, _MOST, f"whole number from 0 up to {_MOST}")
layers = _bounded(int, 0, MAX_LAYERS, f"whole number from 0 up to {MAX_LAYERS}")
prompts = _bounded(int, 1, MAX_PROMPTS, f"whole number from 1 up to {MAX_PROMPTS}")
non_negative = _bounded(float, 0.0, LARGEST, "number from 0 up")
positive = _bounded(float, 1e-12, LARGEST, "number above 0")
real = _bounded(float, -LARGEST, LARGEST, "number")
exponent = _bounded(float, -10.0, 10.0, "number from -10 to 10")


def file_name(text: str) -> str:
    """A plain name for files in the run's folder, and none of those that stand there already."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", text) or text in TAKEN:
        raise argparse.ArgumentTypeError(
            f"{limit(text)} is no name for results: letters, digits, '_', '-' and '.', and none of "
            f"{', '.join(TAKEN)}"
        )
    return text


_TASKS = ("explanation", "sequential", "direct")


def share(text: str) -> float:
    value = non_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to below 1")
    return value


def task_list(text: str) -> list[str]:
    """``sequential,direct`` -> its names, in the order in which batches go round."""
    chosen = names(_TASKS)(text)
    return [name for name in _TASKS if name in chosen]


def whole_word_list(text: str) -> dict[str, str]:
    """``direct=position,sequential=graph`` -> ids by task."""
    found = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    known = set(found) <= set(_TASKS) and set(found.values()) <= {"position", "graph"}
    if not known or len(found) < text.count(",") + 1:
        raise argparse.ArgumentTypeError(
            f"{limit(text)}: give tasks ({', '.join(_TASKS)}), each once, and their ids (position "
            "or graph), as in direct=position,sequential=graph"
        )
    return found


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
