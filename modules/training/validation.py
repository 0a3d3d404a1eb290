"""Validation while a model trains: the loss of each task, and what a ranking of users gives.

A loss says how sure a model is of the next item, a ranking whether it is among the first; the two
need not be best at the same epoch.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch

from modules.data.candidates import valid_candidates
from modules.data.dataset import HeldOut
from modules.evaluation.ranker import Decoding, Ranker
from modules.evaluation.reranking import rank_of, rerank
from modules.evaluation.seen import DROP, KEEP, dropped_items, most_dropped, validated_users
from modules.loader.batches import Batch, BatchSize
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.ragged import recent_histories
from modules.runs.run import Run, spread, tasks_of
from modules.tasks import Task
from modules.training.settings import Settings
from utils import distributed
from utils.metrics.ranking import hit_rate, ndcg

TOP = 10


class Validation(NamedTuple):
    """What a model is validated on.

    With ``measure``, the best model is the one with the highest mean NDCG in place of the lowest
    loss.
    """

    sets: Mapping[Task, EvaluationSet]
    measure: Callable[[], dict[str, float]] | None = None  # ranking metrics of the model as it is

    @classmethod
    def of(cls, run: Run, settings: Settings) -> "Validation":
        """The validation of a run: ``--valid_samples`` and ``--eval_users``."""
        measure = None
        if settings.eval_users and set(settings.tasks) != {Task.EXPLANATION.label}:
            measure = ranking_measure(run, settings)
        return cls(validation_sets(run, settings), measure)


def _ranking_set(
    run: Run, task: Task, users: np.ndarray, settings: Settings
) -> tuple[EvaluationSet, np.ndarray]:
    """The validation items of (n,) users, and the items that they are ranked among: (1, I) or
    (n, C)."""
    dataset, size = run.dataset, BatchSize(settings.batch_size, settings.batch_tokens)
    targets = dataset.targets(users, HeldOut.VALIDATION)
    if task is Task.SEQUENTIAL:
        histories = recent_histories(dataset, users, HeldOut.VALIDATION)
        return run.prompts.sequential(users, histories, targets, size), dataset.catalogue
    candidates = valid_candidates(dataset, users, settings.negative_num, settings.seed)
    return run.prompts.direct(users, candidates, targets, size), candidates


def validation_sets(run: Run, settings: Settings) -> dict[Task, EvaluationSet]:
    """The validation samples of each task; all, or ``settings.valid_samples`` evenly spread."""
    size = BatchSize(settings.batch_size, settings.batch_tokens)
    sets = {}
    for task in tasks_of(run.dataset, settings.tasks):
        if task is Task.EXPLANATION:
            records = run.dataset.explanations["val"]
            rows = spread(len(records.users), settings.valid_samples)
            targets = run.texts("val", settings.exp_len)[0].gather(rows)
            users, items = records.users[rows], records.items[rows]
            sets[task] = run.prompts.explanation(users, items, targets, size)
        else:
            sets[task], _ = _ranking_set(run, task, run.users(settings.valid_samples), settings)
    return sets


def validation_losses(
    model: Callable[[Batch], torch.Tensor],
    sets: Mapping[Task, EvaluationSet],
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
            targets = samples.samples.targets
            total = len(targets.flat)
            for n in distributed.own_part(len(samples), even=True):
                rows, batch = samples[n % len(samples)]
                share = len(targets.gather(rows).flat) / total
                loss = model(batch.to(device)).double() * share
                if n < len(samples):
                    sums[n] = loss
            losses[task] = distributed.sum_over_ranks(sums).sum().item()
    return losses


def ranking_measure(run: Run, settings: Settings) -> Callable[[], dict[str, float]]:
    """A function that ranks for ``settings.eval_users`` evenly spread users, as the test scripts
    do, and gives HR@10 and NDCG@10 of each ranking task."""
    rankings = []
    for task in sorted(set(tasks_of(run.dataset, settings.tasks)) - {Task.EXPLANATION}):
        users, seen, method = run.users(settings.eval_users), KEEP, "exact"
        if task is Task.SEQUENTIAL:
            (users, seen), method = validated_users(run.dataset, users, DROP), "auto"
        dropped = dropped_items(run.dataset, users, HeldOut.VALIDATION, seen)
        ranker = Ranker.of(run, Decoding(method), show_progress=False)
        rankings.append((task, ranker, dropped, *_ranking_set(run, task, users, settings)))

    def measure() -> dict[str, float]:
        figures = {}
        for task, ranker, dropped, samples, candidates in rankings:
            ranked = ranker.rank(samples, candidates, TOP + most_dropped(dropped))
            ranked = rerank(ranked, dropped, TOP)
            targets = run.dataset.targets(samples.users, HeldOut.VALIDATION)
            ranks = rank_of(ranked.items, targets)
            figures[f"{task.label} HR@{TOP}"] = hit_rate(ranks, TOP)
            figures[f"{task.label} NDCG@{TOP}"] = ndcg(ranks, TOP)
        return figures

    return measure
