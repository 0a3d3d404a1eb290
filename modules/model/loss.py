"""Cross entropy over the trie's continuations: exact ranking, as a loss.

    loss = - log p(item),   p(item) = prod over the steps t of its number that branch of
                                      softmax over the continuations of t alone

Cross entropy over the whole vocabulary also teaches a model which texts are not items; exact
ranking (modules/decoding/exact.py) never asks that. With one token for each item, this is a softmax
over the catalogue; of a large one, a step may score a sample (``--softmax sampled``):

    log sum_i e^s_i  ~  log ( sum over the step's targets e^s + (I - n) / m * sum over m drawn e^s )

n: different targets; the m are drawn from the other I - n items, all alike. So the sum is without
bias whatever the targets are, and where all are drawn it is the whole one.
"""

import math

import numpy as np
import torch
from torch import nn

from modules.loader.trie import ItemTrie, branching

_SCORES = 1 << 23  # worked on at a time: 32 MB in float32
_CHUNK = 1 << 19  # the same where chunks are cut out of the items as well
# Of more items than this, a chunk of all their scores is of a few rows only, and products of so few
# read all embeddings each time. Then chunks are cut out of the items as well.
_WIDE = 1 << 15
_ITEMS = 1 << 11  # in such a chunk


class ContinuationLoss(nn.Module):
    """Mean of -log p(item) over the branching steps of every item's number.

    Its tables follow from the trie, so that no file holds them.
    """

    def __init__(self, trie: ItemTrie, drawn: int | None = None) -> None:
        """drawn: so many items are scored in training beside the step's own targets; None: all."""
        super().__init__()
        self._drawn = drawn
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
        # One prefix branches, into everything: nothing to mask. Each item is a token then.
        self.forced = len(nodes) == 1 and bool(allowed.all())
        tokens = trie.vocabulary[used]
        follow = len(used) > 0 and tokens[-1] - tokens[0] + 1 == len(used)
        self._first = int(tokens[0]) if follow else None  # where they follow each other
        for name, table in {
            "vocabulary": tokens,  # (V',) int64 tokens
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
        if self.forced:  # every number branches once, at the last of these steps
            rows, columns = hidden[:, -1], column[:, -1]
        else:
            scored = prefix >= 0
            rows, columns = hidden[scored], column[scored]
        dtype = rows.dtype
        if torch.is_autocast_enabled(rows.device.type):
            dtype = torch.get_autocast_dtype(rows.device.type)
        if self.forced and self._drawn is not None and self.training:
            chosen, columns, more = drawn_columns(columns, len(self.vocabulary), self._drawn)
            weight = output_embeddings[self.vocabulary[chosen]]
            total = _SumOfLosses.apply(rows, weight, columns, None, more, dtype)
            return total / len(items)
        if self.forced and len(self.vocabulary) > _WIDE:
            weight = self._of_items(output_embeddings)
            return _SumByChunks.apply(rows, weight, columns, dtype) / len(items)
        masks = None if self.forced else (self.allowed, prefix[scored])
        weight = self._of_items(output_embeddings)
        total = _SumOfLosses.apply(rows, weight, columns, masks, None, dtype)
        return total / len(items)

    def _of_items(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(V', D) rows of the vocabulary, without a copy where they follow each other."""
        if self._first is None:
            return embeddings[self.vocabulary]
        return embeddings[self._first : self._first + len(self.vocabulary)]


def drawn_columns(
    own: torch.Tensor, n_items: int, drawn: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The items that a step scores: its targets, and some of the others, drawn.

    Args:
        own: (N,) columns of the targets.
        n_items: I.
        drawn: m; one may be drawn twice, and where there are no more others all are taken.

    Returns:
        (n + m,) columns; (N,) where the targets are among them; (n + m,) float32, what a score is
        raised by: 0, or of what was drawn the log of (I - n) / m.
    """
    targets, place = own.unique(return_inverse=True)
    others = n_items - len(targets)
    if drawn < others:
        nth = torch.randint(others, (drawn,), device=own.device)
    else:
        nth = torch.arange(others, device=own.device)
    # The n-th item that is no target comes after all targets with at most n others before them.
    before = targets - torch.arange(len(targets), device=own.device)
    chosen = nth + torch.searchsorted(before, nth, right=True)
    more = torch.zeros(len(targets) + len(chosen), device=own.device)
    more[len(targets) :] = math.log(others / max(len(chosen), 1)) if others else 0.0
    return torch.cat([targets, chosen]), place, more


class _SumOfLosses(torch.autograd.Function):
    """As many rows at a time as ``_SCORES`` allows: usually all of a step, for each part of them
    adds to the gradient of all embeddings, and products of few rows are slow. Gradients are made
    on the way, while the scores are at hand."""

    @staticmethod
    def forward(ctx, rows, weight, columns, masks, more, dtype):
        needed = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden, weights = rows.detach().to(dtype), weight.detach().to(dtype)
        grad_rows = torch.empty_like(rows, dtype=torch.float32) if needed else None
        grad_weight = None
        size = max(1, _SCORES // len(weight))
        loss = rows.new_zeros((), dtype=torch.float32)
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            scores = (hidden[part] @ weights.T).float()
            if masks is not None:
                allowed, prefixes = masks
                scores.masked_fill_(~allowed[prefixes[part]], float("-inf"))
            if more is not None:
                scores += more
            own = columns[part, None]
            highest = scores.amax(dim=1, keepdim=True)
            of_own = scores.gather(1, own) - highest
            total = scores.sub_(highest).exp_().sum(dim=1, keepdim=True)
            loss += (total.log() - of_own).sum()
            if needed:  # softmax less the one-hot target
                scores.mul_(1 / total)
                scores.scatter_add_(1, own, scores.new_full(own.shape, -1.0))
                rounded = scores.to(dtype)
                grad_rows[part] = rounded @ weights
                of_part = (rounded.T @ hidden[part]).float()
                grad_weight = of_part if grad_weight is None else grad_weight.add_(of_part)
        if needed:
            grad_weight = torch.zeros_like(weight) if grad_weight is None else grad_weight
            ctx.save_for_backward(grad_rows.to(rows.dtype), grad_weight.to(weight.dtype))
        return loss

    @staticmethod
    def backward(ctx, grad):
        rows, weight = ctx.saved_tensors
        return rows * grad, weight * grad, None, None, None, None


class _SumByChunks(torch.autograd.Function):
    """The same over many items, all of which can follow: no more than a chunk of scores is held,
    and the backward pass makes them again."""

    @staticmethod
    def forward(ctx, rows, weight, columns, dtype):
        hidden = rows.detach().to(dtype)
        total = rows.new_full((len(rows),), float("-inf"), dtype=torch.float32)
        for items in weight.detach().split(_ITEMS):
            across = items.to(dtype).T.contiguous()
            for part, sums in zip(_rows(hidden), _rows(total)):
                torch.logaddexp(sums, (part @ across).float().logsumexp(dim=1), out=sums)
        own = (hidden.float() * weight.detach()[columns].to(dtype).float()).sum(dim=1)
        ctx.save_for_backward(rows, weight, columns, total)
        ctx.dtype = dtype
        return (total - own).sum()

    @staticmethod
    def backward(ctx, grad):
        rows, weight, columns, total = ctx.saved_tensors
        hidden = rows.to(ctx.dtype)
        grad_rows = -weight[columns].float()  # of the one-hot target; below, of the softmax
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_weight.index_add_(0, columns, -hidden.float())
        for items, of_items in zip(weight.split(_ITEMS), grad_weight.split(_ITEMS)):
            weights = items.to(ctx.dtype)
            across = weights.T.contiguous()
            for part, sums, of_rows in zip(_rows(hidden), _rows(total), _rows(grad_rows)):
                scores = (part @ across).float().sub_(sums[:, None]).exp_().to(ctx.dtype)
                of_rows += scores @ weights
                of_items += scores.T @ part
        grad_rows, grad_weight = grad_rows.mul_(grad), grad_weight.mul_(grad)
        return grad_rows.to(rows.dtype), grad_weight.to(weight.dtype), None, None


def _rows(table: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Views of so many rows that a chunk of their scores fits the cache."""
    return table.split(_CHUNK // _ITEMS)
