"""The linear model of next items (modules/data/item_graph.py) of a large catalogue.

    B = (G + l2 I)^-1 C,    G = S^T S, C = S^T T

is a matrix of items by items, nearly all of it next to nothing. Here each column is solved for by
itself, with weights of its item's ``NEAR`` nearest items alone, those with the largest entries of C
in it: what is left of the equations is NEAR by NEAR. G and C are sums over pairs of places in the
train histories, so that S and T, a row for each place, are never made.
"""

import numpy as np
from scipy import sparse

from modules.data.dataset import RecDataset
from modules.data.pairs import LEAST, pair_weights
from modules.tasks import MAX_HISTORY

NEAR = 32
_WIDER = 4  # of G, so many times as many entries a row are at hand
_AT_A_TIME = 256  # columns


def solve_near(
    dataset: RecDataset,
    l2: float,
    past: float,
    future: float,
    near: int = NEAR,
    least: float = LEAST,
) -> sparse.csr_matrix:
    """(I + 1, I + 1) float32 B. With as many ``near`` as items, and ``least`` 0, it is the whole B,
    where each item stands before each other one somewhere.

    Args:
        l2, past, future: as in ``solve`` of modules/data/item_graph.py.
        near: items that have a weight in a column.
        least: of pairs, as in modules/data/pairs.py.
    """
    gram = pair_weights(dataset, _together(past), _WIDER * near, both=True, least=least)
    follows = pair_weights(dataset, _follows(past, future), near, both=False, least=least)
    for matrix in (gram, follows):
        matrix.sort_indices()
    values = np.zeros(len(follows.data), dtype=np.float32)
    for first in range(0, follows.shape[0], _AT_A_TIME):
        rows = slice(first, first + _AT_A_TIME)
        ends = follows.indptr[[first, min(rows.stop, follows.shape[0])]]
        values[slice(*ends)] = _solved(gram, follows[rows], l2)
    shape = follows.shape
    return sparse.csc_matrix((values, follows.indices, follows.indptr), shape).tocsr()


def _solved(gram: sparse.csr_matrix, rows: sparse.csr_matrix, l2: float) -> np.ndarray:
    """The weights in place of the entries of some rows of C^T, each by equations of its own."""
    b, n = rows.shape
    counts = np.diff(rows.indptr)
    own = np.repeat(np.arange(b), counts)
    place = np.arange(len(own)) - rows.indptr[own]
    width = max(int(counts.max()), 1)
    # Of fewer items the rest of the equations say that nothing is nothing.
    left, right = np.zeros((b, width, width)), np.zeros((b, width))
    right[own, place] = rows.data
    among = gram[rows.indices]
    entry = np.repeat(np.arange(len(own)), np.diff(among.indptr))
    keys = own.astype(np.int64) * n + rows.indices  # ascending
    wanted = own[entry].astype(np.int64) * n + among.indices
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[at] == wanted
    entry, at = entry[found], at[found]
    left[own[entry], place[entry], place[at]] = among.data[found]
    left = np.maximum(left, left.transpose(0, 2, 1))  # of two entries one may not be at hand
    left[:, np.arange(width), np.arange(width)] += l2
    return np.linalg.solve(left, right[..., None])[own, place, 0]


def _together(past: float) -> np.ndarray:
    """(gaps, MAX_HISTORY + 1) weights of pairs in G: in each prefix of at most ``MAX_HISTORY``
    items that holds both, past^(age of one + age of the other)."""
    gaps, follow = np.arange(MAX_HISTORY)[:, None], np.arange(MAX_HISTORY + 1)
    sums = np.concatenate([[0.0], np.cumsum(past ** (2.0 * np.arange(MAX_HISTORY)))])
    return past**gaps * sums[np.minimum(follow, MAX_HISTORY - gaps)]


def _follows(past: float, future: float) -> np.ndarray:
    """(gaps, 1) weights of pairs in C: for each place to cut between the two, past^age of the
    earlier times future^distance of the later, at most ``MAX_HISTORY`` items from the cut."""
    ages = np.arange(MAX_HISTORY)
    steps = ages[:, None] + ages + 1  # the gap of an age and a distance
    weights = past ** ages[:, None] * future ** ages.astype(float)
    return np.bincount(steps.ravel(), weights.ravel())[:, None]
