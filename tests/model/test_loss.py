"""The loss over the trie's continuations, against exact ranking and a plain version."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from modules.data.dataset import HeldOut
from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.batches import BatchSize
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.trie import build_trie
from modules.model.decoder import PrefixDecoder
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.model.loss import ContinuationLoss, drawn_columns

END = 1
# Items 1..6; "5" is a prefix of "5 6", and item 4's first step is its only choice.
NUMBERS = [[2, 3], [2, 4], [5], [6, 7, 8], [5, 6], [6, 7, 9]]


@pytest.fixture
def few():
    return build_trie(Ragged.of([[END], *([*row, END] for row in NUMBERS)]), 0)


def plain(hidden, weight, vocabulary, items):
    """-log p of each item, a step at a time, the trie a list of lists."""
    targets = [[*row, END] for row in NUMBERS]
    losses = []
    for row, item in enumerate(items):
        own, total = targets[item - 1], 0.0
        for t, token in enumerate(own):
            follow = sorted({x[t] for x in targets if x[:t] == own[:t] and len(x) > t})
            if len(follow) > 1:
                columns = [vocabulary.index(x) for x in follow]
                scores = (hidden[row, t] @ weight[columns].T).log_softmax(dim=0)
                total = total - scores[follow.index(token)]
        losses.append(total)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("scores", [1, 1 << 19])
def test_loss_and_gradients_equal_the_plain_version(few, scores, monkeypatch):
    monkeypatch.setattr("modules.model.loss._SCORES", scores)
    table = ContinuationLoss(few)
    used = table.vocabulary.tolist()
    generator = torch.Generator().manual_seed(0)
    items = torch.tensor([1, 2, 3, 4, 5, 6, 6, 3])
    found = []
    for loss in (
        lambda h, w: table(h, w, items),
        lambda h, w: plain(h, w[used], used, items.tolist()),
    ):
        generator.manual_seed(0)
        hidden = torch.randn(8, table.prefix.shape[1], 5, generator=generator).requires_grad_()
        weight = torch.randn(10, 5, generator=generator).requires_grad_()
        value = loss(hidden, weight)
        (3 * value).backward()
        found.append((value.detach(), hidden.grad, weight.grad))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_states_may_stop_with_the_longest_number_of_the_batch(few):
    table, items = ContinuationLoss(few), torch.tensor([1, 3, 5])
    hidden = torch.randn(3, table.prefix.shape[1], 5)
    weight = torch.randn(10, 5)
    whole = table(hidden, weight, items)
    assert torch.equal(table(hidden[:, :2], weight, items), whole)


def test_the_end_mark_is_scored_only_where_a_number_goes_on(few):
    """After "5" a 6 may follow; after all others the end mark follows by itself."""
    scored = ContinuationLoss(few).prefix >= 0
    assert scored[1:].tolist() == [
        [True, True, False],
        [True, True, False],
        [True, True, False],
        [True, False, True],
        [True, True, False],
        [True, False, True],
    ]


def test_it_is_minus_the_log_probability_of_exact_ranking(model, dataset, prompts, trie):
    users = np.arange(1, dataset.n_users + 1)
    histories = recent_histories(dataset, users, HeldOut.VALIDATION)
    samples = prompts.sequential(users, histories, dataset.valid_items, BatchSize(9))
    _, batch = samples[0]
    graph = Graph(model.graph_crow, model.graph_col, model.graph_values)
    model = ELMRec(model.t5, model.config, graph, ContinuationLoss(trie)).eval()
    with torch.no_grad():
        loss = model(batch)
        decoder = PrefixDecoder(model.t5, *model.encode(batch), depth=trie.paths.shape[1])
        tree = prefix_tree(trie, dataset.catalogue)
        scores = rank_exact(decoder, tree, torch.from_numpy(trie.vocabulary))
    own = scores.gather(1, batch.items[:, None] - 1)
    torch.testing.assert_close(loss, -own.mean(), rtol=1e-5, atol=1e-6)


N_ITEMS = 40


@pytest.fixture
def tokens():
    """The trie of 40 items that are a token each, 5 to 44."""
    return build_trie(Ragged.of([[END], *([item + 4, END] for item in range(1, N_ITEMS + 1))]), 0)


def states(n=9, width=6):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(n, 1, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(N_ITEMS + 7, width, generator=generator, dtype=torch.float64)
    items = torch.randint(1, N_ITEMS + 1, (n,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), items


def of_all_items(hidden, weight, items):
    """torch's own cross entropy over the catalogue."""
    return cross_entropy(hidden[:, 0] @ weight[5 : 5 + N_ITEMS].T, items - 1)


