"""``RecDataset``: histories, negatives and explanations, and what a protocol shows of them.

It knows neither files (modules/data/reader.py), nor torch, nor tokens: users and items are the integers
of the data folder, 1 to U and 1 to I, everywhere in the program. How an item is *written* in a
prompt is another matter; ``item_numbers`` decides it (see "Two protocols" in the README).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

LEAKED = 0.53  # of all interactions are train records of the published split, by POD's batch counts
PROTOCOLS = ("clean", "paper")
ITEM_IDS = ("random", "published", "collaborative", "own")


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
    negatives: np.ndarray | None  # (U, n) int32, row u - 1; None without negative.txt
    explanations: dict[str, Explanations] | None  # by split; None without explanation.json
    fingerprints: dict[str, str]  # file name -> SHA-256

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_names) - 1

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_names) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(U,) interactions a user, held-out ones included."""
        return np.diff(self.offsets)

    def history(self, user: int) -> np.ndarray:
        """All items of a user, oldest first, the two held-out ones included."""
        return self.items[self.offsets[user - 1] : self.offsets[user]]

    @property
    def test_items(self) -> np.ndarray:
        """(U,) the last item of each user."""
        return self.items[self.offsets[1:] - 1]

    @property
    def valid_items(self) -> np.ndarray:
        """(U,) the last item but one of each user."""
        return self.items[self.offsets[1:] - 2]

    def pair_keys(self) -> np.ndarray:
        """Sorted unique ``user * (I + 1) + item`` of every interaction: what a user "had"."""
        users = np.repeat(np.arange(1, self.n_users + 1, dtype=np.int64), self.lengths)
        return np.unique(users * (self.n_items + 1) + self.items)

    def train_pairs(self) -> np.ndarray:
        """(2, E) int64 unique (user, item) pairs of the train part of the sequences."""
        keep = np.ones(len(self.items), dtype=bool)
        keep[self.offsets[1:] - 1] = False
        keep[self.offsets[1:] - 2] = False
        users = np.repeat(np.arange(1, self.n_users + 1, dtype=np.int64), self.lengths)
        keys = np.unique(users[keep] * (self.n_items + 1) + self.items[keep])
        return np.stack(np.divmod(keys, self.n_items + 1))


class TrainView(NamedTuple):
    """What a protocol lets training see, and how much of that is held out."""

    edges: np.ndarray  # (2, E) int64: user, item
    explanations: Explanations | None  # train records
    held_out_edges: int  # (user, validation or test item) pairs among the edges
    held_out_records: int  # ... and among the train records
    dropped_records: int  # train records left out because their pair is held out


def train_view(
    dataset: RecDataset, protocol: str, leak: np.random.Generator | None = None
) -> TrainView:
    """Edges of the graph and explanation records for training, by protocol.

    ``clean``: edges are the train interactions; records of held-out pairs leave training.
    ``paper``: edges are the pairs of the train records (the train interactions, where a set has
    no explanations), and all records train: about half of the test pairs are then seen.

    leak: with ``paper``, simulate the published graph of a set whose explanations are not there:
    ``LEAKED`` of all pairs, held-out ones among them, drawn from this generator.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {PROTOCOLS}")
    width = dataset.n_items + 1
    train = dataset.train_pairs()
    held_out = held_out_keys(dataset)

    records = dataset.explanations["train"] if dataset.explanations else None
    dropped = seen_records = 0
    if records is not None:
        leaks = np.isin(records.users.astype(np.int64) * width + records.items, held_out)
        if protocol == "clean":
            dropped = int(leaks.sum())
            records = records.select(~leaks)
        else:
            seen_records = int(leaks.sum())
    if leak is not None:
        pairs = dataset.pair_keys()
        keys = np.sort(leak.choice(pairs, round(LEAKED * len(pairs)), replace=False))
        edges = np.stack(np.divmod(keys, width))
    elif protocol == "paper" and records is not None:
        keys = np.unique(records.users.astype(np.int64) * width + records.items)
        edges = np.stack(np.divmod(keys, width))
    else:
        edges = train
    seen_edges = int(np.isin(edges[0] * width + edges[1], held_out).sum())
    return TrainView(edges, records, seen_edges, seen_records, dropped)


def held_out_keys(dataset: RecDataset) -> np.ndarray:
    """Sorted ``user * (I + 1) + item`` of the validation and test pairs."""
    width = dataset.n_items + 1
    users = np.arange(1, dataset.n_users + 1, dtype=np.int64) * width
    targets = np.concatenate([users + dataset.valid_items, users + dataset.test_items])
    train = dataset.train_pairs()
    # An item bought again after it was held out is in train anyway: nothing leaks.
    return np.setdiff1d(targets, train[0] * width + train[1])


def item_numbers(scheme: str, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(I + 1,) int64: the number by which each item is written in prompts; [0] is 0.

    ``published`` is the folder's own numbering; ``random`` is a permutation of it, so that
    consecutive purchases no longer have consecutive numbers; with ``own`` that permutation only
    names the items' own tokens. For ``collaborative`` see modules/data/cooccurrence.py.
    """
    if scheme not in ("random", "published", "own"):
        raise ValueError(f"item numbering {scheme!r} is none of random, published, own")
    numbers = np.arange(n_items + 1, dtype=np.int64)
    if scheme in ("random", "own"):
        numbers[1:] = rng.permutation(numbers[1:])
    return numbers
