"""One GPU: correctness first, then steps and whole evaluations, compared with what the card can do.

    python -m benchmarks.gpu --data_dir ./data/beauty --backbone t5-small

Checks exact ranking in float32 against transformers' own, prefix by prefix; times training steps
by task and batch size, ours and the published path, with the memory they take, where their time
goes, and how long they wait for data; ranks, or writes texts, for many users; and gives the share
of the floor: FLOPs over the bf16 matrix rate measured in this run. ``--cpu`` runs the same code
without a GPU, to see that it works; its figures mean nothing.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import published
from benchmarks.agreement import TIE, agreement
from benchmarks.inference import evaluation, samples_of
from benchmarks.kernels import kernel_seconds
from benchmarks.measure import count_flops, default_data, features, print_table
from benchmarks.setting import (
    full_size,
    item_tokens,
    next_batch,
    train_briefly,
    train_step,
    with_made_up_texts,
)
from modules.loader.ahead import Ahead
from modules.loader.batches import Batch, BatchSize
from modules.runs.run import Run, open_run
from modules.tasks import Task
from modules.training.optimizer import make_optimizer
from utils.console import say
from utils.json_files import write_json
from utils.own_files import check_out
from utils.provenance import machine_name, versions
from utils.runtime import Machine, peak_device_gb, pick_device, synchronize

LR = 1e-4  # small: the same model is stepped many times
BLOCKS = 5  # of steps; their median counts
PROFILED = 4  # steps
PARTS = ("checks", "inference", "training")


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds, the device waited for at both ends."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def kernels_of(work: Callable[[], Any], device: torch.device, units: int) -> dict[str, Any]:
    """Seconds a unit of the kernels that a work of so many units takes; of a CPU nothing."""
    if device.type != "cuda":
        return {}
    classes, names = kernel_seconds(work)
    return {
        "kernels": {kind: seconds / units for kind, seconds in classes.items()},
        "longest kernels": [(name, seconds / units) for name, seconds in names[:20]],
    }


def rates(device: torch.device, n: int = 8192) -> dict[str, float]:
    """What the card gives: FLOP/s of a bf16 matrix product, bytes/s of a copy (read and write)."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    target = torch.empty_like(a)
    product = median(timed(lambda: torch.mm(a, b, out=target), device) for _ in range(9))
    copy = median(timed(lambda: target.copy_(a), device) for _ in range(9))
    return {"flops": 2 * n**3 / product, "bytes": 2 * a.numel() * a.element_size() / copy}


class Steps:
    """Training steps one after the other, as the trainer makes them: it never waits for one."""

    def __init__(self, batches: Ahead, step: Callable[[Batch], None], device: torch.device) -> None:
        self._batches, self._step, self._device = batches, step, device
        self.waited = 0.0  # seconds for data

    def __call__(self, n: int) -> None:
        """n steps."""
        for _ in range(n):
            started = time.perf_counter()
            batch = next_batch(self._batches)
            self.waited += time.perf_counter() - started
            self._step(batch.to(self._device))


def training_row(name: str, path: str, steps: Steps, turns: int, device: torch.device) -> dict:
    """Seconds of a step (the median of ``BLOCKS`` blocks of ``turns``), its FLOPs, its memory, and
    where its time goes."""
    steps(3)
    peak_device_gb(device)
    flops = count_flops(lambda: steps(turns)) / turns
    steps(turns)
    steps.waited = 0.0
    seconds = [timed(lambda: steps(turns), device) / turns for _ in range(BLOCKS)]
    row = {"task": name, "path": path, "s": median(seconds), "flops": flops}
    row["waits"] = steps.waited / turns / sum(seconds)
    row["peak GB"] = peak_device_gb(device)
    return row | kernels_of(lambda: steps(PROFILED), device, PROFILED)


