"""Rank items for every row of an evaluation set; no metric formulas.

The encoder runs once a user. Results come back one row a user, in the order of the set.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Protocol

import numpy as np
import torch

from modules.data.negatives import each_once
from modules.decoding.beam import NONE, Allowed, BeamOptions, Marks, beam_search
from modules.decoding.best_first import branches, rank_best_first
from modules.decoding.exact import PrefixTree, prefix_tree, rank_exact
from modules.evaluation.decode import Decoding, pick_method
from modules.evaluation.published import PublishedSearch
from modules.evaluation.reranking import Ranked, Seconds
from modules.loader.batches import Batch
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.prompts import items_by_age
from modules.loader.ragged import Ragged
from modules.loader.trie import ItemTrie
from modules.model.decoder import PrefixDecoder
from modules.model.elmrec import ELMRec
from modules.runs.run import Run
from modules.tasks import NEW_TOKENS, Task
from utils import distributed
from utils.console import progress, say
from utils.metrics.ranking import NOT_RANKED
from utils.provenance import seconds_since_start
from utils.runtime import Stopped


class AddedScores(Protocol):
    """What is added to a model's log-probabilities (``--linear``: modules/baselines/linear.py)."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(b,) rows of the evaluation set -> (b, I + 1) float32; column 0 is no item."""


def own_batches(
    samples: EvaluationSet, title: str, unit: str, shown: bool
) -> Iterator[tuple[np.ndarray, Batch]]:
    """(rows, batch) of this process's part of a set, under a progress bar."""
    with progress(len(samples.users), title, unit, shown) as bar:
        for n in distributed.own_part(len(samples)):
            rows, batch = samples[n]
            yield rows, batch
            bar.update(len(rows) * distributed.world_size())


