"""Histories as weighted rows of a matrix: what baselines score by, and graphs are made of."""

import numpy as np
from scipy import sparse

from modules.data.dataset import HeldOut, RecDataset


def train_matrix(dataset: RecDataset) -> sparse.csr_matrix:
    """(U, I + 1) float32: 1 where the user has the item in train."""
    users, items = dataset.train_pairs()
    ones = np.ones(len(users), dtype=np.float32)
    return sparse.csr_matrix((ones, (users - 1, items)), (dataset.n_users, dataset.n_items + 1))


def weighted_stretches(
    dataset: RecDataset, starts: np.ndarray, stops: np.ndarray, decay: float, forwards: bool = False
) -> sparse.csr_matrix:
    """(n, I + 1) float32: row r holds ``dataset.items[starts[r]:stops[r]]``; rows may overlap.

    The last of a stretch weighs 1, the one before it ``decay``, then decay^2, and so on; with
    ``forwards`` the first weighs 1. An item that is there twice has the sum; 0 = not there.
    """
    lengths = np.maximum(stops - starts, 0)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    nth = np.arange(len(rows)) - (np.cumsum(lengths) - lengths)[rows]  # place in the stretch
    steps = nth if forwards else lengths[rows] - 1 - nth
    weights = (float(decay) ** steps).astype(np.float32)
    items = dataset.items[starts[rows] + nth]
    shape = (len(lengths), dataset.n_items + 1)
    return sparse.csr_matrix((weights, (rows, items)), shape)


def weighted_histories(
    dataset: RecDataset,
    held_out: HeldOut,
    decay: float,
    longest: int | None = None,
    users: np.ndarray | None = None,
) -> sparse.csr_matrix:
    """(n, I + 1): what each of n users, or everybody, had before the target, or the last
    ``longest`` items of it."""
    users = dataset.users if users is None else users
    starts, stops = dataset.offsets[users - 1], dataset.offsets[users] - held_out
    if longest is not None:
        starts = np.maximum(starts, stops - longest)
    return weighted_stretches(dataset, starts, stops, decay)
