"""Exact ranking over the trie of item numbers, and beam search: what a model would answer.

It knows token ids and a ``PrefixDecoder``; no tokenizer, no data set.

Exact ranking: where each step's softmax is taken over the trie's continuations alone, a prefix
with one continuation costs nothing, so the probability of *every* item follows from the decoder
at the few prefixes that branch: a single pass, without search error.
"""

from typing import NamedTuple

import numpy as np
import torch

from modules.loader.pieces import ItemTrie
from modules.model.decoder import PrefixDecoder


class PrefixTree(NamedTuple):
    """The branching prefixes, and their ancestors, of the tries over C candidates each.

    b is B, or 1 where all users share the candidates. P is the largest number of prefixes.
    """

    tokens: torch.Tensor  # (b, P) int64
    depths: torch.Tensor  # (b, P) int64
    visible: torch.Tensor  # (b, P, P) bool: ancestors and self
    allowed: torch.Tensor  # (b, P, V') bool: continuations; all true where none is asked for
    steps: torch.Tensor  # (b, C, T) int64: a candidate's branching steps in the flat (P * V' + 1)


def prefix_tree(trie: ItemTrie, candidates: np.ndarray) -> PrefixTree:
    """Lay out the tries over ``candidates`` (b, C), items in 1..I, as query positions."""
    b, width = len(candidates), len(trie.vocabulary)
    nodes, columns = trie.paths[candidates], trie.columns[candidates]  # (b, C, T)
    n_nodes = len(trie.tokens)
    rows = np.arange(b)[:, None, None]
    # A key orders (row, node) pairs, and (row, node, token) edges below them.
    node_keys = rows * n_nodes + nodes
    edge_keys = node_keys * width + columns
    inside = nodes >= 0
    edges = np.unique(edge_keys[inside])
    origins, fanout = np.unique(edges // width, return_counts=True)
    branching = origins[fanout > 1]
    # Every row has its root, so that a lone candidate too has a position.
    needed = np.union1d(branching, np.arange(b) * n_nodes)
    climbing = branching
    while climbing.size:
        parents = trie.parents[climbing % n_nodes]
        climbing = np.unique((climbing - climbing % n_nodes + parents)[parents >= 0])
        needed = np.union1d(needed, climbing)

    row, node = np.divmod(needed, n_nodes)
    counts = np.bincount(row, minlength=b)
    place = np.arange(len(needed)) - np.repeat(np.cumsum(counts) - counts, counts)
    p = int(counts.max())
    tokens, depths = np.zeros((b, p), dtype=np.int64), np.zeros((b, p), dtype=np.int64)
    tokens[row, place], depths[row, place] = trie.tokens[node], trie.depths[node]
    visible = np.zeros((b, p, p), dtype=bool)
    visible[:, np.arange(p), np.arange(p)] = True
    here, ancestor = np.arange(len(needed)), node
    while here.size:
        parents = trie.parents[ancestor]
        here, ancestor = here[parents >= 0], parents[parents >= 0]
        at = np.searchsorted(needed, row[here] * n_nodes + ancestor)
        visible[row[here], place[here], place[at]] = True

    kept = edges[np.isin(edges // width, branching)]
    at = np.searchsorted(needed, kept // width)
    allowed = np.zeros((b, p, width), dtype=bool)
    allowed[row[at], place[at], kept % width] = True
    allowed |= ~allowed.any(axis=2, keepdims=True)  # an empty softmax would be NaN

    at = np.minimum(np.searchsorted(needed, node_keys), len(needed) - 1)
    scored = inside & np.isin(node_keys, branching)
    steps = np.where(scored, place[at] * width + columns, p * width)
    return PrefixTree(*(torch.from_numpy(a) for a in (tokens, depths, visible, allowed, steps)))


def rank_exact(decoder: PrefixDecoder, tree: PrefixTree, vocabulary: torch.Tensor) -> torch.Tensor:
    """Log-probability of every candidate: (B, C) float32; the exponentials of a row sum to 1.

    Args:
        decoder: fresh, over B users.
        tree: from ``prefix_tree``, on the decoder's device.
        vocabulary: (V',) the trie's tokens.
    """
    hidden = decoder.extend(tree.tokens, tree.depths, tree.visible)
    scores = decoder.logits(hidden, vocabulary)  # (B, P, V')
    scores = scores.masked_fill(~tree.allowed, float("-inf")).log_softmax(dim=-1)
    flat = torch.cat([scores.flatten(1), scores.new_zeros(len(scores), 1)], dim=1)
    steps = tree.steps.expand(len(flat), -1, -1).flatten(1)  # (b, C, T) -> (B, C * T)
    return flat.gather(1, steps).unflatten(1, tree.steps.shape[1:]).sum(dim=-1)


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


def beam_search(
    decoder: PrefixDecoder,
    options: BeamOptions,
    start: int,
    end: int,
    pad: int,
    allowed: Allowed | None = None,
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
    b, dev = decoder.batch_size, decoder.device
    searches = [_Group(b, size, options, end, pad, dev) for _ in range(groups)]
    k = groups * size
    # nodes[b, j]: the decoder's nodes on beam j's path, as a mask over all nodes so far.
    visible = torch.ones(b, 1, 1, dtype=torch.bool, device=dev)
    hidden = decoder.extend(
        torch.full((b, 1), start, device=dev),
        torch.zeros(b, 1, dtype=torch.long, device=dev),
        visible,
    )
    hidden, visible = hidden.expand(-1, k, -1), visible.expand(-1, k, -1)
    for length in range(1, options.max_length + 1):
        log_probs = decoder.logits(hidden).log_softmax(dim=-1)  # (B, k, V)
        if length <= options.min_length:
            log_probs[..., end] = float("-inf")
        if allowed is not None:
            beams = torch.cat([search.running for search in searches], dim=1)
            log_probs = log_probs.masked_fill(~allowed.mask(beams), float("-inf"))
        chosen = log_probs.new_zeros(b, log_probs.shape[-1])
        parents, tokens = [], []
        for g, search in enumerate(searches):
            part = log_probs[:, g * size : (g + 1) * size]
            if groups > 1:
                part = part - options.diversity_penalty * chosen[:, None]
            parent, token = search.step(part, length)
            chosen.scatter_add_(1, token, torch.ones_like(token, dtype=chosen.dtype))
            parents.append(parent + g * size)
            tokens.append(token)
        if length == options.max_length or all(search.finished(length) for search in searches):
            break
        parent, token = torch.cat(parents, dim=1), torch.cat(tokens, dim=1)
        past = visible.gather(1, parent[:, :, None].expand(-1, -1, visible.shape[-1]))
        new = torch.eye(k, dtype=torch.bool, device=dev).expand(b, -1, -1)
        visible = torch.cat([past, new], dim=2)
        hidden = decoder.extend(token, torch.full_like(token, length), visible)
    tokens = torch.cat([search.sequences for search in searches], dim=1)
    scores = torch.cat([search.scores for search in searches], dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    return Beams(tokens.gather(1, order[:, :, None].expand_as(tokens)), scores)


class _Group:
    """The running and finished beams of one group: the book-keeping of ``generate``."""

    def __init__(self, b: int, size: int, options: BeamOptions, end: int, pad: int, dev) -> None:
        self._options, self._end, self._pad, self._size = options, end, pad, size
        self.running = torch.empty(b, size, 0, dtype=torch.long, device=dev)
        self._running_scores = torch.full((b, size), NONE, device=dev)
        self._running_scores[:, 0] = 0.0  # all beams are the same root: one of them counts
        self.sequences = torch.full((b, size, options.max_length), pad, device=dev)
        self.scores = torch.full((b, size), NONE, device=dev)
        self._improvable = torch.ones(b, 1, dtype=torch.bool, device=dev)

    def step(self, log_probs: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, size, V) -> parents (B, size) and tokens (B, size) of the new running beams."""
        size, vocabulary = log_probs.shape[1:]
        total = (log_probs + self._running_scores[:, :, None]).flatten(1)
        top, index = total.topk(2 * size, dim=1)  # enough to go on if half of it has ended
        parent, token = index // vocabulary, index % vocabulary
        prefix = self.running.gather(1, parent[:, :, None].expand(-1, -1, length - 1))
        grown = torch.cat([prefix, token[:, :, None]], dim=2)  # (B, 2 size, length)

        ended = (token == self._end) | (length == self._options.max_length)
        full = (self.scores > NONE / 2).all(dim=1, keepdim=True) & self._options.early_stopping
        new = ended & (torch.arange(2 * size, device=ended.device) < size)
        new &= self._improvable & ~full & (top > NONE / 2)
        final = torch.where(new, top / length**self._options.length_penalty, NONE)
        padded = torch.nn.functional.pad(
            grown, (0, self._options.max_length - length), value=self._pad
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
