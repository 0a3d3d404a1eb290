"""Rows of different lengths end to end in one array, and stretches of histories in that form."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.data.dataset import HeldOut, RecDataset
from modules.tasks import MAX_HISTORY


class Ragged(NamedTuple):
    """Rows of different lengths end to end: row r is ``flat[starts[r]:starts[r + 1]]``."""

    flat: np.ndarray  # (tokens,) int32
    starts: np.ndarray  # (rows + 1,) int64

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """Lay rows of ids end to end."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        flat = np.fromiter((t for row in rows for t in row), dtype=np.int32, count=int(starts[-1]))
        return cls(flat, starts)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> "Ragged":
        """The rows of a matrix, all of one length."""
        n, width = matrix.shape
        return cls(matrix.reshape(-1).astype(np.int32), np.arange(n + 1, dtype=np.int64) * width)

    @property
    def lengths(self) -> np.ndarray:
        """(rows,) int64."""
        return np.diff(self.starts)

    def gather(self, rows: np.ndarray) -> "Ragged":
        """The named rows, in that order."""
        lengths = self.lengths[rows]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        index = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Ragged(self.flat[index], starts)

    def padded(self, fill: int, multiple: int = 1) -> np.ndarray:
        """(rows, longest) int64, ``fill`` behind the end of each row; the width is rounded up to
        a ``multiple``."""
        lengths = self.lengths
        width = -(-int(lengths.max(initial=0)) // multiple) * multiple
        out = np.full((len(lengths), width), fill, dtype=np.int64)
        out[np.arange(width) < lengths[:, None]] = self.flat
        return out


def stretches(dataset: RecDataset, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
    """Stretches of the flat history array: (B,) starts and (B,) lengths -> B rows."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])
    return Ragged(dataset.items[index], ends)


def recent_histories(dataset: RecDataset, users: np.ndarray, held_out: HeldOut) -> Ragged:
    """The last ``MAX_HISTORY`` items before the target, of (B,) users: B rows."""
    ends = dataset.offsets[users] - held_out
    lengths = np.minimum(ends - dataset.offsets[users - 1], MAX_HISTORY)
    return stretches(dataset, ends - lengths, lengths)
