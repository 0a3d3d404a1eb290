"""HR and NDCG on validation users, against every item's probability one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from modules.data.candidates import valid_candidates
from modules.data.dataset import HeldOut
from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.batches import BatchSize
from modules.loader.ragged import recent_histories
from modules.model.decoder import PrefixDecoder
from modules.tasks import Task
from modules.training.settings import Settings
from modules.training.validation import Validated, Validation, ranking_measure


def best_place(run, samples, candidates, user, left_out):
    """0-based place of the validation item among ``candidates``, without those left out."""
    trie, model = run.trie, run.model
    with torch.no_grad():
        _, batch = samples[0]
        decoder = PrefixDecoder(model.t5, *model.encode(batch), depth=trie.paths.shape[1])
        tree = prefix_tree(trie, candidates[None])
        scores = rank_exact(decoder, tree, torch.from_numpy(trie.vocabulary))[0].numpy()
    target = run.dataset.valid_items[user - 1]
    own = scores[candidates == target][0]
    return int(((scores > own) & ~np.isin(candidates, left_out)).sum())


SETTINGS = Settings(eval_users=4, negative_num=4, batch_size=3)


def test_figures_equal_places_counted_by_hand(run, dataset, prompts):
    measure = ranking_measure(run, SETTINGS)
    figures = measure()
    gains = {task: [] for task in (Task.SEQUENTIAL, Task.DIRECT)}
    size, held_out = BatchSize(1), HeldOut.VALIDATION
    for user in range(1, 5):
        users = np.array([user])
        target, (had,) = dataset.targets(users, held_out), dataset.had(users, held_out)
        histories = recent_histories(dataset, users, held_out)
        samples = prompts.sequential(users, histories, target, size)
        gains[Task.SEQUENTIAL].append(best_place(run, samples, dataset.catalogue[0], user, had))
        candidates = valid_candidates(dataset, np.arange(1, 5), 4, 0)[user - 1]
        samples = prompts.direct(users, candidates[None], target, size)
        gains[Task.DIRECT].append(best_place(run, samples, candidates, user, []))
    for task, places in gains.items():
        hits = [place < 10 for place in places]
        expected = np.mean([hit / np.log2(place + 2) for hit, place in zip(hits, places)])
        assert figures[f"{task.label} NDCG@10"] == pytest.approx(expected)
        assert figures[f"{task.label} HR@10"] == np.mean(hits)


def test_nothing_to_rank_is_no_measure(run):
    assert Validation.of(run, replace(SETTINGS, tasks=["explanation"])).aim == "loss"
    assert Validation.of(run, replace(SETTINGS, tasks=["direct"])).aim == "NDCG@10"


def test_a_model_that_ranks_and_explains_is_told_by_both():
    def value(texts, ndcg):
        losses = {Task.EXPLANATION: texts, Task.SEQUENTIAL: 9.0}
        return Validated(losses, {"sequential NDCG@10": ndcg, "sequential HR@10": 0.5}, None).value

    assert value(0.5, 0.1) == pytest.approx(0.5 - np.log(0.1))
    assert value(0.5, 0.101) < value(0.5, 0.1)
    assert value(0.4, 0.099) < value(0.5, 0.1)  # 1 % of NDCG for a tenth of the loss
    assert value(0.5, 0.0) < 20
    assert Validated({Task.SEQUENTIAL: 9.0}, {"sequential NDCG@10": 0.1}, None).value == -0.1
