"""The item graph's part of a ranking: scores, the fit of its three numbers, the model's folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from modules.data.dataset import HeldOut
from modules.data.item_graph import ItemGraph, linear_graph
from modules.evaluation.decode import Decoding, pick_method
from modules.evaluation.ranker import Ranker
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.ragged import recent_histories
from modules.loader.tokenizer import add_item_tokens, train_tokenizer
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.model.item_scores import ItemScores
from modules.tasks import Task, WholeWords
from tests.conftest import random_t5
from utils.errors import UserError


@pytest.fixture
def parts(dataset):
    """Prompts and a model of items that are tokens, with the graph of the four users."""
    tokenizer = train_tokenizer(["it is nice and warm"])
    add_item_tokens(tokenizer, dataset.n_items)
    pieces = prompt_pieces(tokenizer, dataset.n_users, np.arange(dataset.n_items + 1), own=True)
    graph = linear_graph(dataset)
    schemes = dict.fromkeys(Task, WholeWords.POSITION)
    sizes = dataset.n_users, dataset.n_items
    config = ELMRecConfig(*sizes, "pod", causal=True, item_graph="linear")
    torch.manual_seed(2)
    t5 = random_t5(len(tokenizer))
    model = ELMRec(t5, config, None, item_graph=Graph.of(graph.edges)).eval()
    return Prompts(pieces, schemes, True, item_graph=graph), model


def evaluation_set(dataset, prompts):
    users = dataset.users
    histories = recent_histories(dataset, users, HeldOut.TEST)
    return prompts.sequential(users, histories, dataset.test_items, BatchSize(3))


def ranker_of(prompts, model):
    trie = build_trie(prompts.pieces.item_targets, prompts.pieces.pad)
    return Ranker(model, trie, prompts.pieces.item_targets, Decoding("exact"), show_progress=False)


def matrix_of(ranked):
    """(n, 13) scores by item."""
    full = np.zeros((len(ranked.items), 13))
    np.put_along_axis(full, ranked.items, ranked.scores, axis=1)
    return full


def plain_scores(dataset, graph, past=0.5):
    """s of each user before the test item, an item at a time."""
    said = np.zeros((4, 13))
    for user in range(4):
        for age, item in enumerate(reversed(dataset.history(user + 1)[:-1].tolist())):
            said[user] += past**age * graph.edges[item].toarray()[0]
    return np.maximum(said, 0)[:, 1:]


def test_a_ranking_is_by_both(dataset, parts):
    prompts, model = parts
    samples = evaluation_set(dataset, prompts)
    with torch.no_grad():
        model.item_scores.logs.copy_(torch.tensor([0.7, 1.5, 0.02]).log())
    ranker = ranker_of(prompts, model)
    both = ranker.rank(samples, dataset.catalogue, 12)
    few = np.array([[1, 5, 7], [2, 3, 4], [9, 8, 7], [12, 1, 6]])
    of_few = ranker.rank(samples, few, 3)
    places = ranker.places(samples, dataset.test_items, [np.array([], dtype=int)] * 4)
    model.item_scores = None
    alone = matrix_of(ranker_of(prompts, model).rank(samples, dataset.catalogue, 12))[:, 1:]
    mixed = 0.7 * alone + 1.5 * np.log(1 + plain_scores(dataset, prompts.item_graph) / 0.02)
    expected = torch.from_numpy(mixed).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(matrix_of(both)[:, 1:], expected, atol=1e-4)
    assert (both.items != np.argsort(-alone, axis=1) + 1).any()
    order = np.argsort(-np.take_along_axis(mixed, few - 1, axis=1), axis=1)
    np.testing.assert_array_equal(of_few.items, np.take_along_axis(few, order, axis=1))
    own = mixed[np.arange(4), dataset.test_items - 1]
    np.testing.assert_array_equal(places, (mixed > own[:, None]).sum(axis=1))


def test_training_does_not_see_the_graph(dataset, parts):
    prompts, _ = parts
    how = StepPlan(BatchSize(4)), np.random.default_rng(0)
    batch = next(TrainingStream(Task.SEQUENTIAL, dataset, prompts, *how)).batches[0]
    assert batch.graph_scores is None


def test_the_fit_is_the_most_likely_mixture():
    """Against scipy's simplex search on the same likelihood."""
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.full(30, 0.3), 400))
    scores = rng.random((400, 30)) * (rng.random((400, 30)) < 0.2) * 0.3
    truth = 0.6 * log_p + 1.4 * np.log1p(scores / 0.01)
    chances = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(30, p=row) for row in chances])

    def loss(logs):
        tau, gamma, epsilon = np.exp(logs)
        mixed = tau * log_p + gamma * np.log1p(scores / epsilon)
        own = mixed[np.arange(400), targets]
        prior = np.square(logs - np.log([1, 1, 1e-3])).sum() / 400
        return (np.log(np.exp(mixed).sum(axis=1)) - own).mean() + prior

    best = minimize(loss, np.log([1, 1, 1e-3]), method="Nelder-Mead", tol=1e-8)
    model = ItemScores()
    floats = (torch.from_numpy(x).float() for x in (log_p, scores))
    log_p32, scores32 = floats
    model.fit(
        log_p32,
        lambda past: scores32 if past == 0.7 else torch.zeros(400, 30),
        torch.from_numpy(targets),
    )
    assert model.past.item() == pytest.approx(0.7)
    assert loss(model.logs.numpy()) == pytest.approx(best.fun, abs=1e-4)
    np.testing.assert_allclose(model.logs.exp()[:2], [0.6, 1.4], rtol=0.25)
    assert "τ 0." in str(model)


