"""Several processes that train or evaluate together, started by ``torchrun``.

The only place that asks about ranks. Without torchrun there is one process, and everything here
gives what one process needs: nothing is sent anywhere. Every function that gathers must be called
by all ranks. torch is imported by those that need it alone: a script that prints its help, or
prepares data, does not wait for it.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def _group() -> Any:
    """torch.distributed where this process has joined a group; else None."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def start(cuda: bool) -> None:
    """Join the process group where torchrun started this process; else do nothing."""
    if "WORLD_SIZE" in os.environ and _group() is None:
        import torch.distributed as dist

        # CPU tensors go by gloo also beside NCCL, so that a flag costs no GPU synchronisation.
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")


def stop() -> None:
    """Leave the process group."""
    if group := _group():
        group.destroy_process_group()


def rank() -> int:
    """This process's number, 0 for the one that writes."""
    group = _group()
    return group.get_rank() if group else int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes."""
    group = _group()
    return group.get_world_size() if group else 1


def local_rank() -> int:
    """This process's number on its machine: which GPU it takes."""
    return int(os.environ.get("LOCAL_RANK", 0))


def restarted() -> bool:
    """Has torchrun started this process anew after one had died?"""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def is_main() -> bool:
    """Does this process write files and speak?"""
    return rank() == 0


def own_part(total: int, even: bool = False) -> range:
    """This rank's part of 0..total-1: every number is taken by exactly one rank.

    even: give all ranks as many numbers, the last of them above ``total`` - 1 perhaps; for work
    in which the ranks wait for each other.
    """
    end = -(-total // world_size()) * world_size() if even else total
    return range(rank(), end, world_size())


def gather(value: Any) -> list[Any]:
    """The value of each rank, in rank order."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    _group().all_gather_object(found, value)
    return found


def merge_rows(rows: list[np.ndarray], *arrays: np.ndarray) -> None:
    """Fill arrays, of which this rank has computed ``rows``, with the rows of all other ranks."""
    if world_size() == 1:
        return
    mine = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    for theirs, values in gather((mine, [array[mine] for array in arrays])):
        for array, part in zip(arrays, values):
            array[theirs] = part


def sum_over_ranks(values: "torch.Tensor") -> "torch.Tensor":
    """The sum over ranks, in place."""
    if world_size() > 1:
        _group().all_reduce(values)
    return values


def mean_over_ranks(values: "torch.Tensor") -> "torch.Tensor":
    """The mean over ranks, in place."""
    return sum_over_ranks(values).div_(world_size())


def any_rank(*flags: bool) -> list[bool]:
    """Is each flag set on any rank? All ranks must ask together."""
    if world_size() == 1:
        return list(flags)
    import torch

    return sum_over_ranks(torch.tensor(flags, dtype=torch.int64)).bool().tolist()


def wait_for_all() -> None:
    """Go on once every rank is here."""
    if world_size() > 1:
        _group().barrier()
