"""The two protocols: what training may see of a data set, and how items are numbered.

The published data give away what is held out, by the edges of the graph and by the items' numbers
(docs/protocols.md). ``clean`` shows nothing of it; ``paper`` is the published way.
"""

from typing import NamedTuple

import numpy as np

from modules.data.dataset import Explanations, RecDataset

PROTOCOLS = ("clean", "paper")
ITEM_IDS = ("random", "published", "collaborative", "own")
# Of all interactions, so many are train records of the published splits, by POD's batch counts: of
# Toys, and of Beauty and Sports.
LEAKED_OF = {"toys": 0.49}
LEAKED = 0.53


class TrainView(NamedTuple):
    """What a protocol lets training see, and how much of that is held out."""

    protocol: str
    edges: np.ndarray  # (2, E) int64: user, item
    explanations: Explanations | None  # train records
    held_out_pairs: int  # (user, validation or test item) pairs of the data set
    held_out_edges: int  # ... among the edges
    held_out_records: int  # ... among the train records
    dropped_records: int  # train records left out because their pair is held out

    def __str__(self) -> str:
        """One line for the log."""
        line = f"protocol {self.protocol}: {self.edges.shape[1]:,} edges in the graph"
        if self.explanations is not None:
            line += f", {len(self.explanations.users):,} explanation records"
        if self.protocol == "clean":
            return (
                f"{line} ({self.dropped_records:,} of held-out pairs left out); nothing held out "
                "is seen"
            )
        return (
            f"{line}; HELD-OUT PAIRS SEEN: {self.held_out_edges:,} as edges, "
            f"{self.held_out_records:,} as records, of {self.held_out_pairs:,}"
        )


def train_view(
    dataset: RecDataset, protocol: str, leak: np.random.Generator | None = None
) -> TrainView:
    """Edges of the graph and explanation records for training, by protocol.

    ``clean``: edges are the train interactions; records of held-out pairs leave training.
    ``paper``: edges are the pairs of the train records (the train interactions, where a set has
    no explanations), and all records train, those of held-out pairs too.

    Args:
        leak: with ``paper``, simulate the published graph of a set that has no explanations:
            a share of all pairs as large as the published one (by the set's name; ``LEAKED``
            for others), held-out ones among them, drawn from this generator.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {PROTOCOLS}")
    held_out = held_out_keys(dataset)
    keys = dataset.train_keys
    records = dataset.explanations["train"] if dataset.explanations else None
    dropped = seen_records = 0
    if records is not None:
        of_records = dataset.pair_key(records.users, records.items)
        leaks = np.isin(of_records, held_out)
        if protocol == "clean":
            dropped = int(leaks.sum())
            records = records.select(~leaks)
        else:
            seen_records = int(leaks.sum())
            keys = np.unique(of_records)
    if leak is not None:
        pairs = dataset.pair_keys()
        share = LEAKED_OF.get(dataset.name.lower(), LEAKED)
        keys = np.sort(leak.choice(pairs, round(share * len(pairs)), replace=False))
    seen_edges = int(np.isin(keys, held_out).sum())
    return TrainView(
        protocol,
        dataset.pairs_of(keys),
        records,
        2 * dataset.n_users,
        seen_edges,
        seen_records,
        dropped,
    )


def held_out_keys(dataset: RecDataset) -> np.ndarray:
    """Sorted keys (``RecDataset.pair_key``) of the validation and test pairs."""
    targets = [
        dataset.pair_key(dataset.users, i) for i in (dataset.valid_items, dataset.test_items)
    ]
    # An item bought again after it was held out is in train anyway: nothing leaks.
    return np.setdiff1d(np.concatenate(targets), dataset.train_keys)


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
