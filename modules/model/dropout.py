"""Dropout whose random bits are cheap on CPUs.

PyTorch's CPU dropout draws a Bernoulli number an entry, one after the other: a fifth of a training
step. Here an entry costs 16 bits of the same generator's 64-bit draws, and is kept or cleared by
a bitwise "and" with 0xFFFF or 0: probabilities are exact to 1 / 65536. Elsewhere, PyTorch's own.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers.models.t5.modeling_t5 import T5Attention

_LEVELS = 1 << 16
_AS_INTEGER = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float64: torch.int64}


class Dropout(nn.Dropout):
    """PyTorch's layer, by ``dropout``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape."""
        return dropout(x, self.p) if self.training else x


def replace_layers(t5: nn.Module, kind: type, make: Callable[[nn.Module], nn.Module]) -> None:
    """Put in the place of every layer of this very kind what ``make`` makes of it."""
    for module in list(t5.modules()):
        for name, child in module.named_children():
            if type(child) is kind:
                setattr(module, name, make(child))


def use_own_dropout(t5: nn.Module) -> None:
    """Let transformers' layers, too, drop by ``dropout``."""
    replace_layers(t5, nn.Dropout, lambda layer: Dropout(layer.p))


def set_dropout(t5: nn.Module, rate: float) -> None:
    """From here on T5 drops this share, wherever it drops anything."""
    for module in t5.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(module, T5Attention):
            module.dropout = rate


def own_kernels(x: torch.Tensor) -> bool:
    """On CPUs our own attention and dropout; on GPUs, and for the compiler, PyTorch's."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def keep_bits(shape: torch.Size, p: float) -> torch.Tensor:
    """(shape) int16 on the CPU: 0 with probability p, else -1 (all bits set)."""
    words = torch.empty(-(-shape.numel() // 4), dtype=torch.int64)
    words.random_(-(1 << 63), None)
    levels = words.view(torch.int16)[: shape.numel()].view(shape)  # uniform in -32768..32767
    return levels.ge_(round(p * _LEVELS) - _LEVELS // 2).neg_()


def keep(x: torch.Tensor, bits: torch.Tensor | None) -> torch.Tensor:
    """x where bits are set, 0 elsewhere, unscaled; None keeps all."""
    if bits is None:
        return x
    integer = _AS_INTEGER[x.dtype]
    return x.view(integer).bitwise_and(bits.to(integer)).view(x.dtype)


def keep_(x: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """The same in place of x."""
    integer = _AS_INTEGER[x.dtype]
    x.view(integer).bitwise_and_(bits.to(integer))
    return x


def dropout(x: torch.Tensor, p: float) -> torch.Tensor:
    """Zero each entry with probability p and scale the others by 1 / (1 - p)."""
    if p == 0.0:
        return x
    if not own_kernels(x):
        return torch.nn.functional.dropout(x, p)
    return _Dropout.apply(x, keep_bits(x.shape, p), 1 / (1 - p))


def add_dropped(x: torch.Tensor, out: torch.Tensor, p: float, scale: float = 1.0) -> torch.Tensor:
    """x + dropout(scale * out), scaled and added in one pass."""
    if p == 0.0 or not own_kernels(x):
        return torch.add(x, dropout(out, p), alpha=scale)
    return _AddDropped.apply(x, out, keep_bits(out.shape, p), scale / (1 - p))


def relu_dropped(x: torch.Tensor, p: float) -> tuple[torch.Tensor, float]:
    """What dropout leaves of relu(x), in place of x; and the scale that is still missing."""
    if p == 0.0 or not own_kernels(x):
        return dropout(x.relu_(), p), 1.0
    return _ReluDropped.apply(x, keep_bits(x.shape, p)), 1 / (1 - p)


class _AddDropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, out, bits, scale: float) -> torch.Tensor:
        ctx.save_for_backward(bits)
        ctx.scale, ctx.dtype = scale, out.dtype
        return torch.add(x, keep(out, bits), alpha=scale)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        scaled = torch.mul(grad, ctx.scale, out=torch.empty_like(grad, dtype=ctx.dtype))
        return grad, keep_(scaled, ctx.saved_tensors[0]), None, None


class _ReluDropped(torch.autograd.Function):
    """What is kept and above zero is above zero in the result: the bits are not needed again."""

    @staticmethod
    def forward(ctx, x, bits) -> torch.Tensor:
        ctx.mark_dirty(x)
        out = keep_(x.relu_(), bits)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.ops.aten.threshold_backward(grad, ctx.saved_tensors[0], 0), None


class _Dropout(torch.autograd.Function):
    """Nothing but the bits is kept for the backward pass."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, bits: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(bits)
        ctx.scale = scale
        return keep(x, bits).mul_(scale)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return keep(grad.contiguous(), ctx.saved_tensors[0]).mul_(ctx.scale), None, None
