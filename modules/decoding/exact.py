"""Exact ranking over the trie of item numbers: every item's probability in one decoder pass.

Where each step's softmax is taken over the trie's continuations alone, a prefix with one
continuation costs nothing, so the probability of *every* item follows from the decoder at the few
prefixes that branch, without search error. It knows token ids and a ``PrefixDecoder``; no
tokenizer, no data set.
"""

from typing import NamedTuple

import numpy as np
import torch

from modules.loader.trie import ItemTrie, branching
from modules.model.decoder import PrefixDecoder


class PrefixTree(NamedTuple):
    """The branching prefixes, and their ancestors, of the tries over C candidates each.

    b is B, or 1 where all users share the candidates. P is the largest number of prefixes.
    """

    tokens: torch.Tensor  # (b, P) int64
    depths: torch.Tensor  # (b, P) int64
    visible: torch.Tensor  # (b, P, P) bool: ancestors and self
    allowed: torch.Tensor  # (b, P, V') bool: continuations; all true where none is asked for
    steps: torch.Tensor  # (b, C, T) int64: a candidate's branching steps in the flat (P * V' + 2)

    def to(self, device: torch.device) -> "PrefixTree":
        """The same on a device."""
        return PrefixTree(*(part.to(device) for part in self))


def prefix_tree(trie: ItemTrie, candidates: np.ndarray) -> PrefixTree:
    """Lay out the tries over ``candidates`` (b, C), items in 1..I or 0 for none, as query
    positions."""
    b, width, n_nodes = len(candidates), len(trie.vocabulary), len(trie.tokens)
    edges, branch, needed = branching(trie, candidates)
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

    kept = edges[np.isin(edges // width, branch)]
    at = np.searchsorted(needed, kept // width)
    allowed = np.zeros((b, p, width), dtype=bool)
    allowed[row[at], place[at], kept % width] = True
    allowed |= ~allowed.any(axis=2, keepdims=True)  # an empty softmax would be NaN

    nodes, columns = trie.paths[candidates], trie.columns[candidates]  # (b, C, T)
    keys = np.arange(b)[:, None, None] * n_nodes + nodes
    at = np.minimum(np.searchsorted(needed, keys), len(needed) - 1)
    scored = (nodes >= 0) & np.isin(keys, branch)
    steps = np.where(scored, place[at] * width + columns, p * width)
    steps[candidates == 0] = p * width + 1
    return PrefixTree(*(torch.from_numpy(a) for a in (tokens, depths, visible, allowed, steps)))


def rank_exact(decoder: PrefixDecoder, tree: PrefixTree, vocabulary: torch.Tensor) -> torch.Tensor:
    """Log-probability of every candidate: (B, C) float32, -inf for none; the exponentials of a
    row sum to 1.

    Args:
        decoder: fresh, over B users.
        tree: from ``prefix_tree``, on the decoder's device.
        vocabulary: (V',) the trie's tokens.
    """
    hidden = decoder.extend(tree.tokens, tree.depths, tree.visible)
    scores = decoder.logits(hidden, vocabulary)  # (B, P, V')
    scores = scores.masked_fill(~tree.allowed, float("-inf")).log_softmax(dim=-1)
    # Behind the end of a number a step costs nothing; what is no item cannot be.
    ends = scores.new_tensor([0.0, float("-inf")]).expand(len(scores), 2)
    flat = torch.cat([scores.flatten(1), ends], dim=1)
    steps = tree.steps.expand(len(flat), -1, -1).flatten(1)  # (b, C, T) -> (B, C * T)
    return flat.gather(1, steps).unflatten(1, tree.steps.shape[1:]).sum(dim=-1)
