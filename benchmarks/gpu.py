"""One GPU: correctness first, then steps and whole evaluations, compared with what the card can do.

    python -m benchmarks.gpu --data_dir ./data/beauty --backbone t5-small

Checks exact ranking in float32 against transformers' own, prefix by prefix; times training steps
by task and batch size, with the memory they take; ranks, or writes texts, for all users; and gives
the share of the floor: FLOPs over the bf16 matrix rate measured in this run. ``--cpu`` runs the
same code without a GPU, to see that it works; its figures mean nothing.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.agreement import TIE, agreement
from benchmarks.inference import evaluation
from benchmarks.measure import count_flops, default_data, features, print_table
from benchmarks.setting import full_size, next_batch, train_step
from modules.loader.training_stream import TrainingStream
from modules.runs.run import Run
from modules.tasks import Task
from modules.training.optimizer import make_optimizer
from utils.console import say
from utils.json_files import write_json
from utils.own_files import check_out
from utils.provenance import versions
from utils.runtime import peak_device_gb, pick_device, synchronize


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds, the device waited for at both ends."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def rates(device: torch.device, n: int = 8192) -> dict[str, float]:
    """What the card gives: FLOP/s of a bf16 matrix product, bytes/s of a copy (read and write)."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    target = torch.empty_like(a)
    product = median(timed(lambda: torch.mm(a, b, out=target), device) for _ in range(9))
    copy = median(timed(lambda: target.copy_(a), device) for _ in range(9))
    return {"flops": 2 * n**3 / product, "bytes": 2 * a.numel() * a.element_size() / copy}


def training_row(run: Run, stream: TrainingStream, turns: int, limit: float) -> dict[str, Any]:
    """Median seconds of a step, its memory, and its share of the floor."""
    device, optimizer = run.machine.device, make_optimizer(run.model.train(), "adamw", 1e-4)

    def step() -> None:
        train_step(run, optimizer, next_batch(stream).to(device))

    step()
    flops = count_flops(step)
    peak_device_gb(device)
    seconds = median(timed(step, device) for _ in range(turns))
    return {
        "task": stream.task.label,
        "batch": stream.plan.size.samples,
        "seconds a step": seconds,
        "peak GB": peak_device_gb(device),
        "share of floor": flops / limit / seconds,
    }


def inference_row(
    run: Run, folder: str, task: Task, users: int, batch_size: int, limit: float
) -> dict[str, Any]:
    """Seconds of a whole evaluation, data included."""
    work, rows = evaluation(run, folder, task, users, batch_size)
    flops = count_flops(work)  # also warms up
    peak_device_gb(run.machine.device)
    seconds = timed(work, run.machine.device)
    return {
        "task": task.label,
        "users": rows,
        "seconds": seconds,
        "peak GB": peak_device_gb(run.machine.device),
        "share of floor": flops / limit / seconds,
    }


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="as in pretrain.py, from scratch")
    parser.add_argument("--batch_sizes", default="16,64", help="of training")
    parser.add_argument("--eval_batch_size", type=int, default=256)
    parser.add_argument("--users", type=int, help="users to evaluate; default all")
    parser.add_argument("--checked_users", type=int, default=32, help="users of the plain path")
    parser.add_argument("--turns", type=int, default=20, help="timed steps")
    parser.add_argument("--matrix", type=int, default=8192, help="size of the measured product")
    parser.add_argument("--cpu", action="store_true", help="no GPU: only that it runs")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    args = parser.parse_args()
    print(features(), flush=True)
    check_out(args.out, args.overwrite)
    return args


def main() -> None:
    """Checks, tables, JSON."""
    args = parse_args()
    device = pick_device(not args.cpu)
    limits = rates(device, args.matrix)
    say(f"{limits['flops'] / 1e12:.1f} TFLOP/s in bf16, {limits['bytes'] / 1e12:.2f} TB/s")
    folder = str(args.out.resolve().parent)
    exact, streams_of = full_size(args.data_dir, args.backbone, "fp32", cuda=not args.cpu)
    # TF32 rounds products to ten bits: the check wants all of float32.
    torch.set_float32_matmul_precision("highest")
    checks = {}
    for task in (Task.SEQUENTIAL, Task.DIRECT):
        checks[task.label] = agreement(exact, folder, task, args.checked_users)._asdict()
        say(
            f"{task.label}, fast and plain path in float32 (ties below {TIE}): {checks[task.label]}"
        )
    torch.set_float32_matmul_precision("high")
    rounded = replace(exact, machine=exact.machine._replace(precision="bf16"))
    users = args.users or exact.dataset.n_users
    inference = [
        inference_row(rounded, folder, task, users, args.eval_batch_size, limits["flops"])
        for task in Task
    ]
    training = [
        training_row(rounded, stream, args.turns, limits["flops"])
        for size in map(int, args.batch_sizes.split(","))
        for stream in streams_of(size).values()
    ]
    for title, rows in (("Training, bf16", training), ("Inference, bf16", inference)):
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])
    figures = {"limits": limits, "checks": checks, "training": training, "inference": inference}
    write_json(args.out, {**figures, "backbone": args.backbone, "versions": versions()})
    say(f"written to {args.out}")


if __name__ == "__main__":
    main()
