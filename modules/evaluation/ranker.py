"""Rank items, or generate text, for every row of an evaluation set; no metric formulas.

The encoder runs once a user. Results come back one row a user, in the order of the set.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import numpy as np
import torch

from modules.decoding.best_first import branches, count_prefixes, rank_best_first
from modules.decoding.exact import (
    NONE,
    Allowed,
    BeamOptions,
    PrefixTree,
    beam_search,
    prefix_tree,
    rank_exact,
)
from modules.loader.batches import Batch
from modules.loader.evaluation_set import EvalSet
from modules.loader.pieces import ItemTrie, Ragged
from modules.model.decoder import PrefixDecoder
from modules.model.elmrec import ELMRec
from utils import distributed
from utils.console import progress


class Seconds(NamedTuple):
    """Where the time of an evaluation went."""

    encode: float
    decode: float


class AddedScores(Protocol):
    """What is added to a model's log-probabilities (``--linear``: modules/baselines/linear.py)."""

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """(b,) rows of the evaluation set -> (b, I + 1) float32; column 0 is no item."""


class Decoding(NamedTuple):
    """How items are ranked: ``exact``, ``best_first``, or ``beam`` with these settings."""

    method: str
    num_beams: int = 20
    length_penalty: float = 1.0


MAX_PREFIXES = 4096  # of a pass over the whole trie: it attends over (prefixes, prefixes)
FEW_PREFIXES = 1024  # up to here that pass is also the fastest way


