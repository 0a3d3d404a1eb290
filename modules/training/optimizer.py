"""The optimizer of a run, and its learning rate by step."""

import torch
from torch import nn


def make_optimizer(model: nn.Module, name: str, lr: float) -> torch.optim.Optimizer:
    """AdamW (the paper), or Adafactor (T5's own pre-training).

    T5's weights differ in scale by a factor of 30 and more: embeddings are drawn from N(0, 1),
    queries from N(0, 1 / (D d_k)). AdamW moves all of them by ``lr`` a step; Adafactor moves each
    matrix in proportion to its own root mean square, which random weights need.
    """
    if name == "adafactor":
        # All matrices of a kind at once, where launching operators takes longer than they do.
        at_once = next(model.parameters()).is_cuda
        return torch.optim.Adafactor(model.parameters(), lr=lr, foreach=at_once)
    return torch.optim.AdamW(model.parameters(), lr=lr, fused=True)


def rate_of_step(step: int, total: int, warmup: int, schedule: str) -> float:
    """The learning rate of step 1..total, as a part of the highest: up from 0 over ``warmup``
    steps; ``constant`` from there, or ``linear``: down to 0 over the second half."""
    rate = min(1.0, step / warmup) if warmup else 1.0
    if schedule == "linear":
        rate = min(rate, 2 * (1 - (step - 1) / total))
    return max(rate, 0.0)