def loss_and_gradients(loss, hidden, weight, items):
    value = loss(hidden, weight, items)
    return value, *torch.autograd.grad(2 * value, (hidden, weight))


@pytest.mark.parametrize(("wide", "cut"), [(0, 7), (0, 40), (0, 1000), (1 << 15, 7)])
def test_chunks_of_items_give_the_loss_and_the_gradients_of_all(tokens, wide, cut, monkeypatch):
    monkeypatch.setattr("modules.model.loss._WIDE", wide)
    monkeypatch.setattr("modules.model.loss._ITEMS", cut)
    monkeypatch.setattr("modules.model.loss._CHUNK", 4 * cut)  # four rows at a time
    found = loss_and_gradients(ContinuationLoss(tokens), *states())
    for ours, theirs in zip(found, loss_and_gradients(of_all_items, *states()), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)


def test_chunks_of_items_need_not_follow_each_other(monkeypatch):
    monkeypatch.setattr("modules.model.loss._WIDE", 0)
    numbers = [3 * item + 2 for item in range(1, 8)]
    trie = build_trie(Ragged.of([[END], *([token, END] for token in numbers)]), 0)
    hidden, weight, _ = states()
    items = torch.tensor([1, 7, 7, 3, 2, 4, 5, 6, 1])
    found = ContinuationLoss(trie)(hidden, weight, items)
    expected = cross_entropy(hidden[:, 0] @ weight[numbers].T, items - 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_where_all_items_are_drawn_the_sampled_loss_is_the_whole_one(tokens):
    found = loss_and_gradients(ContinuationLoss(tokens, drawn=N_ITEMS), *states())
    for ours, theirs in zip(found, loss_and_gradients(of_all_items, *states()), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)


def test_what_is_drawn_is_no_target_and_each_other_item_as_often():
    own = torch.tensor([3, 0, 3, 9, 8])
    torch.manual_seed(0)
    drawn = torch.zeros(10)
    for _ in range(500):
        columns, place, more = drawn_columns(own, 10, 3)
        assert columns[:4].tolist() == [0, 3, 8, 9]
        assert columns[place].tolist() == own.tolist()
        assert more[:4].tolist() == [0.0] * 4
        torch.testing.assert_close(more[4:], torch.full((3,), 2.0).log())
        drawn += torch.bincount(columns[4:], minlength=10)
    assert not drawn[[0, 3, 8, 9]].any()
    # 1,500 draws from six items: 250 each, with a standard deviation of 14.
    assert (drawn[[1, 2, 4, 5, 6, 7]] - 250).abs().max() < 75


def test_the_sampled_sum_and_its_gradient_are_without_bias(tokens):
    """The mean of e^(sum of logs) over many draws, against that over all items."""
    hidden, weight, items = states()
    scores = hidden[:, 0] @ weight[5 : 5 + N_ITEMS].T
    torch.manual_seed(0)
    found = []
    for _ in range(1000):
        columns, _, more = drawn_columns(items - 1, N_ITEMS, 8)
        found.append((scores[:, columns] + more).exp().sum(dim=1))
    found = torch.stack(found)
    (gradient,) = torch.autograd.grad(found.mean(dim=0).sum(), hidden, retain_graph=True)
    (expected,) = torch.autograd.grad(scores.exp().sum(), hidden)
    off = found.mean(dim=0) - scores.exp().sum(dim=1)
    assert (off.abs() < 5 * found.std(dim=0) / len(found) ** 0.5).all()
    torch.testing.assert_close(gradient, expected, rtol=0.1, atol=0.1 * expected.abs().max())


def test_only_training_samples(tokens):
    hidden, weight, items = states()
    loss = ContinuationLoss(tokens, drawn=3)
    sampled = {round(loss(hidden, weight, items).item(), 6) for _ in range(4)}
    assert len(sampled) > 1
    whole = loss.eval()(hidden, weight, items)
    expected = of_all_items(hidden, weight, items)
    torch.testing.assert_close(whole.double(), expected, rtol=1e-6, atol=0)