def pick_method(decode: str, trie: ItemTrie) -> str:
    """How to rank the whole catalogue: ``exact`` and ``best_first`` give the same lists.

    ``auto`` takes the faster; ``exact`` gives way where the trie is too large for one pass.
    """
    if decode not in ("auto", "exact"):
        return decode
    limit = FEW_PREFIXES if decode == "auto" else MAX_PREFIXES
    return "exact" if count_prefixes(trie) <= limit else "best_first"


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
        self._model, self._trie, self._decoding = model, trie, decoding
        self._autocast, self._progress = autocast, show_progress
        self._device = next(model.parameters()).device
        self._vocabulary = torch.from_numpy(trie.vocabulary).to(self._device)
        self._item_of = {
            tuple(targets.flat[a:b].tolist()): item
            for item, (a, b) in enumerate(zip(targets.starts[:-1], targets.starts[1:]))
            if item > 0
        }

    def rank(
        self,
        samples: EvalSet,
        candidates: np.ndarray,
        k: int,
        linear: AddedScores | None = None,
    ) -> tuple[np.ndarray, ...]:
        """The best ``k`` candidates of each row.

        Args:
            samples: n rows.
            candidates: (n, C) items, or (1, C) for all rows.
            k: length of the lists; less where there are fewer candidates.
            linear: what to add to each row's log-probabilities; for exact ranking.

        Returns:
            items (n, k) int64, 0 = none; scores (n, k) float32; Seconds.
        """
        shared = len(candidates) == 1
        k = min(k, candidates.shape[1])
        method = self._decoding.method
        if linear is not None and method != "exact":
            raise ValueError(f"{method} search has no score of every item to add to")
        if method == "best_first":
            if not shared or candidates.shape[1] != len(self._trie.paths) - 1:
                raise ValueError("best-first search ranks the whole catalogue only")
            tree = branches(self._trie).to(self._device)
        elif method == "exact" and shared:
            tree = self._exact_tree(candidates)
        items = np.zeros((len(samples.users), k), dtype=np.int64)
        scores = np.full((len(samples.users), k), -np.inf, dtype=np.float32)
        encode = decode = 0.0
        self._model.eval()
        bar = progress(len(items), f"{samples.task.label} ranking", "user", self._progress)
        done = []
        with torch.no_grad(), self._autocast():  # entered once, it keeps the weights that it rounds
            for n in distributed.own_part(len(samples)):
                rows, batch = samples[n]
                mine = candidates if shared else candidates[rows]
                started = time.perf_counter()
                decoder = self._decoder(batch)
                encoded = time.perf_counter()
                if method == "beam":
                    items[rows], scores[rows] = self._beams(decoder, mine, k)
                elif method == "best_first":
                    found, best = rank_best_first(decoder, tree, self._vocabulary, k)
                    items[rows], scores[rows] = found.cpu().numpy(), best.cpu().numpy()
                else:
                    own = tree if shared else self._exact_tree(mine)
                    more = None if linear is None else linear.scores(rows)
                    items[rows], scores[rows] = self._exact(decoder, own, mine, k, more)
                encode += encoded - started
                decode += time.perf_counter() - encoded
                done.append(rows)
                bar.update(len(rows) * distributed.world_size())
        bar.close()
        distributed.merge_rows(done, items, scores)
        return items, scores, Seconds(encode, decode)

    def places(
        self,
        samples: EvalSet,
        targets: np.ndarray,
        had: list[np.ndarray],
        linear: AddedScores | None = None,
    ) -> np.ndarray:
        """Exact 0-based ranks of n targets in the whole catalogue, but what each user had.

        Args:
            samples: n rows.
            targets: (n,) items.
            had: n arrays of items; the target is none of them.
            linear: as in ``rank``.

        Returns:
            (n,) int64: how many items are more probable.
        """
        catalogue = np.arange(1, len(self._trie.paths))[None]
        tree = self._exact_tree(catalogue)
        ranks = np.zeros(len(samples.users), dtype=np.int64)
        self._model.eval()
        bar = progress(len(ranks), "places in the catalogue", "user", self._progress)
        done = []
        with torch.no_grad(), self._autocast():
            for n in distributed.own_part(len(samples)):
                rows, batch = samples[n]
                scores = rank_exact(self._decoder(batch), tree, self._vocabulary).cpu().numpy()
                if linear is not None:
                    scores = scores + linear.scores(rows)[:, 1:]
                own = scores[np.arange(len(rows)), targets[rows] - 1, None]
                ahead = scores > own
                for row, user in enumerate(rows):
                    ahead[row, had[user] - 1] = False
                ranks[rows] = ahead.sum(axis=1)
                done.append(rows)
                bar.update(len(rows) * distributed.world_size())
        bar.close()
        distributed.merge_rows(done, ranks)
        return ranks

    def _exact_tree(self, candidates: np.ndarray) -> PrefixTree:
        tree = prefix_tree(self._trie, candidates)
        return PrefixTree(*(part.to(self._device) for part in tree))

    def _decoder(self, batch: Batch) -> PrefixDecoder:
        states, mask = self._model.encode(batch.to(self._device))
        return PrefixDecoder(self._model.t5, states, mask, depth=self._trie.paths.shape[1])

    def _exact(
        self,
        decoder: PrefixDecoder,
        tree: PrefixTree,
        candidates: np.ndarray,
        k: int,
        more: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """more: (b, I + 1), added to the log-probabilities."""
        everyone = np.broadcast_to(candidates, (decoder.batch_size, candidates.shape[1]))
        found = rank_exact(decoder, tree, self._vocabulary)
        if more is not None:
            added = np.take_along_axis(more, everyone, axis=1)
            found = found + torch.from_numpy(added).to(found.device)
        best, order = found.topk(k, dim=1)
        return np.take_along_axis(everyone, order.cpu().numpy(), axis=1), best.cpu().numpy()

    def _beams(
        self, decoder: PrefixDecoder, candidates: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        if k > self._decoding.num_beams:
            raise ValueError(f"{k} items asked of {self._decoding.num_beams} beams")
        config = self._model.t5.config
        found = beam_search(
            decoder,
            BeamOptions(
                self._decoding.num_beams,
                max_length=self._trie.paths.shape[1],
                length_penalty=self._decoding.length_penalty,
            ),
            start=config.decoder_start_token_id,
            end=config.eos_token_id,
            pad=config.pad_token_id,
            allowed=Allowed(self._trie, candidates, config.vocab_size),
        )
        items = np.zeros((decoder.batch_size, k), dtype=np.int64)
        scores = found.scores[:, :k].float().cpu().numpy()
        tokens = found.tokens.cpu().numpy()
        for row, n in zip(*np.nonzero(scores > NONE / 2)):
            line = tokens[row, n].tolist()
            items[row, n] = self._item_of[tuple(line[: line.index(config.eos_token_id) + 1])]
        return items, np.where(items > 0, scores, -np.inf)


def generate_texts(
    model: ELMRec,
    samples: EvalSet,
    options: BeamOptions,
    decode: Callable[[list[list[int]]], list[str]],
    autocast: Callable = nullcontext,
    show_progress: bool = True,
) -> tuple[list[str], Seconds]:
    """The best beam of every row as text. decode: token rows -> texts, special tokens left out."""
    device = next(model.parameters()).device
    config = model.t5.config
    texts = np.full(len(samples.users), "", dtype=object)
    encode = search = 0.0
    model.eval()
    bar = progress(len(texts), "explanations", "text", show_progress)
    done = []
    with torch.no_grad(), autocast():
        for n in distributed.own_part(len(samples)):
            rows, batch = samples[n]
            started = time.perf_counter()
            states, mask = model.encode(batch.to(device))
            decoder = PrefixDecoder(model.t5, states, mask, depth=options.max_length)
            encoded = time.perf_counter()
            found = beam_search(
                decoder,
                options,
                start=config.decoder_start_token_id,
                end=config.eos_token_id,
                pad=config.pad_token_id,
            )
            texts[rows] = decode(found.tokens[:, 0].tolist())
            encode += encoded - started
            search += time.perf_counter() - encoded
            done.append(rows)
            bar.update(len(rows) * distributed.world_size())
    bar.close()
    distributed.merge_rows(done, texts)
    return texts.tolist(), Seconds(encode, search)