def training_rows(args: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Steps of each task and batch size, ours and the published path; and of item tokens."""
    rows = []
    for size in map(int, args.batch_sizes.split(",")):
        for task in Task:
            for path, make in (("published", published_steps), ("ours", our_steps)):
                name = f"{task.label}, {size}"
                rows.append(training_row(name, path, make(args, task, size), args.turns, device))
    run, stream, optimizer = item_tokens(args.data_dir, "bf16", device.type == "cuda")
    run.model.train()
    steps = Steps(Ahead(stream), partial(train_step, run, optimizer), device)
    name = f"item tokens, {stream.plan.size.samples}"
    return [*rows, training_row(name, "ours", steps, args.turns, device)]


def our_steps(args: argparse.Namespace, task: Task, size: int) -> Steps:
    """Training steps in bf16, as ``pretrain.py --cuda`` makes them."""
    torch.set_float32_matmul_precision("high")
    run, streams_of = full_size(args.data_dir, args.backbone, "bf16", not args.cpu)
    optimizer = make_optimizer(run.model.train(), "adamw", LR)
    step = partial(train_step, run, optimizer)
    return Steps(Ahead(streams_of(size)[task]), step, run.machine.device)


def published_steps(args: argparse.Namespace, task: Task, size: int) -> Steps:
    """Training steps in float32; the published code leaves products as they are."""
    run, streams_of = full_size(args.data_dir, args.backbone, "fp32", not args.cpu)
    torch.set_float32_matmul_precision("highest")
    step = published.PublishedTraining(run.model.train(), LR).step
    return Steps(Ahead(streams_of(size)[task]), step, run.machine.device)


def inference_rows(args: argparse.Namespace, run: Run, folder: str) -> list[dict[str, Any]]:
    """Users a second of each task, data included: the published path, ours in bf16."""
    device, rows = run.machine.device, []
    rounded = replace(run, machine=run.machine._replace(precision="bf16"))
    for task in Task:
        samples, _ = samples_of(run, folder, task, args.published_users, BatchSize(16))
        torch.set_float32_matmul_precision("highest")
        plain = partial(published.evaluate, run.model, samples)
        plain()
        peak_device_gb(device)
        rate = len(samples.users) / timed(plain, device)
        base = {"task": task.label, "path": "published", "users/s": rate, "flops": 0.0}
        rows.append(base | {"peak GB": peak_device_gb(device)})
        torch.set_float32_matmul_precision("high")
        work, n = evaluation(rounded, folder, task, args.users, args.eval_batch_size)
        flops = count_flops(work) / n  # also warms up
        peak_device_gb(device)
        rate = n / timed(work, device)
        own = {"task": task.label, "path": "ours", "users/s": rate, "flops": flops}
        own["peak GB"] = peak_device_gb(device)
        rows.append(own | kernels_of(work, device, n))
    return rows


def show(title: str, unit: str, rows: list[dict[str, Any]], limit: float) -> None:
    """A table of rows in pairs, the published path before ours; and one of their kernels."""
    table, base = [], None
    for row in rows:
        rate = row[unit] if unit == "users/s" else 1 / row[unit]
        base = rate if row["path"] == "published" else base
        ratio = "-" if row["task"].startswith("item tokens") else f"{rate / base:.3g}"
        of_limit = f"{row['flops'] * rate / limit:.0%}" if row["path"] == "ours" else "-"
        busy = f"{sum(row['kernels'].values()) * rate:.0%}" if "kernels" in row else "-"
        waits = f"{row['waits']:.1%}" if "waits" in row else "-"
        figures = [row[unit], ratio, row["peak GB"], of_limit, busy, waits]
        table.append([row["task"], row["path"], *figures])
    header = ["task", "path", "s a step" if unit == "s" else unit, "ratio", "peak GB", "of limit"]
    print_table(title, [*header, "GPU busy", "waits for data"], table)
    profiled = [row for row in rows if "kernels" in row]
    if profiled:
        times = [[f"{r['task']}, {r['path']}", *r["kernels"].values()] for r in profiled]
        what = "user" if unit == "users/s" else "step"
        print_table(f"Seconds of kernels a {what}", [what, *profiled[0]["kernels"]], times)


def parts(text: str) -> list[str]:
    """Some of ``PARTS``, by commas."""
    names = text.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: one of {', '.join(PARTS)}")
    return names


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="as in pretrain.py, from scratch")
    parser.add_argument("--only", type=parts, default=PARTS, help=f"of {', '.join(PARTS)}")
    parser.add_argument("--batch_sizes", default="16,64", help="of training")
    parser.add_argument("--eval_batch_size", type=int, default=256)
    parser.add_argument("--train_steps", type=int, default=150, help="before inference")
    parser.add_argument("--users", type=int, help="users to evaluate; default all")
    parser.add_argument("--published_users", type=int, default=64, help="the same, published path")
    parser.add_argument("--checked_users", type=int, default=16, help="users of the plain path")
    parser.add_argument("--turns", type=int, default=20, help="timed steps")
    parser.add_argument("--matrix", type=int, default=8192, help="size of the measured product")
    parser.add_argument("--cpu", action="store_true", help="no GPU: only that it runs")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --out")
    args = parser.parse_args()
    print(f"{features()}; {machine_name(not args.cpu)}", flush=True)
    check_out(args.out, args.overwrite)
    return args


def main() -> None:
    """Checks, tables, JSON."""
    args = parse_args()
    device = pick_device(not args.cpu)
    limits = rates(device, args.matrix)
    say(f"{limits['flops'] / 1e12:.1f} TFLOP/s in bf16, {limits['bytes'] / 1e12:.2f} TB/s")
    figures = {"limits": limits, "backbone": args.backbone, "versions": versions()}
    if {"checks", "inference"} & set(args.only):
        run, folder = trained(args, device)
        if "checks" in args.only:
            figures["checks"] = checks(args, run, folder)
        if "inference" in args.only:
            args.users = args.users or run.dataset.n_users
            figures["inference"] = inference_rows(args, run, folder)
            title = f"Inference, {args.backbone}: float32 as published, bf16"
            show(title, "users/s", figures["inference"], limits["flops"])
    if "training" in args.only:
        rows = figures["training"] = training_rows(args, device)
        title = f"Training, {args.backbone}: float32 as published, bf16"
        show(title, "s", rows, limits["flops"])
    write_json(args.out, figures)
    say(f"written to {args.out}")


def trained(args: argparse.Namespace, device: torch.device) -> tuple[Run, str]:
    """A run after a few steps, and its folder."""
    folder = tempfile.mkdtemp()
    train_briefly(args.data_dir, args.backbone, args.train_steps, Path(folder), not args.cpu)
    run = open_run(folder, args.data_dir, Machine(device, "fp32"))
    return replace(run, dataset=with_made_up_texts(run.dataset)), folder


def checks(args: argparse.Namespace, run: Run, folder: str) -> dict[str, dict[str, Any]]:
    """Exact ranking against the plain path, by task."""
    # TF32 rounds products to ten bits: the check wants all of float32.
    torch.set_float32_matmul_precision("highest")
    found = {}
    for task in (Task.SEQUENTIAL, Task.DIRECT):
        found[task.label] = agreement(run, folder, task, args.checked_users)._asdict()
        what = f"{task.label}, fast and plain path in float32 (ties below {TIE})"
        say(f"{what}: {found[task.label]}")
    return found


if __name__ == "__main__":
    main()
