"""``RecDataset``: histories, negatives and explanations of a data folder.

Users and items are the integers of the data folder, 1 to U and 1 to I, everywhere in the program.
It knows neither files (modules/data/reader.py), nor torch, nor tokens. How an item is *written* in
a prompt is another matter: modules/data/protocols.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

MIN_HISTORY = 4  # one test item, one validation item, and a sequence of two to train on


class HeldOut(IntEnum):
    """Which item of a history is the target, counted from its end; those behind it stay unseen."""

    TEST = 1
    VALIDATION = 2
    LAST_TRAIN = 3  # training with every item a target


class Explanations(NamedTuple):
    """One split of explanation.json, a row a record."""

    users: np.ndarray  # (n,) int32
    items: np.ndarray  # (n,) int32
    texts: tuple[str, ...]
    features: tuple[str, ...]  # "" where a record has none

    def select(self, keep: np.ndarray) -> "Explanations":
        """The records where ``keep`` (n,) bool is true."""
        rows = np.flatnonzero(keep)
        return Explanations(
            self.users[rows],
            self.items[rows],
            tuple(self.texts[r] for r in rows),
            tuple(self.features[r] for r in rows),
        )


@dataclass(frozen=True)
class RecDataset:
    """A checked data folder. Histories lie end to end in one array: user u's is
    ``items[offsets[u - 1]:offsets[u]]``, oldest first, its last item the test target, the one
    before it the validation target."""

    name: str
    folder: Path
    user_names: tuple[str, ...]  # original ids; [0] is "" so that user u is user_names[u]
    item_names: tuple[str, ...]  # likewise
    items: np.ndarray  # (interactions,) int32
    offsets: np.ndarray  # (U + 1,) int64
    negatives: np.ndarray | None  # (U, n) int32, row u - 1, some twice; None without negative.txt
    explanations: dict[str, Explanations] | None  # by split; None without explanation.json
    fingerprints: dict[str, str]  # file name -> SHA-256, of what runs and results depend on
    titles: tuple[str, ...] | None = None  # of items, "" for none; None without items.json

    def __str__(self) -> str:
        """One line for the log."""
        sizes = f"{self.n_users:,} users, {self.n_items:,} items"
        return f"{self.name}: {sizes}, {len(self.items):,} interactions"

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_names) - 1

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_names) - 1

    @property
    def users(self) -> np.ndarray:
        """(U,) int64: every user."""
        return np.arange(1, self.n_users + 1)

    @cached_property
    def number_of_user(self) -> dict[str, int]:
        """Original id -> user."""
        return {name: user for user, name in enumerate(self.user_names) if name}

    @cached_property
    def number_of_item(self) -> dict[str, int]:
        """Original id -> item."""
        return {name: item for item, name in enumerate(self.item_names) if name}

    @property
    def lengths(self) -> np.ndarray:
        """(U,) interactions a user, held-out ones included."""
        return np.diff(self.offsets)

    def history(self, user: int) -> np.ndarray:
        """All items of a user, oldest first, the two held-out ones included."""
        return self.items[self.offsets[user - 1] : self.offsets[user]]

    @property
    def catalogue(self) -> np.ndarray:
        """(1, I) int64: every item, as candidates that all users share."""
        return np.arange(1, self.n_items + 1)[None]

    def targets(self, users: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """(n,) users -> (n,) int32: the item of each that is asked for."""
        return self.items[self.offsets[users] - held_out]

    def had(self, users: Sequence[int], held_out: HeldOut) -> list[np.ndarray]:
        """What each of n users had before the target, oldest first."""
        return [self.history(user)[:-held_out] for user in users]

    def target_had(self, users: np.ndarray, held_out: HeldOut) -> np.ndarray:
        """(n,) users -> (n,) bool: is the item that is asked for one that the user had before?"""
        rows = zip(self.had(users, held_out), self.targets(users, held_out))
        return np.array([target in own for own, target in rows], dtype=bool)

    @property
    def test_items(self) -> np.ndarray:
        """(U,) the last item of each user."""
        return self.targets(self.users, HeldOut.TEST)

    @property
    def valid_items(self) -> np.ndarray:
        """(U,) the last item but one of each user."""
        return self.targets(self.users, HeldOut.VALIDATION)

    def pair_key(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(n,) and (n,) -> (n,) int64: one number for each (user, item) pair."""
        return np.asarray(users, dtype=np.int64) * (self.n_items + 1) + items

    def pairs_of(self, keys: np.ndarray) -> np.ndarray:
        """The inverse of ``pair_key``: (n,) keys -> (2, n) int64 users and items."""
        return np.stack(np.divmod(keys, self.n_items + 1))

    @cached_property
    def _users(self) -> np.ndarray:
        """(interactions,) int64: the user of each."""
        return np.repeat(self.users, self.lengths)

    def pair_keys(self) -> np.ndarray:
        """Sorted unique keys of every interaction: what a user "had"."""
        return _sorted_once(self.pair_key(self._users, self.items))

    @cached_property
    def train_keys(self) -> np.ndarray:
        """Sorted unique keys of the train part of the histories."""
        keep = np.ones(len(self.items), dtype=bool)
        keep[self.offsets[1:] - HeldOut.TEST] = False
        keep[self.offsets[1:] - HeldOut.VALIDATION] = False
        return _sorted_once(self.pair_key(self._users[keep], self.items[keep]))

    def train_pairs(self) -> np.ndarray:
        """(2, E) int64 unique (user, item) pairs of the train part."""
        return self.pairs_of(self.train_keys)

    @cached_property
    def popularity(self) -> np.ndarray:
        """(I + 1,) int64: how many users have the item in train; [0] is no item."""
        return np.bincount(self.train_pairs()[1], minlength=self.n_items + 1)


def _sorted_once(keys: np.ndarray) -> np.ndarray:
    """``np.unique``, which takes several times as long in versions of numpy that hash numbers."""
    keys = np.sort(keys)
    return keys[np.diff(keys, prepend=-1) != 0]
