"""What batches are about in training: endless streams of steps.

Every draw takes its generator as an argument; the data set is never changed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from modules.data.dataset import HeldOut, RecDataset
from modules.data.negatives import NegativeSampler, shuffled_candidates
from modules.loader.batches import Batch, BatchSize, Samples, cut_by_length
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged, stretches
from modules.tasks import MAX_HISTORY, Task
from utils.errors import UserError

_LIKE = 8  # causal steps that are cut from one stretch of users in the order of their lengths


class StepPlan(NamedTuple):
    """How the samples of one optimizer step are dealt out to processes and batches."""

    size: BatchSize = BatchSize(64)  # a batch; one of more tokens is cut further
    accumulate: int = 1  # batches a process
    rank: int = 0  # this process's number
    world_size: int = 1  # processes
    pad_to: int = 1  # prompt lengths are padded to a multiple of this

    @property
    def samples(self) -> int:
        """Samples a step, of all processes."""
        return self.size.samples * self.accumulate * self.world_size

    def own(self, rows: np.ndarray) -> np.ndarray:
        """This process's part of a step's rows."""
        return rows[self.rank * len(rows) // self.world_size :][: len(rows) // self.world_size]


class TrainStep(NamedTuple):
    """This process's part of one optimizer step."""

    batches: list[Batch]
    shares: list[float]  # each batch's share of the target tokens of the whole step


class Records(NamedTuple):
    """Explanation records to train on."""

    users: np.ndarray  # (n,)
    items: np.ndarray  # (n,)
    targets: Ragged  # (n rows) of tokens


class Windows(NamedTuple):
    """Train histories cut into stretches of at most ``MAX_HISTORY`` targets."""

    users: np.ndarray  # (n,)
    first: np.ndarray  # (n,) where each begins in the user's history, from 0
    counts: np.ndarray  # (n,) its targets: the items after its first


