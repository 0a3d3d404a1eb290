"""The item graph: what follows what in the train histories, solved in closed form and made sparse.

    B = argmin |S B - T|^2 + l2 |B|^2 = G S^T T,   G = (S^T S + l2 I)^-1

A row of S is a prefix of a train history, its items weighted past^age (the last one: 1); the row of
T is what follows it, future^distance (the next one: 1). This is the model of partial sessions of
SLIST (Choi et al., "Session-aware Linear Item-Item Models", WWW 2021), without its weights of age.
S^T T counts what follows what, G takes out what other items of the prefix explain. Nearly all
entries of B are next to nothing: what is left of it is a directed graph of some 80 edges an item.

The scores of what follows a history s are the row s B. In training, the target of a history is in T
itself: B shows the answer with the question. ``left_out`` gives the scores of the B that is fitted
without the user, in closed form: with S_u, T_u the user's rows,

    S_u B_-u = T_u - (I - S_u G S_u^T)^-1 (T_u - S_u B)

which is the leave-one-out formula of ridge regression (PRESS; Allen 1974) for a group of rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import Stretches, weighted_rows, weighted_stretches
from modules.tasks import MAX_HISTORY
from utils.errors import UserError

PAST, FUTURE, L2 = 0.5, 0.5, 30.0  # chosen on Beauty's validation items
MAX_ITEMS = 30_000  # two matrices of their square in float32 take 7 GB
# Edges below are left out: 8 % of the smallest score that counts (modules/model/item_scores.py).
# On Beauty that leaves 76 edges an item, and rankings as they were.
SMALLEST_EDGE = 5e-4
_BLOCK = MAX_HISTORY  # targets of a user that are solved for together


class ItemGraph(NamedTuple):
    """The graph, and what training must know to leave a user out of it."""

    edges: sparse.csr_matrix  # (I + 1, I + 1) float32 B; row and column 0 are no item
    left_out: "LeftOut | None" = None

    def after(self, histories: Stretches) -> sparse.csr_matrix:
        """(n, I + 1) scores of what follows each of n histories."""
        return weighted_rows(histories, self.edges.shape[0] - 1, PAST) @ self.edges

    def in_training(self, targets: np.ndarray) -> sparse.csr_matrix:
        """(n, I + 1) scores of what follows the train items before each of n targets, as the graph
        without their users has them.

        targets: (n,) numbers of train targets (``RecDataset.target_starts``).
        """
        return self.left_out.histories[targets] @ self.edges + self.left_out.own[targets]


class LeftOut(NamedTuple):
    """The train targets of all users, a row each: S_u B_-u = histories B + own."""

    histories: sparse.csr_matrix  # (targets, I + 1): (I - H)^-1 S_u
    own: sparse.csr_matrix  # (targets, I + 1): T_u - (I - H)^-1 T_u, on items of the user alone


def solve(
    dataset: RecDataset, l2: float = L2, past: float = PAST, future: float = FUTURE
) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
    """(I + 1, I + 1) float32 B, whole; and what computes the upper half of G when it is called, in
    the memory of what B was solved with.

    Raises:
        UserError: where the catalogue is too large for the memory of a usual machine.
    """
    n = dataset.n_items + 1
    if n > MAX_ITEMS:
        raise UserError(
            f"{dataset.folder}: {n - 1:,} items make matrices of {4e-9 * n * n:.0f} GB; the linear "
            f"model takes at most {MAX_ITEMS:,} items. Leave it out."
        )
    starts, stops = dataset.offsets[:-1], dataset.offsets[1:] - HeldOut.VALIDATION
    targets = np.arange(len(dataset.items))
    user = np.repeat(np.arange(dataset.n_users), dataset.lengths)
    inside = (targets > starts[user]) & (targets < stops[user])
    targets, user = targets[inside], user[inside]
    first = np.maximum(starts[user], targets - MAX_HISTORY)
    last = np.minimum(stops[user], targets + MAX_HISTORY)
    before = weighted_stretches(dataset, first, targets, past)
    after = weighted_stretches(dataset, targets, last, future, forwards=True)
    gram = (before.T @ before).toarray()
    gram.flat[:: n + 1] += l2
    # LAPACK reads columns first; the Gram matrix is symmetric, so its transpose is itself.
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)
    if failed:
        raise UserError(f"l2 {l2}: too small, the matrix has no inverse in float32.")
    right = np.asfortranarray((before.T @ after).toarray())
    solution, _ = lapack.spotrs(factor, right, lower=1, overwrite_b=1)

    def inverse() -> np.ndarray:
        return lapack.spotri(factor, lower=1, overwrite_c=1)[0].T  # lower, columns first

    return np.ascontiguousarray(solution), inverse  # else each sparse product would copy all of it


def item_graph(dataset: RecDataset, leave_out: bool) -> ItemGraph:
    """The item graph of a data set's train histories.

    Args:
        leave_out: also what ``ItemGraph.in_training`` needs.

    Raises:
        UserError: as ``solve``.
    """
    weights, inverse = solve(dataset)
    weights[np.abs(weights) < SMALLEST_EDGE] = 0.0
    weights[0] = weights[:, 0] = 0.0
    edges = sparse.csr_matrix(weights)
    del weights
    return ItemGraph(edges, _left_out(dataset, inverse(), PAST, FUTURE) if leave_out else None)


def _left_out(dataset: RecDataset, inverse: np.ndarray, past: float, future: float) -> LeftOut:
    """A block of targets leaves with those around it that share an item of their prefixes and what
    follows them: in a long history, what is further away says nothing of them.

    inverse: (I + 1, I + 1), its upper half is G's.
    """
    items, counts, mixed, own = [], [], [], []
    starts, stops = dataset.offsets[:-1], dataset.offsets[1:] - HeldOut.VALIDATION
    for start, stop in zip(starts.tolist(), stops.tolist()):
        for first in range(start + 1, stop, _BLOCK):
            last = min(first + _BLOCK, stop)
            targets = np.arange(max(start + 1, first - _BLOCK), min(stop, last + _BLOCK))
            window = np.arange(max(start, targets[0] - MAX_HISTORY), stop)
            window = window[window < targets[-1] + MAX_HISTORY]
            block = (targets >= first) & (targets < last)
            histories = _powers(past, targets[:, None] - 1 - window)  # S_u
            following = _powers(future, window - targets[:, None])  # T_u
            had = dataset.items[window]
            gram = inverse[np.minimum.outer(had, had), np.maximum.outer(had, had)]
            hat = histories @ gram @ histories.T  # S_u G S_u^T
            answer = np.linalg.inv(np.eye(len(targets), dtype=np.float32) - hat)[block]
            mixed.append((answer @ histories).ravel())
            own.append((following[block] - answer @ following).ravel())
            items.append(np.tile(had, last - first))
            counts.append(np.full(last - first, len(had)))
    ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    shape, columns = (len(ends) - 1, dataset.n_items + 1), np.concatenate(items)
    parts = (np.concatenate(mixed), np.concatenate(own))
    return LeftOut(*(sparse.csr_matrix((part, columns, ends), shape) for part in parts))


def _powers(decay: float, steps: np.ndarray) -> np.ndarray:
    """decay^steps, float32; 0 where steps are below 0 or beyond ``MAX_HISTORY``."""
    inside = (steps >= 0) & (steps < MAX_HISTORY)
    return np.where(inside, float(decay) ** np.maximum(steps, 0), 0.0).astype(np.float32)
