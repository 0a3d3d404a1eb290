"""The machine: seeds, device, precision, signals. The only place that asks about CUDA."""

import ctypes
import os
import platform
import random
import signal
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch

from utils import distributed
from utils.errors import UserError

_MAPPED = 1 << 28  # 256 MB: more than an activation of a step has


def seed_everything(seed: int) -> None:
    """Seed the global generators: weights at the start, and dropout."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries that draw from the global state
    torch.manual_seed(seed)


class Machine(NamedTuple):
    """Where the model runs, and in which precision."""

    device: torch.device
    precision: str  # "fp32" or "bf16"

    def autocast(self) -> AbstractContextManager:
        """The precision of a forward pass. ``bf16``: autocast of float32 weights. ``fp32``: as
        they are. T5 overflows in fp16."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def start_machine(cuda: bool, deterministic: bool, precision: str | None) -> Machine:
    """Join the other processes, if any, and take the device. precision: None = the machine's best.

    Raises:
        UserError: where a CUDA device is asked for and there is none.
    """
    distributed.start(cuda)
    if deterministic:
        make_deterministic()
    device = pick_device(cuda)
    return Machine(device, pick_precision(precision, device))


def pick_device(cuda: bool) -> torch.device:
    """The CPU, or with ``--cuda`` the current CUDA device; UserError where there is none."""
    if not cuda:
        _keep_freed_memory()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "--cuda: this machine, or this build of PyTorch, has no CUDA device "
            f"(torch {torch.__version__}). Leave --cuda out to run on the CPU."
        )
    torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32
    # cuDNN's attention makes a plan for each new shape, which takes longer than a training step;
    # prompts have many lengths.
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.cuda.set_device(distributed.local_rank())
    return torch.device("cuda", distributed.local_rank())


def make_deterministic() -> None:
    """Only algorithms that give the same bits each time; PyTorch raises where it has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True)


def rng_state(device: torch.device) -> torch.Tensor:
    """State of the generator that draws dropout on the device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_rng_state(device: torch.device, state: torch.Tensor) -> None:
    """Go on from an ``rng_state``."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


class Stopped(Exception):
    """Long work was asked to stop before its end, and has nothing to give."""


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP (the terminal closes) ask a run to stop instead of ending it; a
    second SIGINT ends it. A signal that is ignored, as SIGHUP under nohup, stays so."""

    def __init__(self) -> None:
        self.number = 0  # of the signal that came

    def asked(self) -> bool:
        """Has one come?"""
        return self.number != 0

    def __enter__(self) -> "StopSignals":
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heeded = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        self._before = {n: signal.signal(n, self._note) for n in heeded}
        return self

    def _note(self, number: int, frame: object) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_device_gb(device: torch.device) -> float:
    """Peak of the memory that tensors took on a GPU since the last call, in GiB; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def is_out_of_memory(error: Exception) -> bool:
    """Is this what Python, NumPy or PyTorch raise when memory is short? On CPUs PyTorch has no
    class of its own for it."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _keep_freed_memory() -> None:
    """Have glibc hold on to large blocks that PyTorch frees, for its next tensors.

    By default each tensor of a few MB is mapped anew, and its pages are cleared when first
    touched: a third of a training step on CPUs. Blocks above ``_MAPPED`` still are: what they
    leave is cut into pieces, and where tables of a large catalogue come and go in each step, the
    process would grow by one of them a step. Huge pages (2 MB, where Linux gives them) make both
    cheaper, and tensors whole pages long fit again where one was. Other C libraries are left as
    they are.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    if platform.libc_ver()[0] == "glibc":
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch reads it at its first tensor
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_threshold, _MAPPED)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def pick_precision(precision: str | None, device: torch.device) -> str:
    """What ``--precision`` says; else bf16 where the processor multiplies in it, or fp32."""
    if precision is not None:
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
