"""The item graphs' part of a ranking: scores, the fit of their numbers, the model's folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from modules.data.dataset import HeldOut
from modules.data.item_graph import GRAPH_KINDS, item_graph
from modules.evaluation.decode import Decoding, pick_method
from modules.evaluation.ranker import Ranker
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts, items_by_age
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.tokenizer import add_item_tokens, train_tokenizer
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.model.item_scores import ItemScores, after, hops_of
from modules.tasks import Task, WholeWords
from tests.conftest import gpu, needs_gpu, random_t5
from utils.errors import UserError

PASTS = [kind.pasts for kind in GRAPH_KINDS.values()]
SOME = torch.tensor([0.7, 1.5, 0.02, 0.4, 0.01]).log()  # τ; γ and ε of two graphs


@pytest.fixture
def parts(dataset):
    """Prompts and a model of items that are tokens, with both graphs of the four users."""
    tokenizer = train_tokenizer(["it is nice and warm"])
    add_item_tokens(tokenizer, dataset.n_items)
    pieces = prompt_pieces(tokenizer, dataset.n_users, np.arange(dataset.n_items + 1), own=True)
    schemes = dict.fromkeys(Task, WholeWords.POSITION)
    sizes = dataset.n_users, dataset.n_items
    config = ELMRecConfig(*sizes, "pod", causal=True, item_graph="both")
    graphs = {name: Graph.of(item_graph(name, dataset).edges) for name in GRAPH_KINDS}
    torch.manual_seed(2)
    model = ELMRec(random_t5(len(tokenizer)), config, None, item_graphs=graphs).eval()
    return Prompts(pieces, schemes, True, item_graphs=True), model


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


def plain_scores(dataset, name, past):
    """s of each user before the test item, an item at a time."""
    kind = GRAPH_KINDS[name]
    edges = np.linalg.matrix_power(kind.edges(dataset).toarray(), kind.hops)
    said = np.zeros((4, 13))
    for user in range(4):
        for age, item in enumerate(reversed(dataset.history(user + 1)[:-1].tolist())):
            said[user] += past**age * edges[item]
    return np.maximum(said, 0)[:, 1:]


def test_a_ranking_is_by_all_of_them(dataset, parts):
    prompts, model = parts
    samples = evaluation_set(dataset, prompts)
    model.item_scores.logs.copy_(SOME)
    ranker = ranker_of(prompts, model)
    together = ranker.rank(samples, dataset.catalogue, 12)
    few = np.array([[1, 5, 7], [2, 3, 4], [9, 8, 7], [12, 1, 6]])
    of_few = ranker.rank(samples, few, 3)
    places = ranker.places(samples, dataset.test_items, [np.array([], dtype=int)] * 4)
    bare = evaluation_set(dataset, replace(prompts, item_graphs=False))
    alone = matrix_of(ranker.rank(bare, dataset.catalogue, 12))[:, 1:]
    tau, *rest = SOME.exp().tolist()
    mixed = tau * alone
    for n, name in enumerate(GRAPH_KINDS):
        said = plain_scores(dataset, name, PASTS[n][0])
        assert said.max() > 0.01
        mixed = mixed + rest[2 * n] * np.log(1 + said / rest[2 * n + 1])
    expected = torch.from_numpy(mixed).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(matrix_of(together)[:, 1:], expected, atol=1e-4)
    assert (together.items != np.argsort(-alone, axis=1) + 1).any()
    order = np.argsort(-np.take_along_axis(mixed, few - 1, axis=1), axis=1)
    np.testing.assert_array_equal(of_few.items, np.take_along_axis(few, order, axis=1))
    own = mixed[np.arange(4), dataset.test_items - 1]
    np.testing.assert_array_equal(places, (mixed > own[:, None]).sum(axis=1))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[gpu, needs_gpu])])
@pytest.mark.parametrize("through_users", [False, True])
def test_what_a_graph_says_of_a_history(dataset, through_users, device, monkeypatch):
    """An item that is there twice counts twice; what is below 0 counts as 0."""
    if through_users:
        monkeypatch.setattr("modules.data.item_graph.MOST_PATHS", 1)
    histories = Ragged(np.array([9, 3, 9, 5, 3, 1]), np.array([0, 4, 4, 6]))
    for name, kind in GRAPH_KINDS.items():
        graph = item_graph(name, dataset)
        columns = graph.edges.shape[1] if graph.through_users else None
        assert graph.through_users == (through_users and name == "paths")
        on_device = Graph(*(part.to(device) for part in Graph.of(graph.edges)))
        hops = hops_of(on_device, columns, kind.hops)
        found = after(hops, 0.5, items_by_age(histories).to(device), 3).cpu()
        edges = np.linalg.matrix_power(kind.edges(dataset).toarray(), kind.hops)
        first, third = edges[5] + 0.5 * edges[9] + 0.25 * edges[3] + 0.125 * edges[9], edges[1]
        expected = [first, np.zeros(13), third + 0.5 * edges[3]]
        np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-5, atol=1e-7)
        assert np.max(expected) > 0.01


def test_training_does_not_see_the_graphs(dataset, parts):
    prompts, _ = parts
    how = StepPlan(BatchSize(4)), np.random.default_rng(0)
    batch = next(TrainingStream(Task.SEQUENTIAL, dataset, prompts, *how)).batches[0]
    assert batch.histories is None


def test_the_fit_is_the_most_likely_mixture():
    """Against scipy's simplex search on the same likelihood."""
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.full(30, 0.3), 400))
    scores = rng.random((2, 400, 30)) * (rng.random((2, 400, 30)) < 0.2) * 0.3
    truth = 0.6 * log_p + 1.4 * np.log1p(scores[0] / 0.01) + 0.5 * np.log1p(scores[1] / 0.002)
    chances = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(30, p=row) for row in chances])
    first = np.log([1, 1, 1e-3, 1, 1e-3])

    def loss(logs):
        tau, *rest = np.exp(logs)
        mixed = tau * log_p
        for n, s in enumerate(scores):
            mixed = mixed + rest[2 * n] * np.log1p(s / rest[2 * n + 1])
        own = mixed[np.arange(400), targets]
        prior = np.square(logs - first).sum() / 400
        return (np.log(np.exp(mixed).sum(axis=1)) - own).mean() + prior

    how = {"maxiter": 5000, "maxfev": 5000}
    best = minimize(loss, first, method="Nelder-Mead", tol=1e-8, options=how)
    model = ItemScores([(0.5, 0.7), (0.8,)])
    nothing, given = torch.zeros(400, 30), torch.from_numpy(scores).float()

    def scores_of(graph, past):
        return given[graph] if (graph, past) in ((0, 0.7), (1, model.pasts[1].item())) else nothing

    model.fit(torch.from_numpy(log_p).float(), scores_of, torch.from_numpy(targets))
    np.testing.assert_allclose(model.pasts, [0.7, 0.8])
    assert loss(model.logs.numpy()) == pytest.approx(best.fun, abs=1e-4)
    np.testing.assert_allclose(model.logs.exp()[[0, 1, 3]], [0.6, 1.4, 0.5], rtol=0.3)
    assert str(model).startswith("τ 0.")


