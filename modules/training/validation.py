"""Validation while a model trains: the loss of each task, and what a ranking of users gives.

A loss says how sure a model is of the next item, a ranking whether it is among the first; the two
need not be best at the same epoch.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from modules.data.candidates import valid_candidates
from modules.data.dataset import HeldOut
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import Ranked, rank_of, rerank
from modules.evaluation.seen import DROP, KEEP, dropped_items, most_dropped, validated_users
from modules.loader.batches import Batch, BatchSize
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.ragged import recent_histories
from modules.model.elmrec import ELMRec
from modules.runs.run import Run, spread, tasks_of
from modules.tasks import Task
from modules.training.settings import Settings
from utils import distributed
from utils.console import say
from utils.metrics.ranking import hit_rate, ndcg
from utils.runtime import Machine, Stopped

TOP = 10
LEAST = 1e-6  # a mean NDCG that is none
# By so many users the item graphs' numbers are fitted; fewer, where the catalogue is large.
FITTED_USERS, FITTED_SCORES = 400, 20_000_000
# Of a training step's time, what a validation sample takes is about a third: it has no backward
# pass. So many samples for each that was trained on take as long as the training has taken.
SAMPLES_A_TRAINED_ONE = 3
# And no more than have so many scores of items: of a large catalogue a step scores a part, a
# validation all.
SCORED = 4_000_000_000

StopAsked = Callable[[], bool]


class Validated(NamedTuple):
    """What a validation found."""

    losses: dict[Task, float]
    metrics: dict[str, float]  # of ``--eval_users``; empty without
    sampled: int | None  # samples a task, where not all were taken

    @property
    def mean(self) -> float:
        """The mean loss over the tasks."""
        return sum(self.losses.values()) / len(self.losses)

    @property
    def value(self) -> float:
        """What the best model has least of: loss; with metrics, minus the mean NDCG. Where it also
        writes texts, their loss minus the logarithm of the NDCG: 1 % of it is worth .01."""
        gains = [figure for name, figure in self.metrics.items() if "NDCG" in name]
        if not gains:
            return self.mean
        ndcg, texts = sum(gains) / len(gains), self.losses.get(Task.EXPLANATION)
        return -ndcg if texts is None else texts - math.log(max(ndcg, LEAST))


class Validation:
    """What a model is validated on: ``--valid_samples`` and ``--eval_users``.

    Without ``--valid_samples``, a validation takes all samples, but no longer than the training
    before it: of a run of a few steps, or of a large catalogue, it takes a part of them.
    """

    def __init__(
        self,
        model: ELMRec,
        machine: Machine,
        make_sets: Callable[[int | None, int], Mapping[Task, EvaluationSet]],
        measure: Callable[[StopAsked], dict[str, float]] | None = None,
        given: int | None = None,
        fresh: bool = False,
    ) -> None:
        """
        Args:
            make_sets: makes the sets of so many samples a task (None: of all), with the
                negatives of a draw by its number.
            measure: ranking metrics of the model as it is.
            given: samples a task, where they are given.
            fresh: negatives are drawn anew for each validation (``--fresh_negatives``).
        """
        self._model, self._machine, self._measure = model, machine, measure
        self._make, self._given, self._fresh = make_sets, given, fresh
        self._sets, self._limit = make_sets(given, 0), given
        self._most = max(len(samples.users) for samples in self._sets.values())
        self._fits = max(SCORED // model.config.n_items, 1)

    @classmethod
    def of(cls, run: Run, settings: Settings) -> "Validation":
        """The validation of a run."""
        measure = None
        if settings.eval_users and set(settings.tasks) != {Task.EXPLANATION.label}:
            measure = ranking_measure(run, settings)
        make = partial(validation_sets, run, settings)
        given, fresh = settings.valid_samples, settings.fresh_negatives
        return cls(run.model, run.machine, make, measure, given, fresh)

    @property
    def aim(self) -> str:
        """What the best model is told by."""
        if self._measure is None:
            return "loss"
        texts = Task.EXPLANATION in self._sets
        return "loss of texts - log NDCG@10" if texts else "NDCG@10"

    def __call__(self, trained: int, stop_asked: StopAsked) -> Validated:
        """Validate the model as it is.

        Args:
            trained: samples a task that it was trained on so far.
            stop_asked: asked after each batch.

        Raises:
            Stopped: where a process was asked to stop.
        """
        limit = self._given
        fits = max(min(SAMPLES_A_TRAINED_ONE * trained, self._fits), 1)
        if limit is None and fits < self._most:
            limit = fits
        if limit != self._limit or self._fresh:
            draw = trained if self._fresh else 0
            self._sets, self._limit = self._make(limit, draw), limit
        self._model.eval()
        device, autocast = self._machine.device, self._machine.autocast
        losses = validation_losses(self._model, self._sets, device, autocast, stop_asked)
        metrics = self._measure(stop_asked) if self._measure else {}
        return Validated(losses, metrics, None if limit == self._given else limit)


def ranking_set(
    run: Run, task: Task, users: np.ndarray, settings: Settings, draw: int = 0
) -> tuple[EvaluationSet, np.ndarray]:
    """The validation items of (n,) users, and the items that they are ranked among: (1, I) or
    (n, C). draw: of the negatives, by its number."""
    dataset, size = run.dataset, BatchSize(settings.batch_size, settings.batch_tokens)
    targets = dataset.targets(users, HeldOut.VALIDATION)
    if task is Task.SEQUENTIAL:
        histories = recent_histories(dataset, users, HeldOut.VALIDATION)
        return run.prompts.sequential(users, histories, targets, size), dataset.catalogue
    candidates = valid_candidates(dataset, users, settings.negative_num, settings.seed, draw)
    return run.prompts.direct(users, candidates, targets, size), candidates


def validation_sets(
    run: Run, settings: Settings, most: int | None, draw: int = 0
) -> dict[Task, EvaluationSet]:
    """The validation samples of each task; all, or ``most`` of them evenly spread. draw: of the
    negatives, by its number."""
    size = BatchSize(settings.batch_size, settings.batch_tokens)
    run = run.without_item_graph()  # which no loss reads
    sets = {}
    for task in tasks_of(run.dataset, settings.tasks):
        if task is Task.EXPLANATION:
            records = run.dataset.explanations["val"]
            rows = spread(len(records.users), most)
            targets = run.texts("val", settings.exp_len)[0].gather(rows)
            users, items = records.users[rows], records.items[rows]
            sets[task] = run.prompts.explanation(users, items, targets, size)
        else:
            sets[task], _ = ranking_set(run, task, run.users(most), settings, draw)
    return sets


def validation_losses(
    model: Callable[[Batch], torch.Tensor],
    sets: Mapping[Task, EvaluationSet],
    device: torch.device,
    autocast: Callable = nullcontext,
    stop_asked: StopAsked = lambda: False,
) -> dict[Task, float]:
    """Mean loss of each task: a target token; or, where pads are scored, a sample.

    The batches are shared out over the processes, and summed in one order: any number of
    processes gives the same figure to the bit.

    Raises:
        Stopped: where a process was asked to stop.
    """
    losses = {}
    with torch.no_grad(), autocast():
        for task, samples in sets.items():
            sums = torch.zeros(len(samples), dtype=torch.float64, device=device)
            for n in distributed.own_part(len(samples), even=True):
                rows, batch = samples[n % len(samples)]
                loss = model(batch.to(device)).double() * samples.share(rows)
                if n < len(samples):
                    sums[n] = loss
                if any(distributed.any_rank(stop_asked())):
                    raise Stopped
            losses[task] = distributed.sum_over_ranks(sums).sum().item()
    return losses


def ranking_measure(run: Run, settings: Settings) -> Callable[[StopAsked], dict[str, float]]:
    """A function that ranks for ``settings.eval_users`` evenly spread users, as the test scripts
    do, and gives HR@10 and NDCG@10 of each ranking task. Before that, it fits what item graphs
    are worth, where there are any."""
    rankings = []
    for task in sorted(set(tasks_of(run.dataset, settings.tasks)) - {Task.EXPLANATION}):
        users, seen, method = run.users(settings.eval_users), KEEP, "exact"
        if task is Task.SEQUENTIAL:
            (users, seen), method = validated_users(run.dataset, users, DROP), "auto"
        dropped = dropped_items(run.dataset, users, HeldOut.VALIDATION, seen)
        ranker = Ranker.of(run, Decoding(method), show_progress=False)
        rankings.append((task, ranker, dropped, users))

    def measure(stop_asked: StopAsked = lambda: False) -> dict[str, float]:
        if run.prompts.item_graphs:
            _fit_graphs(run, settings)
        figures = {}
        for task, ranker, dropped, users in rankings:
            asked = ranking_set(run, task, users, settings)
            ranked = best_items(ranker, *asked, dropped, stop_asked)
            targets = run.dataset.targets(users, HeldOut.VALIDATION)
            ranks = rank_of(ranked.items, targets)
            figures[f"{task.label} HR@{TOP}"] = hit_rate(ranks, TOP)
            figures[f"{task.label} NDCG@{TOP}"] = ndcg(ranks, TOP)
        return figures

    return measure


def best_items(
    ranker: Ranker,
    samples: EvaluationSet,
    candidates: np.ndarray,
    dropped: list[np.ndarray],
    stop_asked: StopAsked = lambda: False,
) -> Ranked:
    """The ``TOP`` best candidates of n rows, as the test scripts find them. dropped: n arrays of
    items that are in no list of the row's user.

    Raises:
        Stopped: where a process was asked to stop.
    """
    k = TOP + most_dropped(dropped)
    return rerank(ranker.rank(samples, candidates, k, stop_asked=stop_asked), dropped, TOP)


def _fit_graphs(run: Run, settings: Settings) -> None:
    """Weigh the model's item graphs as some of ``settings.eval_users`` say what they are worth."""
    most = min(FITTED_USERS, FITTED_SCORES // run.dataset.n_items + 1)
    users = run.users(settings.eval_users)
    users, _ = validated_users(run.dataset, users[spread(len(users), most)], DROP)
    # The T5 alone is asked; what the graphs say is found for all weights of the past.
    samples, _ = ranking_set(run.without_item_graph(), Task.SEQUENTIAL, users, settings)
    ranker = Ranker.of(run, Decoding("auto"), show_progress=False)
    ranker.fit_item_graphs(samples)
    say(f"the item graphs beside the T5: {run.model.item_scores}")
