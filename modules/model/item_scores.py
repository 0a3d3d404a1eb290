"""What item graphs add to the T5's scores, where items are ranked.

    score(item) = τ log p(item) + sum over graphs of γ log(1 + s(item) / ε)

p: the T5's probability; s: what a graph (modules/data/item_graph.py) says of what follows the
history. A probability ~ (ε + s)^γ is how counts are smoothed: added as they are, the graph's
weights would make its first item far too sure. τ < 1: a T5 is too sure of what it saw in training.

The T5 learns without the graphs, and these numbers are fitted afterwards, by the likelihood of
validation items, which neither of the two has seen. Both other ways round are worse
(benchmarks/EXPERIMENTS.md, experiment 11): a T5 that knows the graph's scores in training learns by
heart what the graph does not say, and numbers that are fitted to the training items trust the T5's
memory too much.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from modules.model.graph import Graph

TAU, GAMMA, EPSILON = 1.0, 1.0, 1e-3  # before they are fitted
_STEPS = 30

# (graph, weight of the past) -> (n, I) s
ScoresOf = Callable[[int, float], torch.Tensor]


class Hops(NamedTuple):
    """What the weights of a history go through."""

    first: Graph  # edges from the history's items on
    then: list[torch.Tensor]  # sparse matrices, one after the other
    width: int  # columns of the first


def hops_of(graph: Graph, columns: int | None, hops: int) -> Hops:
    """The way from a history to scores of what follows.

    Args:
        graph: (I + 1, I + 1) edges of an item graph, from an item to what follows; or the way from
            items to users, there and back in each hop.
        columns: users and one more; None: the graph is of items alone.
        hops: as often.
    """
    n = len(graph.crow) - 1
    if columns is None:
        forwards = _narrow(graph.transposed()).matrix() if hops > 1 else None
        return Hops(graph, [forwards] * (hops - 1), n)
    there = _narrow(graph.transposed(columns)).matrix(columns=n)
    back = _narrow(graph).matrix(columns=columns)
    return Hops(graph, [back] + [there, back] * (hops - 1), columns)


def _narrow(graph: Graph) -> Graph:
    """With int32 indices, which MKL reads: else they are made anew in each product."""
    if max(graph.col.numel(), len(graph.crow)) > torch.iinfo(torch.int32).max:
        return graph
    return graph._replace(crow=graph.crow.int(), col=graph.col.int())


def after(
    hops: Hops, past: float | torch.Tensor, histories: torch.Tensor, rows: int
) -> torch.Tensor:
    """(rows, I + 1) float32 scores of what follows each history, 0 where they are below.

    Args:
        hops: from ``hops_of``.
        past: weight of an item of a history by that of the one after it.
        histories: (3, n) rows, items and ages: ``Batch.histories``.
    """
    row, item, age = histories
    graph = hops.first
    # The first hop by the edges of the history's items alone: they are few.
    starts, lengths = graph.crow[item], graph.crow[item + 1] - graph.crow[item]
    nth = torch.arange(len(item), device=item.device).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    edge = torch.arange(len(nth), device=item.device) + (starts - before)[nth]
    weights = graph.values[edge] * (past**age)[nth]
    scores = weights.new_zeros(hops.width, rows)
    scores.index_put_((graph.col[edge], row[nth]), weights, accumulate=True)
    with torch.autocast(row.device.type, enabled=False):
        for matrix in hops.then:
            scores = matrix @ scores
    return scores.T.clamp(min=0.0)


class ItemScores(nn.Module):
    """τ log p + sum of γ log(1 + s / ε) over G graphs."""

    def __init__(self, pasts: Sequence[Sequence[float]]) -> None:
        """pasts: of each graph, what is tried for the weight of the past, the first first."""
        super().__init__()
        self._tried = pasts
        # log τ; log γ and log ε of each graph
        first = torch.tensor([TAU, *(GAMMA, EPSILON) * len(pasts)]).log()
        self.register_buffer("logs", first)
        self.register_buffer("pasts", torch.tensor([tried[0] for tried in pasts]))  # (G,)

    def forward(self, log_probabilities: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(b, C) log p and (G, b, C) s -> (b, C) scores."""
        return _mixed(self.logs, log_probabilities, scores)

    def fit(
        self, log_probabilities: torch.Tensor, scores_of: ScoresOf, targets: torch.Tensor
    ) -> None:
        """Set τ, γ, ε and the weights of the past to those by which the targets are most likely.

        Args:
            log_probabilities: (n, I) of the T5.
            targets: (n,) columns.
        """
        first = ItemScores(self._tried).to(targets.device)
        pasts = first.pasts.tolist()
        scores = torch.stack([scores_of(graph, past) for graph, past in enumerate(pasts)])
        logs, least = _most_likely(log_probabilities, scores, targets, first.logs, first.logs)
        for graph, tried in enumerate(self._tried):
            for past in tried[1:]:
                before = scores[graph].clone()
                scores[graph] = scores_of(graph, past)
                found, loss = _most_likely(log_probabilities, scores, targets, logs, first.logs)
                if loss < least:
                    logs, least, pasts[graph] = found, loss, past
                else:
                    scores[graph] = before
        self.logs.copy_(logs)
        self.pasts.copy_(torch.tensor(pasts))

    def __str__(self) -> str:
        tau, *rest = self.logs.exp().tolist()
        graphs = zip(rest[::2], rest[1::2], self.pasts.tolist())
        told = [
            f"γ {gamma:.2f}, ε {epsilon:.1e}, past {past:.1f}" for gamma, epsilon, past in graphs
        ]
        return "; ".join([f"τ {tau:.2f}", *told])


def _mixed(logs: torch.Tensor, log_p: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    tau, *rest = logs.exp()
    total = tau * log_p
    for gamma, epsilon, s in zip(rest[::2], rest[1::2], scores):
        total = total + gamma * torch.log1p(s / epsilon)
    return total


def _most_likely(
    log_p: torch.Tensor,
    scores: torch.Tensor,
    targets: torch.Tensor,
    start: torch.Tensor,
    first: torch.Tensor,
) -> tuple[torch.Tensor, float]:
    """The logs of the least loss, found from ``start``, and that loss."""
    logs = start.clone().requires_grad_()
    search = torch.optim.LBFGS([logs], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        likelihood = cross_entropy(_mixed(logs, log_p, scores), targets)
        # As one more observation: where nothing is to be told apart, nothing moves.
        value = likelihood + (logs - first).square().sum() / len(targets)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
        return logs.detach(), loss().item()
