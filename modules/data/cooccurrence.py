"""What the train interactions say of items before any training: vectors, and an order.

    C_ij = sum over users of decay^(gap - 1), gap = how far apart i and j are in a train history
    V    = Q_D Lambda_D^1/2  of  I + D^-1/2 C D^-1/2   (its D largest eigenvalues)

Items bought soon after one another are near. Nothing held out is counted.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from modules.data.dataset import HeldOut, RecDataset
from modules.data.pairs import pair_weights
from utils.console import say

DECAY = 0.7  # of a pair's weight, for each step that it is further apart
ORDER_WIDTH = 64  # of the vectors that numbers are ordered by
# Up to so many items all eigenvectors are solved for. The search for a few of them goes on from
# random vectors where it has found all of a part of the graph: small data would differ by run.
DENSE = 1024
# Of more items the eigenvectors are found roughly, in minutes, from the nearest partners of each:
# the search would take hours, and all pairs the memory.
MANY = 50_000
_PARTNERS = 64
_BEYOND, _ROUNDS = 32, 4  # vectors more than wanted; products, each of which sharpens them


def cooccurrence(dataset: RecDataset, decay: float = DECAY) -> scipy.sparse.csr_array:
    """(I, I) symmetric C of the train histories; item i is row i - 1."""
    n_items = dataset.n_items
    index = np.arange(len(dataset.items))
    ends = np.repeat(dataset.offsets[1:] - HeldOut.VALIDATION, dataset.lengths)
    total = scipy.sparse.csr_array((n_items, n_items))
    for gap in range(1, int(dataset.lengths.max()) - 2):
        first = index[index + gap < ends]
        if decay ** (gap - 1) < 1e-6 or not len(first):
            break
        pairs = dataset.items[first] - 1, dataset.items[first + gap] - 1
        weights = np.full(len(first), decay ** (gap - 1))
        total += scipy.sparse.coo_array((weights, pairs), shape=total.shape).tocsr()
    return (total + total.T).tocsr()


def cooccurrence_vectors(dataset: RecDataset, width: int, decay: float = DECAY) -> np.ndarray:
    """(I, width) float32 unit vectors V; an item that occurs with no other has a vector of its own.
    Of I items, I - 1 numbers say all there is to say: what is wider ends in zeros."""
    n_items = dataset.n_items
    rank = min(width, n_items - 1)
    find = _eigenvectors
    if n_items > MANY:
        say(f"co-occurrence vectors of {n_items:,} items, roughly")
        find = _near_eigenvectors
    values, vectors = find(dataset, rank, decay)
    vectors = vectors * np.sqrt(np.maximum(values, 0.0))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return np.pad(vectors, ((0, 0), (0, width - rank)))


def _scale(counts: scipy.sparse.csr_array) -> np.ndarray:
    """(I,) degree^-1/2, and 1 of an item that occurs with no other."""
    degrees = counts.sum(axis=1)
    return np.where(degrees > 0, np.maximum(degrees, 1e-12), 1) ** -0.5


def _eigenvectors(dataset: RecDataset, rank: int, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """(rank,) eigenvalues in rising order, and their (I, rank) vectors."""
    counts, n_items = cooccurrence(dataset, decay), dataset.n_items
    scale = scipy.sparse.diags_array(_scale(counts))
    matrix = scale @ counts @ scale + scipy.sparse.eye_array(n_items)
    if n_items <= DENSE:
        values, vectors = np.linalg.eigh(matrix.toarray())
        return values[-rank:], vectors[:, -rank:]
    first = np.ones(n_items)
    return scipy.sparse.linalg.eigsh(matrix.tocsr(), k=rank, which="LA", v0=first)


def _near_eigenvectors(
    dataset: RecDataset, rank: int, decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """The same of many items, roughly, and in float32."""
    counts = near_cooccurrence(dataset, decay)
    scale = _scale(counts)
    counts.data *= np.repeat(scale, np.diff(counts.indptr))
    counts.data *= scale[counts.indices]
    return rough_eigenvectors(lambda vectors: vectors + counts @ vectors, len(scale), rank)


def near_cooccurrence(dataset: RecDataset, decay: float) -> scipy.sparse.csr_array:
    """C, with the ``_PARTNERS`` largest entries of each row and of each column alone."""
    gaps = np.arange(int(dataset.lengths.max()))
    weights = np.where(gaps > 0, decay ** (gaps - 1.0), 0.0)[:, None]
    counts = pair_weights(dataset, weights, _PARTNERS, both=True)[1:, 1:]
    return scipy.sparse.csr_array(counts.maximum(counts.T))


def rough_eigenvectors(
    times: Callable[[np.ndarray], np.ndarray], n: int, rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ``rank`` largest eigenvalues of a symmetric (n, n) matrix that has no negative ones, in
    rising order, and their (n, rank) vectors: by what the matrix makes of random vectors.

    times: the matrix times (n, k) vectors.
    """
    drawn = np.random.default_rng(0)  # the same data give the same vectors
    space = drawn.standard_normal((n, min(rank + _BEYOND, n)), dtype=np.float32)
    for _ in range(_ROUNDS):
        # NumPy's works in float64: of a million items, 10 GB.
        space = scipy.linalg.qr(times(space), overwrite_a=True, mode="economic")[0]
    values, turns = np.linalg.eigh(space.T @ times(space))
    return values[-rank:], space @ turns[:, -rank:]


def collaborative_numbers(dataset: RecDataset) -> np.ndarray:
    """(I + 1,) int64: numbers in the order of ``collaborative_order``; [0] is 0."""
    order = collaborative_order(cooccurrence_vectors(dataset, ORDER_WIDTH))
    numbers = np.zeros(dataset.n_items + 1, dtype=np.int64)
    numbers[order + 1] = np.arange(1, dataset.n_items + 1)
    return numbers


def collaborative_order(vectors: np.ndarray) -> np.ndarray:
    """(I,) rows of ``vectors`` so that neighbours are alike: halves along the principal axis, each
    half in the same way, down to single items. Numbers given in this order share their leading
    digits with like items."""
    done: list[np.ndarray] = []
    waiting = [np.arange(len(vectors))]
    while waiting:
        rows = waiting.pop()
        if len(rows) < 3:
            done.append(rows)
            continue
        centred = vectors[rows] - vectors[rows].mean(axis=0)
        axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        axis = axis * np.sign(axis[np.abs(axis).argmax()])  # an axis has no direction of its own
        order = rows[np.argsort(centred @ axis, kind="stable")]
        waiting += [order[len(order) // 2 :], order[: len(order) // 2]]
    return np.concatenate(done)
