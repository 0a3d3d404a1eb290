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

# Steps that are cut from one stretch of a pass in the order of its lengths. Of causal ones fewer:
# their prompts take less time than the scores of items.
_LIKE, _LIKE_CAUSAL = 32, 8


class StepPlan(NamedTuple):
    """How the samples of one optimizer step are dealt out to processes and batches."""

    size: BatchSize = BatchSize(64)  # a batch; one of more tokens is cut further
    accumulate: int = 1  # batches a process
    rank: int = 0  # this process's number
    world_size: int = 1  # processes
    pad_to: int = 1  # prompt lengths are padded to a multiple of this
    like_lengths: bool = True  # sequential steps hold prompts of like length, for fewer pads

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
    shuffled anew each pass, and what decides a prompt's length is drawn with it; every draw comes
    from the one generator, so the seed alone decides what the stream gives. Every process draws the
    whole step and puts together its own part: however many there are, the samples of a step are the
    same.
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
        self._pass = self._shuffled()  # (n, k): rows of the list, and what is drawn for each
        self._at = 0

    @property
    def steps_per_pass(self) -> int:
        """Whole steps that the list holds."""
        return self.size // self.plan.samples

    def state(self) -> tuple[np.ndarray, dict[str, Any]]:
        """The pass; the place in it and the generator, as plain values."""
        return self._pass, {"at": self._at, "rng": self.rng.bit_generator.state}

    def load_state(self, order: np.ndarray, values: dict[str, Any]) -> None:
        """Continue from a ``state``; UserError where it is of another list, or another version."""
        if order.shape != self._pass.shape:
            raise UserError(
                f"--resume: the state holds an order of {len(order):,} samples of the "
                f"{self.task.label} task, of which there are {self.size:,}, or less than this "
                "version notes of each. Another version saved it: continue with that one, or start "
                "anew with --overwrite."
            )
        self._pass, self._at = order, values["at"]
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
            self._pass, self._at = self._shuffled(), 0
        part = self._pass[self._at : self._at + self.plan.samples]
        self._at += self.plan.samples
        return self._samples(*part.T)

    def _shuffled(self) -> np.ndarray:
        """(n, k): the rows of a pass, each with what is drawn for it, step by step."""
        found = self._drawn(self.rng.permutation(self.size))
        size, whole = self.plan.samples, self.steps_per_pass
        # The direct task's prompts are alike. Texts of one length are often of one kind of item:
        # steps of them teach worse (benchmarks/EXPERIMENTS.md, experiment 14).
        if not self.plan.like_lengths or self.task is not Task.SEQUENTIAL:
            return found
        in_steps = found[: whole * size]
        group = np.arange(len(in_steps)) // (size * (_LIKE_CAUSAL if self._causal else _LIKE))
        order = np.lexsort((self._lengths(in_steps), group))
        in_steps[:] = in_steps[order.reshape(whole, size)[self.rng.permutation(whole)].ravel()]
        return found

    def _drawn(self, rows: np.ndarray) -> np.ndarray:
        """(n, k): rows of the list, and what decides how long each prompt is."""
        if self._causal or self.task is Task.DIRECT:
            return rows[:, None]
        if self.task is Task.EXPLANATION:
            return np.column_stack([rows, self._templates(rows)])
        # The first item's place uniform in [0, n-4], the target's in [first+1, n-3]; the last 21.
        n = self._dataset.lengths[rows]
        first = self.rng.integers(0, n - 3)
        last = self.rng.integers(first + 1, n - 2)
        first = np.maximum(first, last - MAX_HISTORY)
        return np.column_stack([rows, self._templates(rows), first, last])

    def _lengths(self, found: np.ndarray) -> np.ndarray:
        """(n,) by what the rows of a pass are put in order."""
        if self._causal:
            return self._windows.counts[found[:, 0]]
        return self._prompts.lengths(self.task, self._samples(*found.T))

    def _samples(self, *drawn: np.ndarray) -> Samples:
        """Of rows of a pass, by column."""
        if self._causal:
            return self._histories(*drawn)
        make = {
            Task.EXPLANATION: self._explanation,
            Task.SEQUENTIAL: self._sequential,
            Task.DIRECT: self._direct,
        }[self.task]
        return make(*drawn)

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

    def _explanation(self, rows: np.ndarray, templates: np.ndarray) -> Samples:
        users, items, targets = self._source
        own = Ragged.of_matrix(items[rows][:, None])
        return Samples(users[rows], own, targets.gather(rows), templates)

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

    def _sequential(
        self, rows: np.ndarray, templates: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> Samples:
        """A stretch of each user's train items, and the item after it."""
        starts = self._dataset.offsets[rows]
        items = stretches(self._dataset, starts + first, last - first)
        targets, target_items = self._answers(self._dataset.items[starts + last])
        return Samples(rows + 1, items, targets, templates, target_items)

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
