"""Cross entropy over the trie's continuations: exact ranking, as a loss.

    loss = - log p(item),   p(item) = prod over the steps t of its number that branch of
                                      softmax over the continuations of t alone

Cross entropy over the whole vocabulary also teaches a model what is no item; exact ranking
(modules/decoding/exact.py) never asks that. With one token an item, this is a softmax over the catalogue.
"""

from typing import NamedTuple

import numpy as np
import torch

from modules.loader.pieces import ItemTrie

_CHUNK = 1 << 19  # scores worked on at a time: 2 MB in float32


class Continuations(NamedTuple):
    """The branching steps of every item's number."""

    vocabulary: torch.Tensor  # (V',) int64 tokens
    allowed: torch.Tensor  # (P, V') bool: continuations of each branching prefix
    prefix: torch.Tensor  # (I + 1, T) int64: the row of ``allowed`` at each step, -1: no branch
    column: torch.Tensor  # (I + 1, T) int64: the step's own token, as a column
    forced: bool  # a single prefix branches, into all of the vocabulary: nothing to mask

    def to(self, device: torch.device) -> "Continuations":
        """The same on a device."""
        return Continuations(*(part.to(device) for part in self[:-1]), self.forced)


def continuations(trie: ItemTrie) -> Continuations:
    """Of a trie, without the end mark where it only ever follows by itself."""
    n_nodes, width = len(trie.tokens), len(trie.vocabulary)
    inside = trie.paths >= 0
    edges = np.unique(trie.paths[inside] * width + trie.columns[inside])
    origins, fanout = np.unique(edges // width, return_counts=True)
    branching = origins[fanout > 1]
    row = np.full(n_nodes + 1, -1)  # the last: behind a number's end
    row[branching] = np.arange(len(branching))
    edges = edges[np.isin(edges // width, branching)]
    used = np.unique(edges % width)
    allowed = np.zeros((len(branching), len(used)), dtype=bool)
    allowed[row[edges // width], np.searchsorted(used, edges % width)] = True
    prefix = row[trie.paths]
    steps = int(np.flatnonzero((prefix >= 0).any(axis=0)).max(initial=0)) + 1
    column = np.where(prefix >= 0, np.searchsorted(used, trie.columns), 0)
    parts = (trie.vocabulary[used], allowed, prefix[:, :steps], column[:, :steps])
    return Continuations(*map(torch.from_numpy, parts), bool(allowed.all()))


def continuation_loss(
    hidden: torch.Tensor, weight: torch.Tensor, table: Continuations, items: torch.Tensor
) -> torch.Tensor:
    """Mean of -log p(item).

    Args:
        hidden: (N, T, D) decoder states at the steps, scaled for the output projection; T may stop
            with the longest number among ``items``.
        weight: (V', D) output embeddings of ``table.vocabulary``.
        items: (N,) target items.
    """
    steps = hidden.shape[1]
    prefix, column = table.prefix[items, :steps], table.column[items, :steps]  # (N, T)
    scored = prefix >= 0
    rows = hidden[scored]
    dtype = rows.dtype
    if torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
    allowed = None if table.forced else table.allowed
    what = (rows, weight, column[scored], prefix[scored], allowed, dtype)
    return _SumOfLosses.apply(*what) / len(items)


class _SumOfLosses(torch.autograd.Function):
    """A few rows at a time, so that their scores stay in the cache: over a catalogue of 10^4 to
    10^5 tokens, (N, V') scores, their softmax and their gradient would each be a pass over memory.
    Gradients are made on the way, while the scores are at hand."""

    @staticmethod
    def forward(ctx, rows, weight, columns, prefixes, allowed, dtype):
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden, weights = rows.detach().to(dtype), weight.detach().to(dtype)
        across = weights.T.contiguous()
        grad_rows = torch.empty_like(rows, dtype=torch.float32) if needed else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needed else None
        size = max(1, _CHUNK // len(weight))
        loss = rows.new_zeros((), dtype=torch.float32)
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            scores = (hidden[part] @ across).float()
            if allowed is not None:
                scores.masked_fill_(~allowed[prefixes[part]], float("-inf"))
            total = scores.logsumexp(dim=1, keepdim=True)
            own = columns[part, None]
            loss += (total - scores.gather(1, own)).sum()
            if needed:  # softmax less the one-hot target
                scores.sub_(total).exp_()
                scores.scatter_add_(1, own, scores.new_full(own.shape, -1.0))
                rounded = scores.to(dtype)
                grad_rows[part] = rounded @ weights
                grad_weight += rounded.T @ hidden[part]
        if needed:
            ctx.save_for_backward(grad_rows.to(rows.dtype), grad_weight.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx, grad):
        rows, weight = ctx.saved_tensors
        return rows * grad, weight * grad, None, None, None, None
