"""The item graph's part of the scores: in the loss, in ranking, in the model's folder."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from modules.data.dataset import HeldOut
from modules.data.item_graph import ItemGraph, item_graph
from modules.evaluation.ranker import Decoding, Ranker, pick_method
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.tokenizer import add_item_tokens, train_tokenizer
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.model.item_scores import Added, ItemScores
from modules.model.loss import ContinuationLoss
from modules.tasks import Task, WholeWords
from tests.conftest import random_t5
from utils.errors import UserError

END, ITEMS = 1, 9


def sparse_scores(rows: int, items: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Some places in the order of rows, and scores there."""
    generator = torch.Generator().manual_seed(3)
    dense = torch.rand(rows, items + 1, generator=generator) * 0.1
    dense[torch.rand(rows, items + 1, generator=generator) < 0.6] = 0.0
    dense[:, 0], dense[2] = 0.0, 0.0  # no item; and a row of which the graph knows nothing
    places = dense.nonzero().T
    return places, dense[tuple(places)]


@pytest.mark.parametrize("chunk", [1, 25, 1 << 19])
def test_loss_and_gradients_are_those_of_a_softmax_over_both_scores(chunk, monkeypatch):
    monkeypatch.setattr("modules.model.loss._CHUNK", chunk)
    trie = build_trie(Ragged.of([[END], *([item + 4, END] for item in range(1, ITEMS + 1))]), 0)
    loss, items = ContinuationLoss(trie), torch.tensor([1, 9, 4, 4, 7])
    places, values = sparse_scores(5, ITEMS)
    found = []
    for plain in (False, True):
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(5, 1, 6, generator=generator).requires_grad_()
        weight = torch.randn(15, 6, generator=generator).requires_grad_()
        scores = ItemScores()
        if plain:
            gamma, epsilon = scores.log_weight.exp(), scores.log_floor.exp()
            dense = torch.zeros(5, ITEMS + 1).index_put(tuple(places), values)
            logits = hidden[:, 0] @ weight[5 : ITEMS + 5].T
            logits = logits + gamma * torch.log(1 + dense[:, 1:] / epsilon)
            value = cross_entropy(logits, items - 1)
        else:
            value = loss(hidden, weight, items, Added(places, scores(values)))
        (2 * value).backward()
        grads = scores.log_weight.grad, scores.log_floor.grad
        assert all(grad.abs() > 1e-3 for grad in grads)
        found.append((value.detach(), hidden.grad, weight.grad, *grads))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_numbers_of_several_tokens_have_no_such_scores():
    trie = build_trie(Ragged.of([[END], [5, 6, END], [5, 7, END]]), 0)
    added = Added(torch.tensor([[0], [1]]), torch.tensor([0.1]))
    with pytest.raises(ValueError, match="one token each"):
        ContinuationLoss(trie)(torch.zeros(1, 2, 4), torch.zeros(9, 4), torch.tensor([1]), added)


@pytest.fixture
def parts(dataset):
    """Prompts and a model of items that are tokens, with the graph of the four users."""
    tokenizer = train_tokenizer(["it is nice and warm"])
    add_item_tokens(tokenizer, dataset.n_items)
    pieces = prompt_pieces(tokenizer, dataset.n_users, np.arange(dataset.n_items + 1), own=True)
    graph = item_graph(dataset, leave_out=True)
    schemes = dict.fromkeys(Task, WholeWords.POSITION)
    sizes = dataset.n_users, dataset.n_items
    config = ELMRecConfig(*sizes, "pod", causal=True, own_edges="drop", item_graph="linear")
    torch.manual_seed(2)
    loss = ContinuationLoss(build_trie(pieces.item_targets, pieces.pad))
    t5 = random_t5(len(tokenizer))
    model = ELMRec(t5, config, None, loss, item_graph=Graph.of(graph.edges)).eval()
    return Prompts(pieces, schemes, True, True, graph), model


def evaluation_set(dataset, prompts, held_out=HeldOut.TEST):
    users = dataset.users
    histories = recent_histories(dataset, users, held_out)
    return prompts.sequential(users, histories, dataset.targets(users, held_out), BatchSize(3))


def test_a_ranking_is_by_both_scores(dataset, parts):
    prompts, model = parts
    samples = evaluation_set(dataset, prompts)
    trie = build_trie(prompts.pieces.item_targets, prompts.pieces.pad)
    targets = prompts.pieces.item_targets
    ranker = Ranker(model, trie, targets, Decoding("exact"), show_progress=False)
    items, scores, _ = ranker.rank(samples, dataset.catalogue, 12)
    model.item_scores, scorer = None, model.item_scores
    alone_items, alone, _ = ranker.rank(samples, dataset.catalogue, 12)
    logits = np.zeros((4, 13))
    np.put_along_axis(logits, alone_items, alone, axis=1)
    said = np.zeros((4, 13), dtype=np.float32)
    for user in range(4):
        for age, item in enumerate(reversed(dataset.history(user + 1)[:-1].tolist())):
            said[user] += 0.5**age * prompts.item_graph.edges[item].toarray()[0]
    with torch.no_grad():
        logits += scorer(torch.from_numpy(said).clamp(min=0)).numpy()
    expected = torch.from_numpy(logits[:, 1:]).log_softmax(dim=1).numpy()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, items - 1, 1), atol=1e-4)
    assert (items != alone_items).any()


def test_a_training_step_reads_the_graph_without_its_users(dataset, parts):
    prompts, _ = parts
    for drop in (True, False):
        prompts = Prompts(prompts.pieces, prompts.schemes, True, drop, prompts.item_graph)
        how = StepPlan(BatchSize(4)), np.random.default_rng(0)
        batch = next(TrainingStream(Task.SEQUENTIAL, dataset, prompts, *how)).batches[0]
        found = np.zeros((len(batch.items), 13))
        found[tuple(batch.scored.numpy())] = batch.item_scores.numpy()
        expected = []
        for user in batch.users.numpy():
            if drop:
                targets = np.arange(*dataset.target_starts[user - 1 : user + 1])
                expected.extend(prompts.item_graph.in_training(targets).toarray())
                continue
            train = dataset.history(user)[:-2].tolist()
            for cut in range(1, len(train)):
                weights = [0.5**age for age in range(cut)]
                edges = prompts.item_graph.edges[train[:cut][::-1]].toarray()
                expected.append(np.array(weights) @ edges)
        np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-6)
        own = found[np.arange(len(found)), batch.items.numpy()]
        assert (own.max() > 0.02) == (not drop)  # four users of whom no two went the same way


def test_the_folder_holds_the_graph_and_what_it_is_worth(dataset, parts, tmp_path):
    prompts, model = parts
    with torch.no_grad():
        model.item_scores.log_weight.fill_(0.3)
    model.save_pretrained(tmp_path)
    again = ELMRec.from_pretrained(tmp_path)
    assert again.item_scores.log_weight.item() == pytest.approx(0.3)
    edges = again.item_graph().scipy()
    np.testing.assert_array_equal(edges.toarray(), prompts.item_graph.edges.toarray())
    read = Prompts(prompts.pieces, prompts.schemes, True, True, ItemGraph(edges))
    with torch.no_grad():
        kept = model.added(evaluation_set(dataset, prompts)[0][1])
        torch.testing.assert_close(again.added(evaluation_set(dataset, read)[0][1]), kept)
    assert len(kept.values)


def test_a_search_by_tokens_does_not_see_it(trie):
    assert pick_method("auto", trie, graph=True) == "exact"
    with pytest.raises(UserError, match=r"--decode beam.*item graph"):
        pick_method("beam", trie, graph=True)
