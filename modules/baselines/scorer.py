"""What every baseline gives: scores of all items for some users."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from modules.data.dataset import HeldOut, RecDataset


class Asked(NamedTuple):
    """Whom items are scored for, and where their histories end."""

    users: np.ndarray  # (b,)
    until: HeldOut  # what they had before this item is known, and no more
    last: np.ndarray  # (b,) the last item of that


# (b, I + 1) weighted histories, and whose they are -> (b, I + 1) scores. Column 0 is no item.
Scorer = Callable[[sparse.csr_matrix, Asked], np.ndarray]


def ask(dataset: RecDataset, users: np.ndarray, until: HeldOut) -> Asked:
    """(b,) users, who are known until a held-out item."""
    return Asked(users, until, dataset.items[dataset.offsets[users] - until - 1])
