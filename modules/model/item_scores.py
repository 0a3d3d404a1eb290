"""What an item graph adds to the T5's scores, where items are ranked.

    score(item) = τ log p(item) + γ log(1 + s(item) / ε)

p: the T5's probability; s: what the graph says of what follows the history
(modules/data/item_graph.py), 0 for most items; below 0 it counts as 0. A probability ~ (ε + s)^γ is
how counts are smoothed: added as they are, the graph's weights would make its first item far too
sure. τ < 1: a T5 is too sure of what it saw in training.

The T5 learns without the graph, and the numbers are fitted afterwards, by the likelihood of
validation items, which neither of the two has seen. Both other ways round are worse
(benchmarks/EXPERIMENTS.md, experiment 11): a T5 that knows the graph's scores in training learns by
heart what the graph does not say, and numbers that are fitted to the training items trust the T5's
memory too much.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy

FIRST = (1.0, 1.0, 1e-3)  # τ, γ, ε before they are fitted
PASTS = (0.5, 0.4, 0.6, 0.7, 0.8, 0.9)  # what is tried for the weight of the past, the first first
_STEPS = 20


class GraphScores(NamedTuple):
    """s of N histories: sparse (N, I + 1), 0 elsewhere."""

    places: torch.Tensor  # (2, n) int64: row and item
    values: torch.Tensor  # (n,) float32, above 0

    def dense(self, rows: int, items: int) -> torch.Tensor:
        """(rows, items), without the column of no item."""
        full = self.values.new_zeros(rows, items + 1)
        full[tuple(self.places)] = self.values
        return full[:, 1:]


class ItemScores(nn.Module):
    """τ log p + γ log(1 + s / ε)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("logs", torch.tensor(FIRST).log())  # log τ, log γ, log ε
        self.register_buffer("past", torch.tensor(PASTS[0]))  # ``ItemGraph.past``

    def forward(self, log_probabilities: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(b, C) log p and (b, C) s -> (b, C) scores."""
        return _mixed(self.logs, log_probabilities, scores)

    def fit(
        self,
        log_probabilities: torch.Tensor,
        scores_of: Callable[[float], torch.Tensor],
        targets: torch.Tensor,
    ) -> None:
        """Set τ, γ, ε and the weight of the past to those by which the targets are most likely.

        Args:
            log_probabilities: (n, I) of the T5.
            scores_of: (n, I) s, by the weight of the past.
            targets: (n,) columns.
        """
        logs, least = torch.tensor(FIRST, device=targets.device).log(), math.inf
        for past in PASTS:
            found, loss = _most_likely(log_probabilities, scores_of(past), targets, logs)
            if loss < least:
                logs, least = found, loss
                self.past.fill_(past)
        self.logs.copy_(logs)

    def __str__(self) -> str:
        tau, gamma, epsilon = self.logs.exp().tolist()
        return f"τ {tau:.2f}, γ {gamma:.2f}, ε {epsilon:.1e}, past {self.past.item():.1f}"


def _mixed(logs: torch.Tensor, log_p: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    tau, gamma, epsilon = logs.exp()
    return tau * log_p + gamma * torch.log1p(scores / epsilon)


def _most_likely(
    log_p: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor, start: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """(log τ, log γ, log ε) of the least loss, and that loss; found from ``start``."""
    first = torch.tensor(FIRST, device=scores.device).log()
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