def test_a_graph_that_knows_nothing_moves_nothing():
    rng = np.random.default_rng(0)
    log_p = torch.from_numpy(np.log(rng.dirichlet(np.ones(10), 50))).float()
    model = ItemScores(PASTS)
    targets = torch.from_numpy(rng.integers(10, size=50))
    model.fit(log_p, lambda graph, past: torch.zeros(50, 10), targets)
    np.testing.assert_allclose(model.logs[1:].exp(), [1.0, 1e-3, 1.0, 1e-3], rtol=1e-4)
    np.testing.assert_allclose(model.pasts, [0.5, 0.8])


def test_the_ranker_fits_them_by_rows_and_targets(dataset, parts):
    prompts, model = parts
    ranker_of(prompts, model).fit_item_graphs(evaluation_set(dataset, prompts))
    bare = evaluation_set(dataset, replace(prompts, item_graphs=False))
    alone = matrix_of(ranker_of(prompts, model).rank(bare, dataset.catalogue, 12))[:, 1:]
    expected = ItemScores(PASTS)
    targets = torch.from_numpy(dataset.test_items.astype(np.int64) - 1)

    def said(graph, past):
        return torch.from_numpy(plain_scores(dataset, list(GRAPH_KINDS)[graph], past)).float()

    expected.fit(torch.from_numpy(alone).float(), said, targets)
    torch.testing.assert_close(model.item_scores.logs, expected.logs, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(model.item_scores.pasts, expected.pasts)
    assert (expected.logs - ItemScores(PASTS).logs).abs().max() > 0.01


def test_the_folder_holds_the_graphs_and_what_they_are_worth(dataset, parts, tmp_path):
    prompts, model = parts
    model.item_scores.logs.copy_(SOME)
    model.item_scores.pasts.copy_(torch.tensor([0.7, 0.9]))
    model.save_pretrained(tmp_path)
    again = ELMRec.from_pretrained(tmp_path)
    torch.testing.assert_close(again.item_scores.pasts, torch.tensor([0.7, 0.9]))
    found = []
    for m in (model, again):
        ranker = ranker_of(prompts, m)
        found.append(ranker.rank(evaluation_set(dataset, prompts), dataset.catalogue, 12))
    np.testing.assert_array_equal(found[0].items, found[1].items)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


def test_a_search_by_tokens_does_not_see_it(trie):
    assert pick_method("auto", trie, graph=True) == "exact"
    with pytest.raises(UserError, match=r"--decode beam.*item graph"):
        pick_method("beam", trie, graph=True)
