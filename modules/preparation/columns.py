"""A chunk of a raw file, whatever its format."""

from collections.abc import Sequence
from typing import Any, NamedTuple

CHUNK_ROWS = 20_000  # rows of a chunk


class Columns(NamedTuple):
    """A chunk of the wanted columns."""

    numbers: Sequence[int]  # of each row in the file, for messages
    unit: str  # what is numbered: "line" or "row"
    values: list[list[Any]]  # a list per column, each as long as ``numbers``
    share: float  # of the file that is read by now, 0 to 1
