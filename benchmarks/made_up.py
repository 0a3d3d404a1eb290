"""Made-up data folders of any size, written directly in the folder's format."""

import json
from pathlib import Path

import numpy as np

from modules.data.dataset import MIN_HISTORY

_AT_A_TIME = 100_000  # users
_FOLLOWS = 0.5  # share of items that follow from the one before them


def make_set(folder: Path, n_items: int, n_users: int, interactions: int, seed: int = 0) -> None:
    """sequential.txt and datamaps.json.

    Histories are of a third to five thirds of the mean length, at least ``MIN_HISTORY``. Every
    other item follows from the one before it, as one of a few; the rest come by popularity: the
    item of quantile q is I * q^2.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    mean = interactions / n_users
    low = max(round(mean / 3), MIN_HISTORY)
    high = max(round(2 * mean) - low, low)
    with (folder / "sequential.txt").open("w") as file:
        for start in range(0, n_users, _AT_A_TIME):
            lengths = rng.integers(low, high + 1, min(_AT_A_TIME, n_users - start))
            rows = _histories(rng, n_items, len(lengths), high).tolist()
            file.writelines(
                f"{user} {' '.join(map(str, row[:length]))}\n"
                for user, (row, length) in enumerate(zip(rows, lengths.tolist()), start + 1)
            )
    names = {
        key: {str(n): f"{letter}{n}" for n in range(1, size + 1)}
        for key, letter, size in (("id2user", "u", n_users), ("id2item", "i", n_items))
    }
    (folder / "datamaps.json").write_text(json.dumps(names))


def _histories(rng: np.random.Generator, n_items: int, n: int, length: int) -> np.ndarray:
    """(n, length) items in 1..I."""
    rows = np.empty((n, length), dtype=np.int64)
    for step in range(length):
        rows[:, step] = n_items * rng.random(n) ** 2
        if step:
            near = (rows[:, step - 1] * 7 + rng.integers(1, 6, n)) % n_items
            rows[:, step] = np.where(rng.random(n) < _FOLLOWS, near, rows[:, step])
    return rows + 1
