"""The machine: seeds, device, precision, versions. The only place that asks about CUDA."""

import ctypes
import os
import platform
import random
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from utils import distributed
from utils.errors import UserError


class Stream(IntEnum):
    """Independent random streams of one run, all derived from its one seed."""

    ITEM_NUMBERS = 0
    VALID_CANDIDATES = 1
    TEST_NEGATIVES = 2
    TEST_ORDER = 3
    TRAIN = 4  # TRAIN + the task's number, 0 to 2
    TIES = 7  # order of items that a baseline scores alike
    RESAMPLING = 8  # permutations and bootstrap of a comparison
    LEAK = 9  # edges of a simulated published graph
    PREPARE_NUMBERS = 16
    PREPARE_NEGATIVES = 17
    PREPARE_EXPLANATIONS = 18


def rng(seed: int, stream: int) -> np.random.Generator:
    """The generator of one stream of a run."""
    return np.random.default_rng([seed, stream])


def seed_everything(seed: int) -> None:
    """Seed the global generators: weights at the start, and dropout."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries that draw from the global state
    torch.manual_seed(seed)


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


class StopSignals:
    """SIGINT and SIGTERM ask a run to stop instead of ending it; a second SIGINT ends it."""

    def __init__(self) -> None:
        self.number = 0  # of the signal that came

    def asked(self) -> bool:
        """Has one come?"""
        return self.number != 0

    def __enter__(self) -> "StopSignals":
        self._before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Does the error say that the device, or this machine, has no memory left?"""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _keep_freed_memory() -> None:
    """Have glibc hold on to large blocks that PyTorch frees, for its next tensors.

    By default each tensor of a few MB is mapped anew, and its pages are cleared when first
    touched: a third of a training step on CPUs. Other C libraries are left as they are.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def pick_precision(precision: str | None, device: torch.device) -> str:
    """What ``--precision`` says; else bf16 where the processor multiplies in it, or fp32."""
    if precision is not None:
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """``bf16``: autocast of float32 weights. ``fp32``: as they are. T5 overflows in fp16."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def out_of_memory(error: Exception) -> bool:
    """Is this what Python, NumPy or PyTorch raise when memory is short? On CPUs PyTorch has no
    class of its own for it."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    import sentencepiece
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sentencepiece": sentencepiece.__version__,
        "numpy": np.__version__,
    }


def commit() -> str | None:
    """The git commit of the code, with "+" where files differ from it; None outside of git."""
    root = Path(__file__).resolve().parent.parent
    ask = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True)
        state = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if state.stdout.strip() else "")


def progress(total: int, title: str, unit: str, shown: bool = True) -> tqdm:
    """A progress bar: live at a terminal, a line every half minute in a log file."""
    interval = 0.1 if sys.stderr.isatty() else 30.0
    shown = shown and distributed.is_main()
    return tqdm(
        total=total, desc=title, unit=unit, disable=not shown, mininterval=interval, maxinterval=60
    )


def say(message: str) -> None:
    """One line for the person at the terminal, with the time; of several processes, one speaks."""
    if distributed.is_main():
        print(time.strftime("[%H:%M:%S] ") + message, flush=True)