# Ranks the candidates of some rows of a batch, by a fresh decoder: (b, k) items and scores.
_Search = Callable[[PrefixDecoder, Batch, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Ranker:
    """Ranks candidates by the model's probability of their numbers."""

    def __init__(
        self,
        model: ELMRec,
        trie: ItemTrie,
        targets: Ragged,
        decoding: Decoding,
        autocast: Callable = nullcontext,
        show_progress: bool = True,
    ) -> None:
        """targets: the item targets that the trie was built from."""
        self.published: PublishedSearch | None = None  # of ``--decode published``
        self._model, self._trie, self.decoding = model, trie, decoding
        self._autocast, self._progress = autocast, show_progress
        self._device = next(model.parameters()).device
        self._vocabulary = torch.from_numpy(trie.vocabulary).to(self._device)
        self._item_of = {
            tuple(targets.flat[a:b].tolist()): item
            for item, (a, b) in enumerate(zip(targets.starts[:-1], targets.starts[1:]))
            if item > 0
        }

    @classmethod
    def of(cls, run: Run, decoding: Decoding, show_progress: bool = True) -> "Ranker":
        """The ranker of a run; ``decoding.method`` may be "auto" (``pick_method``)."""
        trie, graph = run.trie, bool(run.prompts.item_graphs)
        decoding = decoding._replace(method=pick_method(decoding.method, trie, graph))
        targets, autocast = run.prompts.pieces.item_targets, run.machine.autocast
        ranker = cls(run.model, trie, targets, decoding, autocast, show_progress)
        if decoding.method == "published":
            ranker.published = PublishedSearch.of(run, decoding.num_beams)
        return ranker

    def rank(
        self,
        samples: EvaluationSet,
        candidates: np.ndarray,
        k: int,
        added: AddedScores | None = None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> Ranked:
        """The best ``k`` candidates of each row.

        Args:
            samples: n rows.
            candidates: (n, C) items, or (1, C) for all rows. One that is in a row twice is ranked
                once.
            k: length of the lists; less where there are fewer candidates.
            added: what is added to each row's log-probabilities; for exact ranking.
            stop_asked: asked after each batch.

        Raises:
            Stopped: where a process was asked to stop.
        """
        k = min(k, candidates.shape[1])
        search = self._search(samples.task, each_once(candidates), k, added)
        if self._progress:
            n, m = candidates.shape[1], len(samples.users)
            say(f"ranking {n:,} items for {m:,} users ({self.decoding.method})")
        items = np.zeros((len(samples.users), k), dtype=np.int64)
        scores = np.full((len(samples.users), k), -np.inf, dtype=np.float32)
        load, encode, decode = seconds_since_start(), 0.0, 0.0
        self._model.eval()
        done = []
        with torch.no_grad(), self._autocast():  # entered once, it keeps the weights that it rounds
            title = f"{samples.task.label} ranking"
            for rows, batch in own_batches(samples, title, "user", self._progress):
                started = time.perf_counter()
                decoder = self._decoder(batch)
                encoded = time.perf_counter()
                items[rows], scores[rows] = search(decoder, batch, rows)
                encode += encoded - started
                decode += time.perf_counter() - encoded
                done.append(rows)
                if stop_asked():
                    break
        if any(distributed.any_rank(stop_asked())):  # the processes end this together
            raise Stopped
        distributed.merge_rows(done, items, scores)
        return Ranked(items, scores, Seconds(load, encode, decode))

    def _search(
        self, task: Task, candidates: np.ndarray, k: int, added: AddedScores | None
    ) -> _Search:
        method, shared = self.decoding.method, len(candidates) == 1

        def own(rows: np.ndarray) -> np.ndarray:
            return candidates if shared else candidates[rows]

        if added is not None and method != "exact":
            raise ValueError(f"{method} search has no score of every item to add to")
        if self.published is not None:
            marks, closes_up = Marks.of(self._model.t5.config), task is Task.SEQUENTIAL
            return lambda decoder, batch, rows: self.published(decoder, marks, k, closes_up)
        if method == "beam":
            return lambda decoder, batch, rows: self._beams(decoder, own(rows), k)
        if method == "best_first":
            if not shared or candidates.shape[1] != len(self._trie.paths) - 1:
                raise ValueError("best-first search ranks the whole catalogue only")
            tree = branches(self._trie).to(self._device)

            def best_first(decoder: PrefixDecoder, batch: Batch, rows: np.ndarray):
                found, best = rank_best_first(decoder, tree, self._vocabulary, k)
                return found.cpu().numpy(), best.cpu().numpy()

            return best_first
        everyone = self._tree(candidates) if shared else None

        def exact(decoder: PrefixDecoder, batch: Batch, rows: np.ndarray):
            tree, candidates = everyone if shared else self._tree(own(rows)), own(rows)
            found = self._probabilities(decoder, batch, tree, candidates)
            if added is not None:
                more = torch.from_numpy(added.scores(rows)).to(found.device)
                found = found + _of_items(more, candidates)
            best, order = found.topk(k, dim=1)
            rows_of = np.broadcast_to(candidates, (len(rows), candidates.shape[1]))
            items = np.take_along_axis(rows_of, order.cpu().numpy(), axis=1)
            return items, best.cpu().numpy()

        return exact

    def fit_item_graphs(self, samples: EvaluationSet) -> None:
        """Fit what the item graphs are worth beside the T5, by the targets of n rows.

        Every process does all of it, and comes to the same numbers.
        """
        rows = samples.samples
        tree = self._tree(np.arange(1, len(self._trie.paths))[None])
        alone = torch.zeros(len(rows.users), len(self._trie.paths) - 1, device=self._device)
        self._model.eval()
        with torch.no_grad(), self._autocast():
            for part, batch in samples:
                alone[part] = rank_exact(self._decoder(batch), tree, self._vocabulary)

        histories = items_by_age(rows.items).to(self._device)

        def scores_of(graph: int, past: float) -> torch.Tensor:
            return self._model.graph_says(graph, past, histories, len(rows.users))[:, 1:]

        columns = torch.from_numpy(rows.target_items.astype(np.int64) - 1).to(self._device)
        self._model.item_scores.fit(alone, scores_of, columns)

    def places(
        self,
        samples: EvaluationSet,
        targets: np.ndarray,
        dropped: list[np.ndarray],
        added: AddedScores | None = None,
    ) -> np.ndarray:
        """Exact 0-based ranks of n targets in the whole catalogue, without what is dropped.

        Args:
            samples: n rows.
            targets: (n,) items.
            dropped: n arrays of items that are in no list of the row's user.
            added: as in ``rank``.

        Returns:
            (n,) int64: how many items are more probable; NOT_RANKED where the target is dropped.
        """
        catalogue = np.arange(1, len(self._trie.paths))[None]
        tree = self._tree(catalogue)
        ranks = np.zeros(len(samples.users), dtype=np.int64)
        self._model.eval()
        done = []
        with torch.no_grad(), self._autocast():
            title = "ranks in the catalogue"
            for rows, batch in own_batches(samples, title, "user", self._progress):
                decoder = self._decoder(batch)
                scores = self._probabilities(decoder, batch, tree, catalogue).cpu().numpy()
                if added is not None:
                    scores = scores + added.scores(rows)[:, 1:]
                own = scores[np.arange(len(rows)), targets[rows] - 1, None]
                ahead = scores > own
                for row, user in enumerate(rows):
                    ahead[row, dropped[user] - 1] = False
                    lost = targets[user] in dropped[user]
                    ranks[user] = NOT_RANKED if lost else ahead[row].sum()
                done.append(rows)
        distributed.merge_rows(done, ranks)
        return ranks

    def _tree(self, candidates: np.ndarray) -> PrefixTree:
        return prefix_tree(self._trie, candidates).to(self._device)

    def _decoder(self, batch: Batch) -> PrefixDecoder:
        states, mask = self._model.encode(batch.to(self._device))
        depth = self._trie.paths.shape[1] if self.published is None else NEW_TOKENS
        return PrefixDecoder(self._model.t5, states, mask, depth)

    def _probabilities(
        self, decoder: PrefixDecoder, batch: Batch, tree: PrefixTree, candidates: np.ndarray
    ) -> torch.Tensor:
        """(b, C) log-probabilities of (b, C) or (1, C) candidates; a row's sum is 1."""
        found = rank_exact(decoder, tree, self._vocabulary)
        if self._model.item_scores is None or batch.histories is None:
            return found
        histories = batch.histories.to(found.device)
        pasts = enumerate(self._model.item_scores.pasts)
        says = [self._model.graph_says(n, past, histories, len(found)) for n, past in pasts]
        scores = torch.stack([_of_items(scores, candidates) for scores in says])
        return self._model.item_scores(found, scores).log_softmax(dim=1)

    def _beams(
        self, decoder: PrefixDecoder, candidates: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if k > self.decoding.num_beams:
            raise ValueError(f"{k} items asked of {self.decoding.num_beams} beams")
        config = self._model.t5.config
        marks = Marks.of(config)
        found = beam_search(
            decoder,
            BeamOptions(
                self.decoding.num_beams,
                max_length=self._trie.paths.shape[1],
                length_penalty=self.decoding.length_penalty,
            ),
            marks,
            Allowed(self._trie, candidates, config.vocab_size),
        )
        items = np.zeros((decoder.batch_size, k), dtype=np.int64)
        scores = found.scores[:, :k].float().cpu().numpy()
        tokens = found.tokens.cpu().numpy()
        for row, n in zip(*np.nonzero(scores > NONE / 2)):
            line = tokens[row, n].tolist()
            items[row, n] = self._item_of[tuple(line[: line.index(marks.end) + 1])]
        return items, np.where(items > 0, scores, -np.inf)


def _of_items(scores: torch.Tensor, candidates: np.ndarray) -> torch.Tensor:
    """(..., b, I + 1) scores -> (..., b, C) those of (b, C) or (1, C) candidates."""
    columns = torch.from_numpy(candidates.astype(np.int64)).to(scores.device)
    return scores.gather(-1, columns.expand(*scores.shape[:-1], -1))
