"""Several processes that train or evaluate together, started by ``torchrun``.

The only place that asks about ranks. Without torchrun there is one process, and everything here
gives what one process needs: nothing is sent anywhere. Every function that gathers must be called
by all ranks. torch is imported by those that need it alone: a script that prints its help, or
prepares data, does not wait for it.
"""

import os
import secrets
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from utils.errors import UserError, limit

if TYPE_CHECKING:
    import torch


JOIN_SECONDS = 300.0  # that processes wait for each other at the start: loading torch takes some
_store: Any = None  # where the processes of this launch met
_LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Launch(NamedTuple):
    """What the launcher says of this process; of one that was started alone, zeros and ones."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    restarts: int = 0  # torchrun has started it anew so often

    @classmethod
    def from_environment(cls) -> "Launch":
        """The variables that torchrun sets. RANK alone is left over from something else.

        Raises:
            UserError: where some are missing or are no numbers.
        """
        count = _whole("WORLD_SIZE", 1)
        if missing := [name for name in _LAUNCHER if not os.environ.get(name)]:
            if count == 1:
                return cls()
            raise UserError(
                f"WORLD_SIZE={count} says that there are {count} processes, but "
                f"{', '.join(missing)} is not set. Start them with torchrun, or unset WORLD_SIZE."
            )
        launch = cls(
            _whole("RANK", 0),
            count,
            _whole("LOCAL_RANK", 0),
            _whole("TORCHELASTIC_RESTART_COUNT", 0),
        )
        if launch.rank >= count:
            raise UserError(f"RANK={launch.rank}: must be below WORLD_SIZE={count}.")
        if _whole("MASTER_PORT", 0) > 65535:
            raise UserError("MASTER_PORT: must be at most 65535.")
        return launch


def _whole(name: str, default: int) -> int:
    """A whole number from 0 up, of the environment."""
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UserError(
            f"environment variable {name} is {limit(text)}; it must be a whole number from 0 up, "
            "as torchrun sets it. Unset it, or start with torchrun."
        )
    return int(text)


def _group() -> Any:
    """torch.distributed where this process has joined a group; else None."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_available() and dist.is_initialized() else None


def start(cuda: bool) -> None:
    """Join the process group where torchrun started several processes; else do nothing.

    Raises:
        UserError: where the others do not come within ``JOIN_SECONDS``.
    """
    launch = Launch.from_environment()
    if not launched() or _group() is not None:
        return
    import torch.distributed as dist

    global _store
    try:
        _store = store = _meeting_place(launch)
        name = agree(store, launch.rank, launch.world_size, JOIN_SECONDS)
    except RuntimeError as error:  # torch has no narrower one
        raise UserError(
            f"process {launch.rank} of {launch.world_size} has waited {JOIN_SECONDS:.0f} s for the "
            f"others ({limit(str(error), 120)}). Look at what they printed, and start all anew."
        ) from error
    # CPU tensors go by gloo also beside NCCL, so that a flag costs no GPU synchronisation.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=dist.PrefixStore(name, store),
        rank=launch.rank,
        world_size=launch.world_size,
    )


def _meeting_place(launch: Launch) -> Any:
    """The store at which the processes meet. torchrun keeps one over all of its restarts."""
    from torch.distributed import TCPStore

    keeps = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=launch.rank == 0 and not keeps,
        timeout=timedelta(seconds=JOIN_SECONDS),
        wait_for_workers=False,
        multi_tenant=True,
    )


def agree(store: Any, rank: int, world_size: int, seconds: float) -> str:
    """A name that all living processes have in common, and that none before them had.

    After a restart the store still holds the addresses of dead processes; behind a name of their
    own, the new ones do not find them. Each writes a number that nobody else has; the name is made
    of all numbers, once every process says that it sees the same ones.

    Raises:
        RuntimeError: of torch, where the others do not come within so many seconds.
    """
    store.set(f"here/{rank}", secrets.token_hex(8))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name = "-".join(store.get(f"here/{other}").decode() for other in range(world_size))
        store.set(f"seen/{name}/{rank}", "")
        if store.check([f"seen/{name}/{other}" for other in range(world_size)]):
            return name
        time.sleep(0.05)
    raise RuntimeError("some have started, but do not answer")


def launched() -> bool:
    """Has torchrun, or what sets the same variables for several processes, started this one?"""
    if not all(os.environ.get(name) for name in _LAUNCHER):
        return False
    return Launch.from_environment().world_size > 1 or "TORCHELASTIC_RUN_ID" in os.environ


def note(mark: str) -> None:
    """Leave a mark that processes of this launch see, also those that torchrun starts anew."""
    if _store is not None:
        _store.set(mark, "")


def noted(mark: str) -> bool:
    """Has a process of this launch left the mark? Asked after ``start``."""
    return _store is not None and _store.check([mark])


def stop() -> None:
    """Leave the process group."""
    if group := _group():
        group.destroy_process_group()


def lost_another(error: Exception) -> bool:
    """Is this what torch raises where another process of the group has ended?"""
    return world_size() > 1 and any(name in str(error) for name in ("gloo", "NCCL"))


def rank() -> int:
    """This process's number, 0 for the one that writes."""
    group = _group()
    return group.get_rank() if group else Launch.from_environment().rank


def world_size() -> int:
    """Number of processes."""
    group = _group()
    return group.get_world_size() if group else 1


def local_rank() -> int:
    """This process's number on its machine: which GPU it takes."""
    return Launch.from_environment().local_rank


def restarted() -> bool:
    """Has torchrun started this process anew after one had died?"""
    return Launch.from_environment().restarts > 0


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
