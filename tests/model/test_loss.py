"""The loss over the trie's continuations, against exact ranking and a plain version."""

import numpy as np
import pytest
import torch

from modules.data.dataset import HeldOut
from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.batches import BatchSize
from modules.loader.ragged import Ragged, recent_histories
from modules.loader.trie import build_trie
from modules.model.decoder import PrefixDecoder
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.model.loss import ContinuationLoss

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


@pytest.mark.parametrize("chunk", [1, 1 << 19])
def test_loss_and_gradients_equal_the_plain_version(few, chunk, monkeypatch):
    monkeypatch.setattr("modules.model.loss._CHUNK", chunk)
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
