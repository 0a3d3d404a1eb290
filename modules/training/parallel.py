"""How several processes train one model: DistributedDataParallel, or weights sharded (FSDP2).

It knows the model's modules and nothing of data or of the training loop. With one process and no
sharding, the model itself is what trains.
"""

import warnings

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from modules.model.elmrec import ELMRec
from utils import distributed

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # of a sharded model or optimizer


def parallel(model: ELMRec, shard: bool) -> nn.Module:
    """What to call in training steps.

    Args:
        model: the model; with ``shard`` it is changed in place.
        shard: split weights, gradients and optimizer state over the processes, block by block,
            for backbones that one GPU does not hold. The model must use transformers' encoder:
            FSDP gathers a block's weights when T5Block.forward is called, as ours does not.
    """
    if shard:
        # T5's stack changes no block's output in place, which is what FSDP warns of.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        for stack in (model.t5.encoder, model.t5.decoder):
            for block in stack.block:
                fully_shard(block)
        fully_shard(model)
        return model
    if distributed.world_size() == 1:
        return model
    # A step trains one task, and leaves the others' prompts and whole words without a gradient.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        return DistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False)


def no_sync(net: nn.Module, more_to_come: bool) -> None:
    """Gradients are exchanged in a step's last backward pass only."""
    if isinstance(net, DistributedDataParallel):
        net.require_backward_grad_sync = not more_to_come
    elif isinstance(net, FSDPModule):
        net.set_requires_gradient_sync(not more_to_come)


def full_state_dict(model: ELMRec) -> dict[str, torch.Tensor]:
    """The whole model on the CPU; all ranks must call it, and rank 0's is complete."""
    return get_model_state_dict(model, options=WHOLE)
