"""Cross entropy over the trie's continuations: exact ranking, as a loss.

    loss = - log p(item),   p(item) = prod over the steps t of its number that branch of
                                      softmax over the continuations of t alone

Cross entropy over the whole vocabulary also teaches a model which texts are not items; exact
ranking (modules/decoding/exact.py) never asks that. With one token for each item, this is a softmax
over the catalogue.
"""

import numpy as np
import torch
from torch import nn

from modules.loader.trie import ItemTrie, branching

_CHUNK = 1 << 19  # scores worked on at a time: 2 MB in float32


class ContinuationLoss(nn.Module):
    """Mean of -log p(item) over the branching steps of every item's number.

    Its tables follow from the trie, so that no file holds them.
    """

    def __init__(self, trie: ItemTrie) -> None:
        super().__init__()
        width = len(trie.vocabulary)
        edges, nodes, _ = branching(trie, np.arange(1, len(trie.paths))[None])
        row = np.full(len(trie.tokens) + 1, -1)  # the last: behind a number's end
        row[nodes] = np.arange(len(nodes))
        edges = edges[np.isin(edges // width, nodes)]
        used = np.unique(edges % width)
        allowed = np.zeros((len(nodes), len(used)), dtype=bool)
        allowed[row[edges // width], np.searchsorted(used, edges % width)] = True
        prefix = row[trie.paths]
        # The end mark is no step where it only ever follows by itself.
        self.steps = int(np.flatnonzero((prefix >= 0).any(axis=0)).max(initial=0)) + 1
        column = np.where(prefix >= 0, np.searchsorted(used, trie.columns), 0)
        self.forced = bool(allowed.all())  # one prefix branches, into everything: nothing to mask
        for name, table in {
            "vocabulary": trie.vocabulary[used],  # (V',) int64 tokens
            "allowed": allowed,  # (P, V') bool: continuations of each branching prefix
            "prefix": prefix[:, : self.steps],  # (I + 1, T): row of ``allowed``, -1: no branch
            "column": column[:, : self.steps],  # (I + 1, T): the step's own token, as a column
        }.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def forward(
        self, hidden: torch.Tensor, output_embeddings: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """
        Args:
            hidden: (N, T, D) decoder states at the steps, scaled for the output projection; T may
                stop with the longest number among ``items``.
            output_embeddings: (V, D) of all tokens.
            items: (N,) target items.
        """
        steps = hidden.shape[1]
        prefix, column = self.prefix[items, :steps], self.column[items, :steps]  # (N, T)
        scored = prefix >= 0
        rows = hidden[scored]
        dtype = rows.dtype
        if torch.is_autocast_enabled(rows.device.type):
            dtype = torch.get_autocast_dtype(rows.device.type)
        allowed = None if self.forced else self.allowed
        weight = output_embeddings[self.vocabulary]
        total = _SumOfLosses.apply(rows, weight, column[scored], prefix[scored], allowed, dtype)
        return total / len(items)


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
