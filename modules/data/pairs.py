"""Pairs of items that stand in one train history, weighted by how far apart they are, as a sparse
matrix: a few rows at a time, and of each row the largest entries.

So a large log takes memory for what is kept, not for all pairs that there are.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from modules.data.dataset import HeldOut, RecDataset

LEAST = 1e-3  # gaps at which no weight is larger are left out, where little is lost by it
_PLACES = 1 << 17  # in histories, at a time


def pair_weights(
    dataset: RecDataset, weights: np.ndarray, keep: int, both: bool, least: float = LEAST
) -> sparse.csr_matrix:
    """(I + 1, I + 1) float32: entry (i, j) is the sum over all places of i, and of j before it in
    the same train history, of the weight of their gap.

    Args:
        weights: (gaps, n): by the gap, 0 for a place with itself; and by how many train items
            follow the later place, the last column for all that are more.
        keep: of each row, so many largest entries.
        both: j may stand behind i too.
        least: see ``LEAST``.
    """
    places, rows = _places(dataset)
    size = dataset.n_items + 1
    # One block of memory, of which only what is written takes any: small ones that stay between
    # large ones that go would leave holes (utils/runtime.py).
    most = size * min(keep, size)
    values, indices = np.empty(most, np.float32), np.empty(most, np.int32)
    ends, end = np.zeros(size + 1, np.int64), 0
    for first, last in stretches_of(np.bincount(rows, minlength=size), _PLACES):
        part = slice(*np.searchsorted(rows, (first, last)))
        found = _pairs(dataset, places[part], weights, both, least)
        at, items, weight = (np.concatenate(x) for x in zip(*found))
        shape = (last - first, size)
        block = sparse.csr_matrix((weight, (rows[part][at] - first, items)), shape)
        block = largest(block, keep)
        values[end : end + block.nnz], indices[end : end + block.nnz] = block.data, block.indices
        ends[first + 1 : last + 1] = end + block.indptr[1:]
        end += block.nnz
    return sparse.csr_matrix((values[:end], indices[:end], ends), (size, size))


def largest(matrix: sparse.csr_matrix, keep: int) -> sparse.csr_matrix:
    """The ``keep`` largest entries of each row; of equal ones, those that come first."""
    counts, starts, values = np.diff(matrix.indptr), matrix.indptr, matrix.data
    if counts.max(initial=0) <= keep:
        return matrix
    last = np.full(len(counts), -np.inf, dtype=values.dtype)  # of a row's largest entries
    for row in np.flatnonzero(counts > keep).tolist():  # to sort them all takes five times as long
        own, n = values[starts[row] : starts[row + 1]], counts[row]
        last[row] = np.partition(own, n - keep)[n - keep]
    last = np.repeat(last, counts)
    kept, ties = values > last, np.flatnonzero(values == last)
    row = np.searchsorted(starts, ties, side="right") - 1
    before = np.concatenate([[0], np.cumsum(kept)])
    room = np.minimum(keep, counts) - (before[starts[1:]] - before[starts[:-1]])
    nth = np.arange(len(ties)) - np.searchsorted(row, row)  # of its row's ties
    kept[ties[nth < room[row]]] = True
    ends = np.concatenate([[0], np.cumsum(np.minimum(counts, keep))])
    return sparse.csr_matrix((values[kept], matrix.indices[kept], ends), matrix.shape)


def _places(dataset: RecDataset) -> tuple[np.ndarray, np.ndarray]:
    """Places of the train parts in ``dataset.items``, and their items; ordered by item."""
    inside = np.ones(len(dataset.items), dtype=bool)
    for held_out in (HeldOut.TEST, HeldOut.VALIDATION):
        inside[dataset.offsets[1:] - held_out] = False
    places = np.flatnonzero(inside)
    places = places[np.argsort(dataset.items[places], kind="stable")]
    return places, dataset.items[places]


def stretches_of(counts: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """First rows and ends of stretches that count about ``most`` each. counts: a number a row."""
    block = np.cumsum(counts) // most
    starts = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
    return zip(starts, [*starts[1:], len(counts)])


def _pairs(
    dataset: RecDataset, places: np.ndarray, weights: np.ndarray, both: bool, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By gap: which of the places have a partner there, its item, the weight of the pair."""
    user = np.searchsorted(dataset.offsets, places, side="right") - 1
    start, stop = dataset.offsets[user], dataset.offsets[user + 1] - HeldOut.VALIDATION
    for gap in np.flatnonzero(weights.max(axis=1) > least).tolist():
        for partner in _partners(places, gap, both):
            at = np.flatnonzero((partner >= start) & (partner < stop))
            later = np.maximum(places[at], partner[at])
            follow = np.minimum(stop[at] - 1 - later, weights.shape[1] - 1)
            yield at, dataset.items[partner[at]], weights[gap, follow].astype(np.float32)


def _partners(places: np.ndarray, gap: int, both: bool) -> list[np.ndarray]:
    return [places - gap, places + gap] if both and gap else [places - gap]