def test_a_graph_that_knows_nothing_moves_nothing():
    rng = np.random.default_rng(0)
    log_p = torch.from_numpy(np.log(rng.dirichlet(np.ones(10), 50))).float()
    model = ItemScores()
    targets = torch.from_numpy(rng.integers(10, size=50))
    model.fit(log_p, lambda past: torch.zeros(50, 10), targets)
    assert model.past.item() == 0.5
    np.testing.assert_allclose(model.logs[1:].exp(), [1.0, 1e-3], rtol=1e-4)


def test_the_ranker_fits_it_by_users_and_targets(dataset, parts):
    prompts, model = parts
    ranker, samples = ranker_of(prompts, model), evaluation_set(dataset, prompts)
    ranker.fit_item_graph(samples, prompts.item_graph)
    model.item_scores, fitted = None, model.item_scores
    alone = matrix_of(ranker_of(prompts, model).rank(samples, dataset.catalogue, 12))[:, 1:]
    expected, targets = ItemScores(), torch.from_numpy(dataset.test_items.astype(np.int64) - 1)

    def said(past):
        return torch.from_numpy(plain_scores(dataset, prompts.item_graph, past)).float()

    expected.fit(torch.from_numpy(alone).float(), said, targets)
    torch.testing.assert_close(fitted.logs, expected.logs, rtol=1e-3, atol=1e-3)
    assert fitted.past == expected.past
    assert (fitted.logs - ItemScores().logs).abs().max() > 0.01


def test_the_folder_holds_the_graph_and_what_it_is_worth(dataset, parts, tmp_path):
    prompts, model = parts
    model.item_scores.logs.copy_(torch.tensor([-0.3, 0.3, -5.0]))
    model.item_scores.past.fill_(0.7)
    prompts = replace(prompts, item_graph=prompts.item_graph._replace(past=0.7))
    model.save_pretrained(tmp_path)
    again = ELMRec.from_pretrained(tmp_path)
    edges = again.item_graph().scipy()
    np.testing.assert_array_equal(edges.toarray(), prompts.item_graph.edges.toarray())
    assert again.item_scores.past.item() == pytest.approx(0.7)
    read = Prompts(prompts.pieces, prompts.schemes, True, item_graph=ItemGraph(edges, 0.7))
    found = [
        ranker_of(p, m).rank(evaluation_set(dataset, p), dataset.catalogue, 12)
        for p, m in ((prompts, model), (read, again))
    ]
    np.testing.assert_array_equal(found[0].items, found[1].items)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


def test_a_search_by_tokens_does_not_see_it(trie):
    assert pick_method("auto", trie, graph=True) == "exact"
    with pytest.raises(UserError, match=r"--decode beam.*item graph"):
        pick_method("beam", trie, graph=True)
