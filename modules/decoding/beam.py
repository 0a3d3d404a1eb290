"""Beam search, as transformers' ``generate`` has it, over free text or over the trie of items.

It knows token ids and a ``PrefixDecoder``; no tokenizer, no data set.
"""

from typing import NamedTuple

import numpy as np
import torch
from transformers import T5Config

from modules.decoding.best_tokens import best_tokens, log_sums
from modules.loader.trie import ItemTrie
from modules.model.decoder import PrefixDecoder


class Beams(NamedTuple):
    """Finished beams of B users, best first."""

    tokens: torch.Tensor  # (B, n, T) int64, without the start token, padded behind the end mark
    scores: torch.Tensor  # (B, n) float32: log-probability / length^length_penalty; -1e9 = none


class Allowed:
    """Which tokens may follow a beam: the trie's continuations towards a user's candidates."""

    def __init__(self, trie: ItemTrie, candidates: np.ndarray, n_tokens: int) -> None:
        """candidates: (B, C) items, or (1, C) for all users; n_tokens: V."""
        self._n_tokens = n_tokens
        self._nodes = np.where(candidates[..., None] > 0, trie.paths[candidates], -1)
        self._tokens = np.where(self._nodes >= 0, trie.vocabulary[trie.columns[candidates]], -1)
        self._children = dict(
            zip(zip(trie.parents.tolist(), trie.tokens.tolist()), range(len(trie.tokens)))
        )
        self._memo: dict[tuple[int, int], np.ndarray] = {}

    def _continuations(self, row: int, node: int) -> np.ndarray:
        key = (row, node)
        if key not in self._memo:
            self._memo[key] = np.unique(self._tokens[row][self._nodes[row] == node])
        return self._memo[key]

    def mask(self, beams: torch.Tensor) -> torch.Tensor:
        """(B, k, t) tokens so far -> (B, k, V) bool. A beam off the trie may go nowhere."""
        out = torch.zeros(*beams.shape[:2], self._n_tokens, dtype=torch.bool)
        shared = len(self._nodes) == 1
        for row, beam in np.ndindex(*beams.shape[:2]):
            node: int | None = 0
            for token in beams[row, beam].tolist():
                node = self._children.get((node, token))
                if node is None:
                    break
            if node is not None:
                out[row, beam, self._continuations(0 if shared else row, node)] = True
        return out.to(beams.device)


class BeamOptions(NamedTuple):
    """Settings of a beam search; the defaults are plain beams over free text."""

    num_beams: int
    max_length: int  # tokens, end mark included
    min_length: int = 0  # tokens before the end mark may come
    length_penalty: float = 1.0
    groups: int = 1
    diversity_penalty: float = 0.0
    early_stopping: bool = False  # stop a user at ``num_beams`` finished beams


NONE = -1.0e9  # a score below every real one, and finite so that sums of it stay numbers


class Marks(NamedTuple):
    """Tokens with a meaning of their own."""

    start: int
    end: int
    pad: int

    @classmethod
    def of(cls, config: T5Config) -> "Marks":
        """Those of a T5."""
        return cls(config.decoder_start_token_id, config.eos_token_id, config.pad_token_id)


