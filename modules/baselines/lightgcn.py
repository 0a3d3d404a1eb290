"""LightGCN (He et al., SIGIR 2020): embeddings learned through the train user-item graph.

    W    = 1/(L+1) * sum_{k=0..L} A_hat^k E0             (modules/model/graph.py)
    loss = mean softplus(W_u . W_n - W_u . W_i) + λ/2 * mean (|E0_u|^2 + |E0_i|^2 + |E0_n|^2)

over the train pairs (u, i), each with an item n that u does not have in train (BPR). An item's
score is its W times the user's. As published, a user is who they were at the end of training: in
the sequential test, the validation item is neither in the graph nor looked at.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch.nn.functional import softplus

from modules.baselines.scorer import Asked, Scorer
from modules.baselines.stopping import Pace, batch_size, train_until_best
from modules.data.dataset import RecDataset
from modules.model.graph import normalized_adjacency, propagate
from modules.randomness import Stream, rng

WIDTH = 64
LEARNING_RATE = 1e-3
PENALTY = 1e-4  # λ
BATCH = 2048  # pairs
PACE = Pace(every=5, patience=10, most=1000)


class LightGCN:
    """E0 of all nodes (0: nobody, then users, then items), and how it is trained."""

    def __init__(self, dataset: RecDataset, layers: int, generator: np.random.Generator) -> None:
        """generator: of E0, of the order of pairs, of negatives."""
        self._n_users, self._n_items, self._layers = dataset.n_users, dataset.n_items, layers
        self._rng = generator
        self.graph = normalized_adjacency(dataset.train_pairs(), dataset.n_users, dataset.n_items)
        size = (dataset.n_users + dataset.n_items + 1, WIDTH)
        drawn = generator.normal(0.0, 0.1, size).astype(np.float32)
        self.features = torch.nn.Parameter(torch.from_numpy(drawn))
        self._optimizer = torch.optim.Adam([self.features], lr=LEARNING_RATE)

        users, items = dataset.train_pairs()  # by user, then by item
        count = np.bincount(users, minlength=self._n_users + 1)
        self._first = np.cumsum(count) - count  # (U + 1,) where the user's pairs begin
        self._free = self._n_items - count  # (U + 1,) items that are not in train
        # Of each pair, how many free items come before it, after the keys of smaller users.
        before = items - 1 - (np.arange(len(users)) - self._first[users])
        self._before = users * (self._n_items + 1) + before
        can_lose = self._free[users] > 0
        self._pairs = users[can_lose], items[can_lose]

    def negatives(self, users: np.ndarray) -> np.ndarray:
        """(b,) users -> (b,) an item for each, uniform over those that it has not in train."""
        nth = self._rng.integers(self._free[users])
        keys = users * (self._n_items + 1) + nth
        return nth + 1 + np.searchsorted(self._before, keys, side="right") - self._first[users]

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Users, items and negatives of the steps of an epoch."""
        users, items = self._pairs
        order = self._rng.permutation(len(users))
        size = batch_size(len(order), BATCH)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield users[rows], items[rows], self.negatives(users[rows])

    def epoch(self) -> None:
        """Train once on every pair."""
        for batch in self.batches():
            users, items, negatives = (torch.from_numpy(part) for part in batch)
            nodes = torch.stack([users, items + self._n_users, negatives + self._n_users])
            user, item, negative = propagate(self.features, self.graph, self._layers)[nodes]
            loss = softplus((user * (negative - item)).sum(-1)).mean()
            loss = loss + PENALTY / 2 * self.features[nodes].square().sum() / len(users)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    @torch.no_grad()
    def scorer(self) -> Scorer:
        """Scores by what W is now."""
        table = propagate(self.features, self.graph, self._layers).numpy()
        items = table[self._n_users :].copy()
        items[0] = 0.0  # no item

        def score(histories: sparse.csr_matrix, asked: Asked) -> np.ndarray:
            return table[asked.users] @ items.T

        return score


def fit_lightgcn(dataset: RecDataset, seed: int, layers: int) -> Scorer:
    """LightGCN of L layers, trained until the validation items are ranked no better."""
    model = LightGCN(dataset, layers, rng(seed, Stream.BASELINE))
    return train_until_best(dataset, seed, PACE, model.epoch, model.scorer)
