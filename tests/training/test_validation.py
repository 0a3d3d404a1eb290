"""HR and NDCG on validation users, held against every item's probability one by one."""

import numpy as np
import pytest
import torch

from modules.data.candidates import valid_candidates
from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.evaluation_set import direct_eval, sequential_eval
from modules.model.decoder import PrefixDecoder
from modules.runs.run import Experiment
from modules.tasks import Task
from modules.training.validation import validation_ranking


@pytest.fixture
def experiment(dataset, tokenizer, pieces, model):
    numbers = np.arange(dataset.n_items + 1)
    device = torch.device("cpu")
    return Experiment(dataset, tokenizer, pieces, numbers, model, device, "fp32", 0)


def best_place(experiment, samples, candidates, user, left_out):
    """0-based place of the validation item among ``candidates``, without those left out."""
    trie, model = experiment.trie(), experiment.model
    with torch.no_grad():
        _, batch = samples[0]
        decoder = PrefixDecoder(model.t5, *model.encode(batch), depth=trie.paths.shape[1])
        tree = prefix_tree(trie, candidates[None])
        scores = rank_exact(decoder, tree, torch.from_numpy(trie.vocabulary))[0].numpy()
    target = experiment.dataset.valid_items[user - 1]
    own = scores[candidates == target][0]
    return int(((scores > own) & ~np.isin(candidates, left_out)).sum())


def test_figures_equal_places_counted_by_hand(experiment, dataset, pieces, model):
    measure = validation_ranking(experiment, list(Task), 4, 4, 3, None)
    figures = measure()
    gains = {task: [] for task in (Task.SEQUENTIAL, Task.DIRECT)}
    for user in range(1, 5):
        users = np.array([user])
        how = (pieces, model.schemes[Task.SEQUENTIAL], 1)
        samples = sequential_eval(dataset, users, 2, *how)
        everything, had = np.arange(1, dataset.n_items + 1), dataset.history(user)[:-2]
        gains[Task.SEQUENTIAL].append(best_place(experiment, samples, everything, user, had))
        candidates = valid_candidates(dataset, np.arange(1, 5), 4, 0)[user - 1]
        how = (pieces, model.schemes[Task.DIRECT], 1)
        samples = direct_eval(users, dataset.valid_items[users - 1], candidates[None], *how)
        gains[Task.DIRECT].append(best_place(experiment, samples, candidates, user, []))
    for task, places in gains.items():
        hits = [place < 10 for place in places]
        expected = np.mean([hit / np.log2(place + 2) for hit, place in zip(hits, places)])
        assert figures[f"{task.label} NDCG@10"] == pytest.approx(expected)
        assert figures[f"{task.label} HR@10"] == np.mean(hits)


def test_nothing_to_rank_is_no_measure(experiment):
    assert validation_ranking(experiment, [Task.EXPLANATION], 4, 4, 3, None) is None
