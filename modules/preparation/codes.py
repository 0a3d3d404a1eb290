"""Numbers for names, in the order in which they first come.

A dictionary looks up two million names a second. pyarrow does twice as many, and is used for long
files where it is installed; the numbers are the same.
"""

from importlib.util import find_spec

import numpy as np

_MANY = 200_000  # names, from which on it is worth loading pyarrow
_WAITING = 64  # parts whose dictionaries are joined at a time


class Codes:
    """Numbers from 0 up: int32, of names that come in parts."""

    def __init__(self) -> None:
        self._known = _Numbers()
        self._parts: list[np.ndarray] = [np.empty(0, np.int32)]
        self._count = 0
        self._by_arrow: _Dictionary | None = None

    def add(self, names: list[str]) -> None:
        """Give numbers to the next names."""
        self._count += len(names)
        if self._by_arrow is None and self._count > _MANY and find_spec("pyarrow"):
            self._by_arrow = _Dictionary(list(self._known))
        if self._by_arrow:
            self._parts += self._by_arrow.add(names)
        else:
            found = map(self._known.__getitem__, names)
            self._parts.append(np.fromiter(found, np.int32, len(names)))

    def result(self) -> tuple[np.ndarray, list[str]]:
        """(n,) int32 of all that came; and the names by their numbers."""
        names = list(self._known)
        if self._by_arrow:
            self._parts += self._by_arrow.join()
            names = self._by_arrow.known.to_pylist()
        return np.concatenate(self._parts), names


class _Numbers(dict[str, int]):
    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


class _Dictionary:
    """By pyarrow: each part has a dictionary of its own until some of them are joined."""

    def __init__(self, names: list[str]) -> None:
        import pyarrow as pa  # takes a quarter of a second

        self._pa = pa
        self.known: pa.Array = pa.array(names, pa.large_string())
        self._waiting: list[pa.DictionaryArray] = []

    def add(self, names: list[str]) -> list[np.ndarray]:
        """The numbers of the parts that are done by now."""
        part = self._pa.array(names, self._pa.large_string())
        self._waiting.append(part.dictionary_encode())
        return self.join() if len(self._waiting) == _WAITING else []

    def join(self) -> list[np.ndarray]:
        """The numbers of all parts that wait."""
        pa = self._pa
        first = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self.known)
        joined = pa.chunked_array([first, *self._waiting]).unify_dictionaries()
        self.known, self._waiting = joined.chunk(0).dictionary, []
        return [part.indices.to_numpy() for part in joined.chunks[1:]]
