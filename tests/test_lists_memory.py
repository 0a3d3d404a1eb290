"""recommend.py --out for very many users: memory does not grow with their number."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from modules import list_files, lists_out
from modules.data.dataset import RecDataset
from modules.people import Users
from modules.recommend import Answer
from tests.test_lists_out import read
from utils.growing_files import growing

ITEMS = 50


def many(n_users: int) -> RecDataset:
    """So many users, of four items each."""
    items = 1 + np.arange(4 * n_users, dtype=np.int32) % ITEMS
    users = ("", *(f"user {n}" for n in range(n_users)))
    names = ("", *(f"item {n}" for n in range(ITEMS)))
    starts = 4 * np.arange(n_users + 1)
    return RecDataset("many", Path("many"), users, names, items, starts, None, None, {})


def peak(n_users: int, path: Path) -> int:
    """Bytes at most, beside the data, while lists of a fake ranker are written."""
    dataset = many(n_users)

    def ranked(people):
        return [Answer(person, [1 + person.user % ITEMS], [0.5], []) for person in people]

    write = lists_out._writer(dataset, path.suffix, False)
    tracemalloc.start()
    try:
        with growing(path, {}, False) as file:
            people = Users(dataset, dataset.users, 0)
            lists_out.fill(file, people, ranked, write, lambda: False)
            file.finish(list_files.converter(path.suffix, False))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("ending", "users"), [(".csv", 200_000), (".sqlite", 30_000)])
def test_memory_does_not_grow_with_the_users(ending, users, tmp_path, monkeypatch):
    monkeypatch.setattr(list_files, "ROWS", 1 << 10)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    few = peak(5_000, tmp_path / f"few{ending}")
    path = tmp_path / f"many{ending}"
    # A user's number has 8 bytes, a row 200 and more; checksums are taken of blocks of 1 MiB.
    assert peak(users, path) < few + 8 * users + (3 << 20)
    rows = read(path)[1]
    assert len(rows) == users
    assert rows[-1] == (f"user {users - 1}", 1, f"item {users % ITEMS}", rows[-1][3], 0.5)
