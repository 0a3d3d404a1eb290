"""LightGCN against dense algebra and plain autograd; what it must not see."""

import numpy as np
import pytest
import torch

from modules.baselines import lightgcn
from modules.baselines.lightgcn import LightGCN, fit_lightgcn
from modules.baselines.ranking import tie_places
from modules.baselines.scorer import ask
from modules.baselines.stopping import Pace, validation_ndcg
from modules.data.dataset import HeldOut
from modules.data.reader import load_dataset
from tests.baselines.conftest import data_of
from tests.conftest import HISTORIES, ROOT


def model_of(dataset, layers=2, seed=0):
    return LightGCN(dataset, layers, np.random.default_rng(seed))


def everybody(dataset, until=HeldOut.VALIDATION):
    return ask(dataset, dataset.users, until)


@pytest.mark.parametrize("layers", [2, 3])
def test_steps_are_those_of_plain_autograd(dataset, layers, monkeypatch):
    """The same draws; nodes are 4 users, then 12 items; everything dense, in float64."""
    monkeypatch.setattr(lightgcn, "batch_size", lambda n, most: 4)
    adjacency = torch.zeros(16, 16, dtype=torch.float64)
    for user, items in HISTORIES.items():
        for item in items[:-2]:
            adjacency[user - 1, 3 + item] = adjacency[3 + item, user - 1] = 1.0
    degree = adjacency.sum(1).clamp(min=1.0)
    adjacency = adjacency / torch.sqrt(degree[:, None] * degree)

    def plain_table():
        return sum(torch.linalg.matrix_power(adjacency, k) @ e0 for k in range(layers + 1)) / (
            layers + 1
        )

    twin = model_of(dataset, layers)
    e0 = twin.features.detach()[1:].double().requires_grad_()
    optimizer = torch.optim.Adam([e0], lr=1e-3)
    steps = 0
    for _ in range(20):
        for users, items, negatives in twin.batches():
            loss = 0.0
            for u, i, n in zip(users - 1, 3 + items, 3 + negatives):
                w = plain_table()
                loss = loss - torch.log(torch.sigmoid(w[u] @ w[i] - w[u] @ w[n]))
                loss = loss + 1e-4 / 2 * sum((e0[node] ** 2).sum() for node in (u, i, n))
            optimizer.zero_grad()
            (loss / len(users)).backward()
            optimizer.step()
            steps += 1
    model = model_of(dataset, layers)
    before = model.scorer()(None, everybody(dataset))
    for _ in range(20):
        model.epoch()
    w = plain_table().detach()
    expected = (w[:4] @ w[4:].T).numpy()
    found = model.scorer()(None, everybody(dataset))
    assert steps == 20 * 3  # of 4, 4 and 3 pairs
    assert np.abs(found - before).max() > 0.05
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-5)
    assert (found[:, 0] == 0).all()


def test_negatives_are_uniform_over_what_is_not_in_train(dataset):
    model = model_of(dataset)
    for user, items in HISTORIES.items():
        drawn = model.negatives(np.full(20_000, user))
        counts = np.bincount(drawn, minlength=13)
        free = [item for item in range(1, 13) if item not in items[:-2]]
        assert np.flatnonzero(counts).tolist() == free
        expected = 20_000 / len(free)
        assert np.abs(counts[free] - expected).max() < 5 * expected**0.5


def test_every_pair_comes_once_an_epoch(dataset):
    users, items, negatives = (np.concatenate(part) for part in zip(*model_of(dataset).batches()))
    pairs = [(user, item) for user, row in HISTORIES.items() for item in row[:-2]]
    assert sorted(zip(users.tolist(), items.tolist())) == sorted(pairs)
    assert not set(zip(users.tolist(), negatives.tolist())) & set(pairs)


def test_who_has_everything_teaches_nothing(tmp_path):
    dataset = data_of(tmp_path / "all", [[1, 2, 3, 4, 1, 2], [1, 2, 3, 4]])
    users = np.concatenate([users for users, _, _ in model_of(dataset).batches()])
    assert users.tolist() == [2, 2]


def test_held_out_items_are_not_in_it(tmp_path):
    """Other validation and test items, the same model; and users are the same in each test."""
    these = [*HISTORIES.values(), [1, 2, 12, 3]]
    others = [[*row[:-2], 13 - row[-2], 13 - row[-1]] for row in these]
    found = []
    for name, rows in (("these", these), ("others", others)):
        dataset = data_of(tmp_path / name, rows)
        model = model_of(dataset)
        for _ in range(5):
            model.epoch()
        found += [model.scorer()(None, everybody(dataset, until)) for until in HeldOut]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_it_beats_popularity_and_knows_its_seed(monkeypatch):
    monkeypatch.setattr(lightgcn, "PACE", Pace(every=20, patience=1, most=40))
    dataset = load_dataset(ROOT / "data" / "demo")
    state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    scores = [fit_lightgcn(dataset, seed, 2)(None, everybody(dataset)) for seed in (0, 0, 1)]
    assert np.array_equal(state[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(state[1], torch.get_rng_state())
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    popularity = np.repeat(dataset.popularity[None].astype(np.float32), dataset.n_users, axis=0)
    place = tie_places(dataset, 0)
    quality = [
        validation_ndcg(dataset, lambda _, asked, s=s: s[asked.users - 1].copy(), place)
        for s in (scores[0], popularity)
    ]
    assert quality[0] > 2 * quality[1]
