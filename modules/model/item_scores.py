"""The item graph's part of an item's score, beside the T5's: what the graph is worth is learned.

    score(item) = hidden . e(item) + γ log(1 + s(item) / ε)

s: what the item graph says of what follows the history (modules/data/item_graph.py), 0 for most
items; below 0 it counts as 0. γ, ε > 0: learned, two numbers in all. A probability p ~ (ε + s)^γ is
what counts are smoothed by; added as they are, weights of the graph would make the softmax far too
sure of its first item. This is the model's own score: the T5 learns what the graph does not know.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

FIRST_FLOOR = 1e-3  # ε to begin with; s is at most about 1


class Added(NamedTuple):
    """Sparse (N, I + 1) scores of N rows, in the order of the rows; 0 elsewhere."""

    places: torch.Tensor  # (2, n) int64: row and item
    values: torch.Tensor  # (n,) float32


class ItemScores(nn.Module):
    """γ log(1 + s / ε)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(1))  # log γ
        self.log_floor = nn.Parameter(torch.full((1,), math.log(FIRST_FLOOR)))  # log ε

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(n,) s >= 0 -> (n,) float32."""
        return self.log_weight.exp() * torch.log1p(scores / self.log_floor.exp())
