"""Made-up interactions of any size: as a log to prepare, or as a data folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modules.data.dataset import MIN_HISTORY

_AT_A_TIME = 100_000  # users
_FOLLOWS = 0.5  # share of items that follow from the one before them
_DAY, _SINCE = 86_400, 1_000_000_000  # s


def make_log(path: Path, n_items: int, n_users: int, interactions: int, seed: int = 0) -> None:
    """A CSV of users, items and times, in the order of time within each 100,000 users."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write("user,item,timestamp\n")
        for users, items, lengths in _users(rng, n_items, n_users, interactions):
            longest = items.shape[1]
            days = np.arange(longest) + rng.integers(longest, size=(len(users), 1))
            times = _SINCE + _DAY * days + rng.integers(_DAY, size=days.shape)
            held = np.arange(longest) < lengths[:, None]
            columns = np.broadcast_to(users[:, None], items.shape)[held], items[held], times[held]
            order = np.argsort(columns[-1], kind="stable")
            rows = zip(*(column[order].tolist() for column in columns))
            file.writelines(f"u{user},i{item},{time}\n" for user, item, time in rows)


def make_set(folder: Path, n_items: int, n_users: int, interactions: int, seed: int = 0) -> None:
    """sequential.txt and datamaps.json."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "sequential.txt").open("w") as file:
        for users, items, lengths in _users(rng, n_items, n_users, interactions):
            rows = zip(users.tolist(), items.tolist(), lengths.tolist())
            file.writelines(f"{u} {' '.join(map(str, row[:n]))}\n" for u, row, n in rows)
    names = {
        key: {str(n): f"{letter}{n}" for n in range(1, size + 1)}
        for key, letter, size in (("id2user", "u", n_users), ("id2item", "i", n_items))
    }
    (folder / "datamaps.json").write_text(json.dumps(names))


def _users(
    rng: np.random.Generator, n_items: int, n_users: int, interactions: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(n,) users, (n, longest) items, (n,) lengths of histories, of 100,000 users at a time.

    Histories are of a third to five thirds of the mean length, at least ``MIN_HISTORY``. Every
    other item follows from the one before it, as one of a few; the rest come by popularity: the
    item of quantile q is I * q^2.
    """
    mean = interactions / n_users
    low = max(round(mean / 3), MIN_HISTORY)
    high = max(round(2 * mean) - low, low)
    for start in range(0, n_users, _AT_A_TIME):
        lengths = rng.integers(low, high + 1, min(_AT_A_TIME, n_users - start))
        users = start + 1 + np.arange(len(lengths))
        yield users, _histories(rng, n_items, len(lengths), high), lengths


def _histories(rng: np.random.Generator, n_items: int, n: int, length: int) -> np.ndarray:
    """(n, length) items in 1..I."""
    rows = np.empty((n, length), dtype=np.int64)
    for step in range(length):
        rows[:, step] = n_items * rng.random(n) ** 2
        if step:
            near = (rows[:, step - 1] * 7 + rng.integers(1, 6, n)) % n_items
            rows[:, step] = np.where(rng.random(n) < _FOLLOWS, near, rows[:, step])
    return rows + 1