def beam_search(
    decoder: PrefixDecoder, options: BeamOptions, marks: Marks, allowed: Allowed | None = None
) -> Beams:
    """Beam search as transformers' ``generate`` has it; with groups, diverse beam search.

    A finished beam's score is its log-probability over the whole vocabulary, divided by
    length^length_penalty. Diverse beam search (Vijayakumar et al. 2018): the groups take turns
    within a step, and a token costs ``diversity_penalty`` for each beam of an earlier group that
    has just chosen it. With penalty 0 all groups are the same search, so that one is run.
    """
    groups = options.groups
    if options.num_beams % groups:
        raise ValueError(f"{options.num_beams} beams cannot be split into {groups} groups")
    size = options.num_beams // groups
    if options.diversity_penalty == 0.0:
        groups = 1
    b, dev, k = decoder.batch_size, decoder.device, groups * size
    searches = [_Group(b, size, options, marks, dev) for _ in range(groups)]
    # nodes[b, j]: the decoder's nodes on beam j's path, as a mask over all nodes so far.
    visible = torch.ones(b, 1, 1, dtype=torch.bool, device=dev)
    hidden = decoder.extend(
        torch.full((b, 1), marks.start, device=dev),
        torch.zeros(b, 1, dtype=torch.long, device=dev),
        visible,
    )
    hidden, visible = hidden.expand(-1, k, -1), visible.expand(-1, k, -1)
    for length in range(1, options.max_length + 1):
        logits = decoder.logits(hidden)  # (B, k, V)
        sums = log_sums(logits)  # over the whole vocabulary, whatever may not come
        if length <= options.min_length:
            logits[..., marks.end] = float("-inf")
        if allowed is not None:
            beams = torch.cat([search.running for search in searches], dim=1)
            logits = logits.masked_fill(~allowed.mask(beams), float("-inf"))
        parent, token = _step(searches, logits, sums, length, options.diversity_penalty)
        if length == options.max_length or all(search.finished(length) for search in searches):
            break
        past = visible.gather(1, parent[:, :, None].expand(-1, -1, visible.shape[-1]))
        new = torch.eye(k, dtype=torch.bool, device=dev).expand(b, -1, -1)
        visible = torch.cat([past, new], dim=2)
        hidden = decoder.extend(token, torch.full_like(token, length), visible)
    tokens = torch.cat([search.sequences for search in searches], dim=1)
    scores = torch.cat([search.scores for search in searches], dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return Beams(tokens.gather(1, order[:, :, None].expand_as(tokens)), scores)


def _step(
    searches: list["_Group"], logits: torch.Tensor, sums: torch.Tensor, length: int, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (B, k, V), and the logs (B, k) of the sums of their exp -> parents (B, k) and tokens
    (B, k) of all groups' beams."""
    size = logits.shape[1] // len(searches)
    chosen = sums.new_zeros(len(logits), logits.shape[-1])
    parents, tokens = [], []
    for g, search in enumerate(searches):
        own = slice(g * size, (g + 1) * size)
        part = logits[:, own]
        if len(searches) > 1:
            part = part - penalty * chosen[:, None]
        parent, token = search.step(part, sums[:, own], length)
        chosen.scatter_add_(1, token, torch.ones_like(token, dtype=chosen.dtype))
        parents.append(parent + g * size)
        tokens.append(token)
    return torch.cat(parents, dim=1), torch.cat(tokens, dim=1)


class _Group:
    """The running and finished beams of one group: the book-keeping of ``generate``."""

    def __init__(
        self, b: int, size: int, options: BeamOptions, marks: Marks, dev: torch.device
    ) -> None:
        self._options, self._marks = options, marks
        self.running = torch.empty(b, size, 0, dtype=torch.long, device=dev)
        self._running_scores = torch.full((b, size), NONE, device=dev)
        self._running_scores[:, 0] = 0.0  # all beams are the same root: one of them counts
        self.sequences = torch.full((b, size, options.max_length), marks.pad, device=dev)
        self.scores = torch.full((b, size), NONE, device=dev)
        self._improvable = torch.ones(b, 1, dtype=torch.bool, device=dev)

    def step(
        self, logits: torch.Tensor, sums: torch.Tensor, length: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (B, size, V), and the logs (B, size) of the sums of their exp -> parents (B, size)
        and tokens (B, size) of the new running beams."""
        size, vocabulary = logits.shape[1:]
        # Enough to continue if half of it has ended.
        top, index = best_tokens(logits, self._running_scores - sums, 2 * size)
        parent, token = index // vocabulary, index % vocabulary
        prefix = self.running.gather(1, parent[:, :, None].expand(-1, -1, length - 1))
        grown = torch.cat([prefix, token[:, :, None]], dim=2)  # (B, 2 size, length)

        ended = (token == self._marks.end) | (length == self._options.max_length)
        full = (self.scores > NONE / 2).all(dim=1, keepdim=True) & self._options.early_stopping
        new = ended & (torch.arange(2 * size, device=ended.device) < size)
        new &= self._improvable & ~full & (top > NONE / 2)
        final = torch.where(new, top / length**self._options.length_penalty, NONE)
        padded = torch.nn.functional.pad(
            grown, (0, self._options.max_length - length), value=self._marks.pad
        )
        scores, order = torch.cat([self.scores, final], dim=1).topk(size, dim=1)
        sequences = torch.cat([self.sequences, padded], dim=1)
        self.scores = scores
        self.sequences = sequences.gather(1, order[:, :, None].expand(-1, -1, sequences.shape[2]))

        top = torch.where(ended, NONE, top)
        self._running_scores, keep = top.topk(size, dim=1)
        parent, token = parent.gather(1, keep), token.gather(1, keep)
        self.running = grown.gather(1, keep[:, :, None].expand(-1, -1, length))
        return parent, token

    def finished(self, length: int) -> bool:
        """Can no running beam improve on the finished ones any more, for any user?"""
        full = (self.scores > NONE / 2).all(dim=1, keepdim=True)
        best = self._running_scores[:, :1] / length**self._options.length_penalty
        worst = torch.where(full, self.scores[:, -1:], NONE)
        self._improvable &= (best > worst) & (self._running_scores[:, :1] > NONE / 2)
        if self._options.early_stopping:
            self._improvable &= ~full
        return not bool(self._improvable.any())
