"""Validation while a model trains: the loss of each task, and what a ranking of users gives.

A loss tells how sure a model is of the next item, a ranking whether it is among the first; the two
need not be best at the same epoch.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch

from modules.data.candidates import valid_candidates
from modules.evaluation.ranker import Decoding, Ranker, pick_method
from modules.evaluation.reranking import rank_of, rerank
from modules.loader.batches import Batch
from modules.loader.evaluation_set import EvalSet, direct_eval, explanation_eval, sequential_eval
from modules.loader.training_stream import MAX_HISTORY
from modules.runs.run import Experiment, spread
from modules.tasks import Task
from utils import distributed
from utils.metrics.ranking import hit_rate, ndcg

TOP = 10


def _ranking_set(
    experiment: Experiment,
    task: Task,
    users: np.ndarray,
    negative_num: int,
    batch_size: int,
    batch_tokens: int | None,
) -> tuple[EvalSet, np.ndarray]:
    """The validation items of (n,) users, and the items that they are ranked among: (1, I) or
    (n, C)."""
    dataset = experiment.dataset
    how = (experiment.pieces, experiment.scheme(task), batch_size, batch_tokens)
    if task is Task.SEQUENTIAL:
        catalogue = np.arange(1, dataset.n_items + 1)[None]
        return sequential_eval(dataset, users, 2, *how, experiment.causal(task)), catalogue
    candidates = valid_candidates(dataset, users, negative_num, experiment.seed)
    return direct_eval(users, dataset.valid_items[users - 1], candidates, *how), candidates


def validation_sets(
    experiment: Experiment,
    tasks: list[Task],
    batch_size: int,
    batch_tokens: int | None,
    negative_num: int,
    exp_len: int,
    limit: int | None,
) -> dict[Task, EvalSet]:
    """The validation samples of each task; ``limit``: only that many, evenly spread."""
    dataset = experiment.dataset
    users = spread(dataset.n_users, limit) + 1
    sets = {}
    for task in tasks:
        size = (batch_size, batch_tokens)
        if task is Task.EXPLANATION:
            records = dataset.explanations["val"]
            rows = spread(len(records.users), limit)
            targets = experiment.targets("val", exp_len)[0].gather(rows)
            how = (experiment.pieces, experiment.scheme(task), *size)
            sets[task] = explanation_eval(records.users[rows], records.items[rows], targets, *how)
        else:
            sets[task], _ = _ranking_set(experiment, task, users, negative_num, *size)
    return sets


def validation_losses(
    model: Callable[[Batch], torch.Tensor],
    sets: Mapping[Task, EvalSet],
    device: torch.device,
    autocast: Callable = nullcontext,
) -> dict[Task, float]:
    """Mean loss a target token of each task.

    The batches are shared out over the processes, and summed in one order: any number of
    processes gives the same figure to the bit.
    """
    losses = {}
    with torch.no_grad(), autocast():
        for task, samples in sets.items():
            sums = torch.zeros(len(samples), dtype=torch.float64, device=device)
            total = len(samples.targets.flat)
            for n in distributed.own_part(len(samples), even=True):
                rows, batch = samples[n % len(samples)]
                share = len(samples.targets.gather(rows).flat) / total
                loss = model(batch.to(device)).double() * share
                if n < len(samples):
                    sums[n] = loss
            losses[task] = distributed.sum_over_ranks(sums).sum().item()
    return losses


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
    had = [dataset.history(user)[:-2] for user in users]
    rankings = []
    for task in sorted(set(tasks) - {Task.EXPLANATION}):
        method = pick_method("auto", trie) if task is Task.SEQUENTIAL else "exact"
        ranker = Ranker(
            experiment.model,
            trie,
            experiment.pieces.item_targets,
            Decoding(method),
            experiment.autocast,
            show_progress=False,
        )
        what = _ranking_set(experiment, task, users, negative_num, batch_size, batch_tokens)
        rankings.append((task, ranker, *what))

    def measure() -> dict[str, float]:
        figures = {}
        for task, ranker, samples, candidates in rankings:
            items, scores, _ = ranker.rank(samples, candidates, TOP + MAX_HISTORY)
            if task is Task.SEQUENTIAL:
                items, _ = rerank(items, scores, had, TOP)
            ranks = rank_of(items[:, :TOP], targets)
            figures[f"{task.label} HR@{TOP}"] = hit_rate(ranks, TOP)
            figures[f"{task.label} NDCG@{TOP}"] = ndcg(ranks, TOP)
        return figures

    return measure if rankings else None
