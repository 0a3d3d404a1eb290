"""How the benchmarks measure: contestants in processes of their own, taking turns.

A machine's speed drifts, so absolute times are noise and ratios from one run are not. Each
contestant is a process with the model loaded, which works only while it is asked to; its peak
memory is its own.
"""

import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import peak_memory_gb


class Round(NamedTuple):
    """What a contestant did in one turn."""

    seconds: float
    units: int  # users, texts, samples or steps
    flops: float = 0.0  # of matrix products


class Figures(NamedTuple):
    """What a contestant did in all its turns."""

    rate: float  # units a second, median over turns
    flop_rate: float  # FLOP/s of matrix products, median over turns; 0 where not counted
    peak_gb: float  # peak memory of its process


def take_turns(
    contestants: dict[str, tuple[Callable[..., Callable[[], Round]], tuple]], turns: int
) -> dict[str, Figures]:
    """Run contestants alternately.

    Args:
        contestants: name -> (module-level function, arguments). In a fresh process the function
            sets up and returns what does one turn; the first turn warms up and is not counted.
        turns: counted turns of each.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, (setup, arguments) in contestants.items():
        pipes[name], far_end = context.Pipe()
        process = context.Process(target=_work, args=(far_end, setup, arguments), daemon=True)
        process.start()
        far_end.close()
        processes.append(process)
        pipes[name].recv()  # set up: one after the other
    rounds: dict[str, list[Round]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            result = pipe.recv()
            if turn:
                rounds[name].append(result)
    figures = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        peak = pipe.recv()
        figures[name] = Figures(
            median(r.units / r.seconds for r in rounds[name]),
            median(r.flops / r.seconds for r in rounds[name]),
            peak,
        )
    for process in processes:
        process.join()
    return figures


def _work(pipe, setup: Callable, arguments: tuple) -> None:
    turn = setup(*arguments)
    pipe.send("ready")
    while pipe.recv() == "go":
        pipe.send(turn())
    pipe.send(peak_memory_gb())


def count_flops(work: Callable[[], Any]) -> float:
    """FLOPs of the dense matrix products of ``work``, which is run once."""

    def addmm(a, b, c, *_, out_val=None, **__) -> int:
        if b.layout is not torch.strided:  # the propagation: no dense product
            return 0
        return 2 * b.shape[0] * b.shape[1] * c.shape[1]

    addmm._get_raw = True  # hand over tensors, not their shapes
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm: addmm}) as counter:
        work()
    return counter.get_total_flops()


def matrix_rate(precision: str) -> float:
    """FLOP/s of a large square matrix product: what this machine can give."""
    n = 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    times = []
    for _ in range(12):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * n**3 / median(times[2:])


def copy_rate() -> float:
    """Bytes/s that a large copy reads and writes: what this machine's memory can give."""
    source = torch.ones(1 << 26)  # 256 MB: of no cache
    target = torch.empty_like(source)
    times = []
    for _ in range(8):
        started = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - started)
    return 2 * source.numel() * source.element_size() / median(times[2:])


def features() -> str:
    """What this processor multiplies with: two machines can differ sevenfold in bf16."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = set(re.findall(r"\b(?:avx2|avx512f|avx512_bf16|amx_bf16|bf16|sve)\b", text))
    return f"{name[1] if name else 'processor not known'} ({', '.join(sorted(flags)) or 'no AVX'})"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A Markdown table, aligned for the terminal too."""
    cells = [list(map(str, header)), *([_cell(x) for x in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}\n")
    for n, row in enumerate(cells):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |")
        if n == 0:
            print("| " + " | ".join("-" * w for w in widths) + " |")
    print(flush=True)


def _cell(x: Any) -> str:
    if isinstance(x, float):
        return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"
    return str(x)


def default_data() -> Path:
    """Where a developer has the real Beauty data; benchmarks take --data_dir for others."""
    return Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "beauty"
