"""A linear model of the next items, in closed form: what follows what in the train histories.

    B = argmin |S B - T|^2 + l2 |B|^2 = (S^T S + l2 I)^-1 S^T T

A row of S is a prefix of a train history, its items weighted past^age (the last one: 1); the row of
T is what follows it, future^distance (the next one: 1). This is the model of partial sessions of
SLIST (Choi et al., "Session-aware Linear Item-Item Models", WWW 2021), without its weights of age.
It has a number for every pair of items, which no vectors of a few hundred numbers have. A baseline
in compare.py, and in seq_reranker.py and topn.py (``--linear``) what can be added to a T5's scores.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from modules.baselines.histories import weighted_histories, weighted_stretches
from modules.data.dataset import HeldOut, RecDataset
from modules.tasks import MAX_HISTORY
from utils.console import say
from utils.errors import UserError

PAST, FUTURE, L2 = 0.5, 0.5, 30.0  # chosen on Beauty's validation items
MAX_ITEMS = 30_000  # two matrices of their square in float32 take 7 GB


def fit_linear_items(
    dataset: RecDataset, l2: float = L2, past: float = PAST, future: float = FUTURE
) -> np.ndarray:
    """(I + 1, I + 1) float32 B; row and column 0 are no item.

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
    return np.ascontiguousarray(solution)  # else each sparse product would copy all of it


class LinearItems:
    """Scores of all items for some users, times a weight."""

    def __init__(self, matrix: np.ndarray, histories: sparse.csr_matrix, weight: float) -> None:
        """matrix: (I + 1, I + 1) B; histories: (n, I + 1), a row a sample; weight: β."""
        self._matrix, self._histories, self._weight = matrix, histories, np.float32(weight)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(b, I + 1) float32, to be added to log-probabilities."""
        return self._weight * (self._histories[rows] @ self._matrix)


def linear_items(
    dataset: RecDataset, users: np.ndarray, held_out: HeldOut, weight: float
) -> LinearItems | None:
    """The linear model fitted, for (n,) users before the held-out item; None where its weight is
    0."""
    if not weight:
        return None
    say(f"fitting the linear model of {dataset.n_items:,} items")
    histories = weighted_histories(dataset, held_out, PAST, MAX_HISTORY)[users - 1]
    return LinearItems(fit_linear_items(dataset), histories, weight)
