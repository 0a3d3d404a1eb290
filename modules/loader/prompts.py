"""``Prompts``: how a model's prompts are made, as one value that training and evaluation share."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from modules.loader.batches import Batch, BatchSize, Samples, make_batch, prompt_lengths
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.pieces import IGNORED, PromptPieces
from modules.loader.ragged import Ragged
from modules.tasks import Task, WholeWords

_SCORES = 1 << 25  # of items, in a batch of an evaluation: of a large catalogue it is smaller


def items_by_age(histories: Ragged) -> torch.Tensor:
    """(3, n) int64, as ``Batch.histories``: row, item and age of n items of histories."""
    rows = np.repeat(np.arange(len(histories.lengths)), histories.lengths)
    ages = histories.starts[rows + 1] - 1 - np.arange(len(rows))
    return torch.from_numpy(np.stack([rows, histories.flat, ages]).astype(np.int64))


@dataclass(frozen=True)
class Prompts:
    """The pieces of a data set, and how a model reads them.

    Attributes:
        pieces: id words and templates, tokenised.
        schemes: the whole-word ids of each task.
        causal: sequential prompts are read from left to right.
        drop_own_edges: the edges that a training step asks about leave the graph of that step.
        item_graphs: batches of causal prompts that are ranked have their histories beside them.
        score_pads: a target that is shorter than another of its batch goes on with pads, which the
            loss scores, as published.
    """

    pieces: PromptPieces
    schemes: dict[Task, WholeWords]
    causal: bool = False
    drop_own_edges: bool = False
    item_graphs: bool = False
    score_pads: bool = False

    def reads_left_to_right(self, task: Task) -> bool:
        """Whether the task's targets are each predicted from the state of one token."""
        return self.causal and task is Task.SEQUENTIAL

    def drops_edges(self, task: Task) -> bool:
        """Whether the edges that the task's training samples ask about leave the graph."""
        return self.drop_own_edges and self.schemes[task] is WholeWords.GRAPH

    def user_has_node(self, task: Task) -> bool:
        """Whether a user's mention carries the user's node. Where all edges of the user leave the
        graph, in training, it would tell nothing; so it is left out at test time too."""
        hidden = self.drops_edges(task) and self.reads_left_to_right(task)
        return self.schemes[task] is WholeWords.GRAPH and not hidden

    def own_edges(self, task: Task, samples: Samples) -> torch.Tensor | None:
        """(2, n) int64 nodes of the edges that training samples ask about; item 0: all edges of the
        user, each of which is a target in turn. None: no edge leaves the graph."""
        if not self.drops_edges(task):
            return None
        items = np.zeros_like(samples.users)
        if not self.reads_left_to_right(task):
            explained = samples.target_items is None  # the one item of each prompt
            items = samples.items.flat if explained else samples.target_items
            items = items.astype(np.int64) + self.pieces.n_users
        return torch.from_numpy(np.stack([samples.users, items]).astype(np.int64))

    def lengths(self, task: Task, samples: Samples) -> np.ndarray:
        """(B,) tokens of each prompt, end mark included."""
        return prompt_lengths(task, samples, self.pieces)

    def share(self, part: Samples, whole: Samples) -> float:
        """What the mean loss of a part counts for in the mean loss of the whole: as many target
        tokens as it has, or samples, where pads are scored."""
        if self.score_pads:
            return len(part.targets.lengths) / len(whole.targets.lengths)
        return len(part.targets.flat) / len(whole.targets.flat)

    def batch(self, task: Task, samples: Samples, pad_to: int = 1) -> Batch:
        """A batch of one task. pad_to: prompt lengths are padded to a multiple of this."""
        causal = self.reads_left_to_right(task)
        batch = make_batch(task, samples, self.pieces, self.schemes[task], causal, pad_to)
        if self.score_pads:
            labels = batch.labels
            batch = batch._replace(labels=labels.where(labels != IGNORED, self.pieces.pad))
        if causal and self.drops_edges(task):
            nodes = batch.whole_word_ids
            batch = batch._replace(whole_word_ids=nodes.where(nodes > self.pieces.n_users, 0))
        if causal and self.item_graphs and not samples.every:
            batch = batch._replace(histories=items_by_age(samples.items))
        return batch

    # --------------------------------------------------------------------- evaluation sets

    def sequential(
        self, users: np.ndarray, histories: Ragged, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        """The sequential task: (n,) users, the items of their prompts, and their (n,) targets. With
        target 0 nothing is held out."""
        return self._items(Task.SEQUENTIAL, users, histories, targets, size)

    def direct(
        self, users: np.ndarray, candidates: np.ndarray, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        """The direct task: (n,) users, their (n,) targets among (n, C) shuffled candidates."""
        return self._items(Task.DIRECT, users, Ragged.of_matrix(candidates), targets, size)

    def explanation(
        self, users: np.ndarray, items: np.ndarray, targets: Ragged, size: BatchSize
    ) -> EvaluationSet:
        """The explanation task: (n,) user-item pairs, and their texts as n rows of tokens."""
        samples = Samples(users, Ragged.of_matrix(items[:, None]), targets, _short(users))
        return self._set(Task.EXPLANATION, samples, size)

    def _items(
        self, task: Task, users: np.ndarray, items: Ragged, targets: np.ndarray, size: BatchSize
    ) -> EvaluationSet:
        if not size.in_order:  # a score for every item and prompt
            most = max(_SCORES // self.pieces.n_items, 1)
            size = size._replace(samples=min(size.samples, most))
        tokens = self.pieces.item_targets.gather(targets)
        return self._set(task, Samples(users, items, tokens, _short(users), targets), size)

    def _set(self, task: Task, samples: Samples, size: BatchSize) -> EvaluationSet:
        lengths = self.lengths(task, samples)
        return EvaluationSet(task, samples, lengths, size, partial(self.batch, task), self.share)


def _short(users: np.ndarray) -> np.ndarray:
    """The short template for all rows: the only one in validation and at test time."""
    return np.zeros(len(users), dtype=np.int64)
