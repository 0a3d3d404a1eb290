"""A linear model of the next items, in closed form: what follows what in the train histories.

It is solved in modules/data/item_graph.py, and has a number for every pair of items, which no
vectors of a few hundred numbers have. A baseline in compare.py, and in seq_reranker.py and topn.py
(``--linear``) what can be added to a T5's scores.
"""

import numpy as np
from scipy import sparse

from modules.data.dataset import HeldOut, RecDataset
from modules.data.histories import weighted_histories
from modules.data.item_graph import PAST, linear_weights
from modules.tasks import MAX_HISTORY
from utils.console import say


class LinearItems:
    """Scores of all items for some users, times a weight."""

    def __init__(
        self, matrix: np.ndarray | sparse.csr_matrix, histories: sparse.csr_matrix, weight: float
    ) -> None:
        """matrix: (I + 1, I + 1) B; histories: (n, I + 1), a row a sample; weight: β."""
        self._matrix, self._histories, self._weight = matrix, histories, np.float32(weight)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(b, I + 1) float32, to be added to log-probabilities."""
        found = self._histories[rows] @ self._matrix
        return self._weight * (found.toarray() if sparse.issparse(found) else found)


def linear_items(
    dataset: RecDataset, users: np.ndarray, held_out: HeldOut, weight: float
) -> LinearItems | None:
    """The linear model fitted, for (n,) users before the held-out item; None where its weight is
    0."""
    if not weight:
        return None
    say(f"fitting the linear model of {dataset.n_items:,} items")
    histories = weighted_histories(dataset, held_out, PAST, MAX_HISTORY, users)
    return LinearItems(linear_weights(dataset), histories, weight)
