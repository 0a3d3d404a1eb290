"""T5's layer norm (root mean square, no mean, no bias), in one pass on GPUs.

transformers' takes six operators forward and twice as many backward. On a GPU small models wait for
operators to be launched, large ones for passes over memory; PyTorch's kernel is one of each.
"""

import torch
from torch import nn
from torch.nn.functional import rms_norm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from modules.model.dropout import own_kernels, replace_layers


class RMSNorm(T5LayerNorm):
    """transformers' layer, with its weight and its numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., D) / sqrt(mean(x^2) + eps) * weight."""
        if own_kernels(x) or x.dtype != self.weight.dtype:
            return super().forward(x)
        return rms_norm(x, self.weight.shape, self.weight, self.variance_epsilon)


def use_fused_norm(t5: nn.Module) -> None:
    """Let T5's layers use ``RMSNorm``; their weights stay theirs."""
    replace_layers(t5, T5LayerNorm, _fused)


def _fused(layer: T5LayerNorm) -> RMSNorm:
    norm = RMSNorm(len(layer.weight), layer.variance_epsilon)
    norm.weight = layer.weight
    return norm
