"""HR and NDCG on validation users while a model trains: what a run can choose its model by.

A loss tells how sure a model is of the next item, a ranking whether it is among the first; the two
need not be best at the same epoch.
"""

from collections.abc import Callable, Sequence

import numpy as np

from modules.candidates import valid_candidates
from modules.evaluation import Decoding, Ranker, pick_method, rank_of, rerank
from modules.experiment import Experiment, spread
from modules.samplers import MAX_HISTORY, direct_eval, sequential_eval
from modules.tasks import Task
from utils.metrics import hit_rate, ndcg

TOP = 10


def validation_ranking(
    experiment: Experiment,
    tasks: Sequence[Task],
    n_users: int,
    negative_num: int,
    batch_size: int,
    batch_tokens: int | None,
) -> Callable[[], dict[str, float]] | None:
    """A function that ranks for ``n_users`` evenly spread users, as the test scripts do, and gives
    HR@10 and NDCG@10 of each task; None where neither of the ranking tasks is trained."""
    dataset, trie = experiment.dataset, experiment.trie()
    users = spread(dataset.n_users, n_users) + 1
    targets = dataset.valid_items[users - 1]
    sets = {}
    for task in set(tasks) - {Task.EXPLANATION}:
        how = (experiment.pieces, experiment.scheme(task), batch_size, batch_tokens)
        if task is Task.SEQUENTIAL:
            causal = experiment.causal(task)
            catalogue = np.arange(1, dataset.n_items + 1)[None]
            sets[task] = sequential_eval(dataset, users, 2, *how, causal), catalogue
        else:
            candidates = valid_candidates(dataset, users, negative_num, experiment.seed)
            sets[task] = direct_eval(users, targets, candidates, *how), candidates

    def measure() -> dict[str, float]:
        figures = {}
        for task, (samples, candidates) in sorted(sets.items()):
            method = pick_method("auto", trie) if task is Task.SEQUENTIAL else "exact"
            ranker = Ranker(
                experiment.model,
                trie,
                experiment.pieces.item_targets,
                Decoding(method),
                experiment.autocast,
                show_progress=False,
            )
            items, scores, _ = ranker.rank(samples, candidates, TOP + MAX_HISTORY)
            if task is Task.SEQUENTIAL:
                had = [dataset.history(user)[:-2] for user in users]
                items, _ = rerank(items, scores, had, TOP)
            ranks = rank_of(items[:, :TOP], targets)
            figures[f"{task.label} HR@{TOP}"] = hit_rate(ranks, TOP)
            figures[f"{task.label} NDCG@{TOP}"] = ndcg(ranks, TOP)
        return figures

    return measure if sets else None