def windows(dataset: RecDataset) -> Windows:
    """Every target of every user once, in windows that end where the user's train items do, or
    where the next window's targets begin."""
    targets = dataset.lengths - HeldOut.LAST_TRAIN
    each = -(-targets // MAX_HISTORY)
    users = np.repeat(dataset.users, each)
    nth = np.arange(len(users)) - np.repeat(np.cumsum(each) - each, each)  # from the last
    stops = targets[users - 1] - nth * MAX_HISTORY
    first = np.maximum(stops - MAX_HISTORY, 0)
    return Windows(users, first, stops - first)


class TrainingStream:
    """An endless stream of training steps of one task.

    Its list (users, windows of their histories, or explanation records) is walked in an order
    shuffled anew each pass; every draw comes from the one generator, so the seed alone decides what
    the stream gives. Every process draws the whole step and puts together its own part: however
    many there are, the samples of a step are the same.
    """

    def __init__(
        self,
        task: Task,
        dataset: RecDataset,
        prompts: Prompts,
        plan: StepPlan,
        rng: np.random.Generator,
        source: NegativeSampler | Records | None = None,
    ) -> None:
        """
        Args:
            source: what else a sample is made of: the direct task's negatives, the explanation
                task's records.

        Raises:
            UserError: where a step has more samples than the list.
        """
        self.task, self.plan, self.rng = task, plan, rng
        self._dataset, self._prompts, self._source = dataset, prompts, source
        self._causal = prompts.reads_left_to_right(task)
        self._windows = windows(dataset) if self._causal else None
        self.size = dataset.n_users if self._windows is None else len(self._windows.users)
        if isinstance(source, Records):
            self.size = len(source.users)
        if plan.samples > self.size:
            factors = [f"--batch_size {plan.size.samples}"]
            factors += [f"--accumulate {plan.accumulate}"] if plan.accumulate > 1 else []
            factors += [f"{plan.world_size} processes"] if plan.world_size > 1 else []
            raise UserError(
                f"{' x '.join(factors)} is more than the {self.size} training samples of the "
                f"{task.label} task; at most {self.size} fit."
            )
        self._order = self._shuffled()
        self._at = 0

    @property
    def steps_per_pass(self) -> int:
        """Whole steps that the list holds."""
        return self.size // self.plan.samples

    def state(self) -> tuple[np.ndarray, dict[str, Any]]:
        """The order of the pass; the place in it and the generator, as plain values."""
        return self._order, {"at": self._at, "rng": self.rng.bit_generator.state}

    def load_state(self, order: np.ndarray, values: dict[str, Any]) -> None:
        """Continue from a ``state``; UserError where it is of another list."""
        if len(order) != self.size:
            raise UserError(
                f"--resume: the state holds an order of {len(order):,} samples of the "
                f"{self.task.label} task, of which there are {self.size:,}. Another version saved "
                "it: continue with that one, or start anew with --overwrite."
            )
        self._order, self._at = order, values["at"]
        self.rng.bit_generator.state = values["rng"]

    def __iter__(self) -> Iterator[TrainStep]:
        return self

    def __next__(self) -> TrainStep:
        samples = self._draw()
        own_edges = self._prompts.own_edges(self.task, samples)
        batches, shares = [], []
        for part in self._parts(samples):
            chosen = samples.select(part)
            batch = self._prompts.batch(self.task, chosen, self.plan.pad_to)
            batches.append(batch._replace(own_edges=own_edges))
            shares.append(self._prompts.share(chosen, samples))
        return TrainStep(batches, shares)

    def edges_ahead(self, steps: int) -> torch.Tensor | None:
        """``Batch.own_edges`` of the next steps together; the stream stays where it is."""
        if not self._prompts.drops_edges(self.task):
            return None
        place = self.state()
        edges = [self._prompts.own_edges(self.task, self._draw()) for _ in range(steps)]
        self.load_state(*place)
        return torch.cat(edges, dim=1)

    def _draw(self) -> Samples:
        """The samples of the next step, all processes'."""
        if self._at + self.plan.samples > self.size:
            self._order, self._at = self._shuffled(), 0
        rows = self._order[self._at : self._at + self.plan.samples]
        self._at += self.plan.samples
        draw = {
            Task.EXPLANATION: self._explanation,
            Task.SEQUENTIAL: self._sequential,
            Task.DIRECT: self._direct,
        }[self.task]
        return draw(rows)

    def _shuffled(self) -> np.ndarray:
        """The order of a pass. Causal steps hold histories of like length, for fewer pads."""
        order = self.rng.permutation(self.size)
        if not self._causal:
            return order
        size = self.plan.samples
        lengths = self._windows.counts[order]
        group = np.arange(self.size) // (_LIKE * size)
        order = order[np.lexsort((lengths, group))]
        whole = self.size // size
        steps = self.rng.permutation(whole)
        return np.concatenate(
            [order[: whole * size].reshape(whole, size)[steps].ravel(), order[whole * size :]]
        )

    def _parts(self, samples: Samples) -> Iterator[np.ndarray]:
        """The rows of each batch of this process."""
        own, size = self.plan.own(np.arange(len(samples.users))), self.plan.size
        for at in range(0, len(own), size.samples):
            rows = own[at : at + size.samples]
            if size.tokens is None:
                yield rows
                continue
            lengths = self._prompts.lengths(self.task, samples.select(rows))
            for part in cut_by_length(lengths, size):
                yield rows[part]

    def _templates(self, rows: np.ndarray) -> np.ndarray:
        templates = self._prompts.pieces.templates[self.task]
        return self.rng.integers(len(templates), size=len(rows))

    def _explanation(self, rows: np.ndarray) -> Samples:
        users, items, targets = self._source
        own = Ragged.of_matrix(items[rows][:, None])
        return Samples(users[rows], own, targets.gather(rows), self._templates(rows))

    def _answers(self, items: np.ndarray) -> tuple[Ragged, np.ndarray]:
        return self._prompts.pieces.item_targets.gather(items), items

    def _histories(self, rows: np.ndarray) -> Samples:
        """Windows of train histories: each item but the first is a target, predicted from those
        before it. In the short form, for what comes behind the items is not read."""
        users, first, counts = (part[rows] for part in self._windows)
        starts = self._dataset.offsets[users - 1] + first
        items = stretches(self._dataset, starts, counts)
        targets, target_items = self._answers(stretches(self._dataset, starts + 1, counts).flat)
        short = np.zeros(len(rows), dtype=np.int64)
        return Samples(users, items, targets, short, target_items, every=True)

    def _sequential(self, rows: np.ndarray) -> Samples:
        """First index uniform in [0, n-4], last uniform in [first+1, n-3]; the last 21 of it."""
        if self._causal:
            return self._histories(rows)
        starts, n = self._dataset.offsets[rows], self._dataset.lengths[rows]
        first = self.rng.integers(0, n - 3)
        last = self.rng.integers(first + 1, n - 2)
        first = np.maximum(first, last - MAX_HISTORY)
        items = stretches(self._dataset, starts + first, last - first)
        targets, target_items = self._answers(self._dataset.items[starts + last])
        return Samples(rows + 1, items, targets, self._templates(rows), target_items)

    def _direct(self, rows: np.ndarray) -> Samples:
        """One positive of the train items, the negatives, shuffled together."""
        users = rows + 1
        starts, n = self._dataset.offsets[rows], self._dataset.lengths[rows]
        positives = self._dataset.items[starts + self.rng.integers(0, n - 2)]
        negatives = self._source.draw(users, self.rng)
        candidates = shuffled_candidates(positives, negatives, self.rng)
        targets, target_items = self._answers(positives)
        return Samples(
            users, Ragged.of_matrix(candidates), targets, self._templates(rows), target_items
        )


def task_of_step(streams: Mapping[Task, TrainingStream], step: int) -> Task:
    """The task of a step, counted from 0: tasks take turns."""
    return list(streams)[step % len(streams)]


def edges_ahead(streams: Mapping[Task, TrainingStream], steps: range) -> torch.Tensor | None:
    """``Batch.own_edges`` of the steps that come next, of all tasks together."""
    turns = Counter(task_of_step(streams, step) for step in steps)
    found = [streams[task].edges_ahead(n) for task, n in turns.items()]
    found = [edges for edges in found if edges is not None]
    return torch.cat(found, dim=1) if found else None
