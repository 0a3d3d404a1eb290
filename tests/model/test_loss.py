"""The loss over the trie's continuations, held against exact ranking and a plain version."""

import numpy as np
import pytest
import torch

from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.evaluation_set import sequential_eval
from modules.loader.pieces import Ragged, build_trie
from modules.model.decoder import PrefixDecoder
from modules.model.loss import continuation_loss, continuations
from modules.tasks import Task

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
    table = continuations(few)
    generator = torch.Generator().manual_seed(0)
    items = torch.tensor([1, 2, 3, 4, 5, 6, 6, 3])
    found = []
    for loss in (
        lambda h, w: continuation_loss(h, w, table, items),
        lambda h, w: plain(h, w, table.vocabulary.tolist(), items.tolist()),
    ):
        generator.manual_seed(0)
        hidden = torch.randn(8, table.prefix.shape[1], 5, generator=generator).requires_grad_()
        weight = torch.randn(len(table.vocabulary), 5, generator=generator).requires_grad_()
        value = loss(hidden, weight)
        (3 * value).backward()
        found.append((value.detach(), hidden.grad, weight.grad))
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_states_may_stop_with_the_longest_number_of_the_batch(few):
    table, items = continuations(few), torch.tensor([1, 3, 5])
    hidden = torch.randn(3, table.prefix.shape[1], 5)
    weight = torch.randn(len(table.vocabulary), 5)
    whole = continuation_loss(hidden, weight, table, items)
    assert torch.equal(continuation_loss(hidden[:, :2], weight, table, items), whole)


def test_the_end_mark_is_scored_only_where_a_number_goes_on(few):
    """After "5" a 6 may follow; after all others the end mark follows by itself."""
    scored = continuations(few).prefix >= 0
    assert scored[1:].tolist() == [
        [True, True, False],
        [True, True, False],
        [True, True, False],
        [True, False, True],
        [True, True, False],
        [True, False, True],
    ]


def test_it_is_minus_the_log_probability_of_exact_ranking(model, dataset, pieces, trie):
    users = np.arange(1, dataset.n_users + 1)
    samples = sequential_eval(dataset, users, 2, pieces, model.schemes[Task.SEQUENTIAL], 9)
    _, batch = samples[0]
    model.continuations = continuations(trie)
    everything = np.arange(1, dataset.n_items + 1)[None]
    with torch.no_grad():
        loss = model(batch)
        decoder = PrefixDecoder(model.t5, *model.encode(batch), depth=trie.paths.shape[1])
        tree = prefix_tree(trie, everything)
        scores = rank_exact(decoder, tree, torch.from_numpy(trie.vocabulary))
    own = scores.gather(1, batch.items[:, None] - 1)
    torch.testing.assert_close(loss, -own.mean(), rtol=1e-5, atol=1e-6)
