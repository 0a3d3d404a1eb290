"""Exact top-k over a large catalogue by best-first expansion: no search error, few prefixes.

With each step's softmax taken over the trie's continuations, log-probability only falls along a
path. So once k finished items are at least as probable as every open prefix, no other item can
belong to the best k. A million consecutive numbers branch at 19,000 prefixes; a user's ten best
items need a few dozen of them.
"""

from typing import NamedTuple

import numpy as np
import torch

from modules.loader.trie import ItemTrie, branching
from modules.model.decoder import PrefixDecoder

NOTHING = float("-inf")


class Branches(NamedTuple):
    """The prefixes that branch, and their ancestors, with what follows each.

    Prefix n continues by ``columns[starts[n]:starts[n + 1]]`` of the trie's vocabulary, to
    ``targets`` of the same places: another prefix n' >= 0, or item i as -i.
    """

    tokens: torch.Tensor  # (P,) int64: the token that leads to a prefix; prefix 0 is the root
    depths: torch.Tensor  # (P,) int64
    starts: torch.Tensor  # (P + 1,) int64
    columns: torch.Tensor  # (edges,) int64
    targets: torch.Tensor  # (edges,) int64

    def to(self, device: torch.device) -> "Branches":
        """The same on a device."""
        return Branches(*(part.to(device) for part in self))


def count_prefixes(trie: ItemTrie) -> int:
    """Prefixes that a decoder pass over the whole trie would hold."""
    return len(branching(trie, np.arange(1, len(trie.paths))[None]).needed)


def branches(trie: ItemTrie) -> Branches:
    """Lay out the trie of the whole catalogue for ``rank_best_first``."""
    items, width = np.arange(len(trie.paths)), len(trie.vocabulary)
    needed = branching(trie, items[None, 1:]).needed
    prefix_of = np.full(len(trie.tokens), -1)
    prefix_of[needed] = np.arange(len(needed))
    keys, targets = [], []
    for level in range(trie.paths.shape[1]):
        node = trie.paths[:, level]
        rows = np.flatnonzero((node >= 0) & (prefix_of[node] >= 0))
        after = np.full(len(rows), -1)
        if level + 1 < trie.paths.shape[1]:
            following = trie.paths[rows, level + 1]
            after = np.where(following >= 0, prefix_of[following], -1)
        keys.append(prefix_of[node[rows]] * width + trie.columns[rows, level])
        targets.append(np.where(after >= 0, after, -items[rows]))
    # All items below an edge agree on where it leads; keep one.
    edges, first = np.unique(np.concatenate(keys), return_index=True)
    prefix, columns = np.divmod(edges, width)
    starts = np.searchsorted(prefix, np.arange(len(needed) + 1))
    targets = np.concatenate(targets)[first]
    arrays = (trie.tokens[needed], trie.depths[needed], starts, columns, targets)
    return Branches(*(torch.from_numpy(a.astype(np.int64)) for a in arrays))


def rank_best_first(
    decoder: PrefixDecoder, tree: Branches, vocabulary: torch.Tensor, k: int, width: int = 16
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k most probable items of each user, and their log-probabilities.

    Args:
        decoder: fresh, over B users.
        tree: from ``branches``, on the decoder's device.
        vocabulary: (V',) the trie's tokens.
        k: at most the number of items.
        width: prefixes that a user expands at a time; all give the same result.

    Returns:
        items (B, k) int64 and scores (B, k) float32, best first.
    """
    b, dev = decoder.batch_size, decoder.device
    best = torch.full((b, k), NOTHING, device=dev)
    items = torch.zeros(b, k, dtype=torch.long, device=dev)
    # Open prefixes: log-probability, prefix, and the decoder's node of the parent (none: -1).
    scores = torch.zeros(b, 1, device=dev)
    prefixes = torch.zeros(b, 1, dtype=torch.long, device=dev)
    parents = torch.full((b, 1), -1, device=dev)
    visible = torch.zeros(b, 0, 0, dtype=torch.bool, device=dev)  # (B, M, M) over nodes so far
    while True:
        # Whatever cannot beat the k-th best item is closed for good.
        scores = scores.masked_fill(scores <= best[:, -1:], NOTHING)
        q = min(width, int((scores > NOTHING).sum(dim=1).max()))
        if q == 0:
            return items, best
        top, at = scores.topk(q, dim=1)
        scores = scores.scatter(1, at, NOTHING)
        # A user with fewer than q open prefixes expands closed ones, whose score is -inf.
        prefix, parent = prefixes.gather(1, at).clamp(min=0), parents.gather(1, at)
        visible = _grow(visible, parent)
        m = visible.shape[1] - q
        hidden = decoder.extend(tree.tokens[prefix], tree.depths[prefix], visible[:, m:])
        grown, targets = _continuations(decoder.logits(hidden, vocabulary), tree, prefix)
        grown = (grown + top[:, :, None]).flatten(1)  # (B, q, F) -> (B, q * F)
        targets = targets.flatten(1)
        node = torch.arange(m, m + q, device=dev).repeat_interleave(grown.shape[1] // q)
        node = node.expand(b, -1)
        found = torch.cat([best, grown.masked_fill(targets >= 0, NOTHING)], dim=1)
        best, order = (x[:, :k] for x in found.sort(dim=1, descending=True, stable=True))
        items = torch.cat([items, -targets], dim=1).gather(1, order)
        scores = torch.cat([scores, grown.masked_fill(targets < 0, NOTHING)], dim=1)
        prefixes, parents = torch.cat([prefixes, targets], 1), torch.cat([parents, node], 1)
        # Drop what is closed for every user.
        alive = int((scores > best[:, -1:]).sum(dim=1).max())
        scores, order = scores.topk(max(alive, 1), dim=1)
        prefixes, parents = (x.gather(1, order) for x in (prefixes, parents))


def _grow(visible: torch.Tensor, parent: torch.Tensor) -> torch.Tensor:
    """(B, M, M) and the (B, q) parents of q new nodes -> (B, M + q, M + q)."""
    (b, m, _), q = visible.shape, parent.shape[1]
    grown = visible.new_zeros(b, m + q, m + q)
    grown[:, :m, :m] = visible
    if m:
        above = visible.gather(1, parent.clamp(min=0)[:, :, None].expand(-1, -1, m))
        grown[:, m:, :m] = above & (parent >= 0)[:, :, None]
    grown[:, m:, m:] = torch.eye(q, dtype=torch.bool, device=visible.device)
    return grown


def _continuations(
    logits: torch.Tensor, tree: Branches, prefix: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, q, V') scores of (B, q) prefixes -> (B, q, F) log-probabilities and targets; -inf and 0
    behind the end of a prefix with fewer than F continuations."""
    first, fanout = tree.starts[prefix], tree.starts[prefix + 1] - tree.starts[prefix]
    offset = torch.arange(int(fanout.max()), device=prefix.device)
    inside = offset < fanout[:, :, None]
    edge = torch.where(inside, first[:, :, None] + offset, first[:, :, None])
    found = logits.gather(2, tree.columns[edge]).masked_fill(~inside, NOTHING)
    return found.log_softmax(dim=-1), tree.targets[edge].masked_fill(~inside, 0)
