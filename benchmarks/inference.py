"""Inference: our path and the published one, same weights, same users, taking turns.

    python -m benchmarks.inference --data_dir ./data/beauty --backbone t5-small

Trains for a few steps first (--train_steps), or takes a run's folder (--run). Prints users a
second, the ratio, the peak memory of each process, and the share of the machine's matrix-product
rate that our path reaches. "Published search" is --decode published: its prompts and batches are
those of the published path.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import published
from benchmarks.measure import (
    Round,
    count_flops,
    default_data,
    features,
    matrix_rate,
    print_table,
    take_turns,
)
from benchmarks.setting import train_briefly, with_made_up_texts
from modules.data.candidates import test_candidates
from modules.data.dataset import HeldOut
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.texts import text_beams, write_texts
from modules.loader.batches import BatchSize
from modules.loader.evaluation_set import EvaluationSet
from modules.loader.ragged import recent_histories
from modules.runs.run import Run, open_run, spread
from modules.tasks import Task
from utils.runtime import Machine, pick_device


def samples_of(
    run: Run, folder: str, task: Task, n: int, size: BatchSize
) -> tuple[EvaluationSet, np.ndarray | None]:
    """The test samples of n users, and what they are ranked among."""
    dataset, prompts = run.dataset, run.prompts
    users = run.users(n)
    targets = dataset.targets(users, HeldOut.TEST)
    if task is Task.SEQUENTIAL:
        histories = recent_histories(dataset, users, HeldOut.TEST)
        return prompts.sequential(users, histories, targets, size), dataset.catalogue
    if task is Task.DIRECT:
        candidates, _ = test_candidates(dataset, users, 99, run.record.seed, Path(folder))
        return prompts.direct(users, candidates, targets, size), candidates
    records = dataset.explanations["test"]
    rows = spread(len(records.users), n)
    texts = run.texts("test", 20)[0].gather(rows)
    return prompts.explanation(records.users[rows], records.items[rows], texts, size), None


def evaluation(
    run: Run, folder: str, task: Task, n: int, batch_size: int, decode: str = "exact"
) -> tuple[Callable[[], Any], int]:
    """What ranks n users, or writes n texts by beam search; and the rows that it does. decode: as
    in the test scripts."""
    size = BatchSize(batch_size, in_order=decode == "published")
    samples, candidates = samples_of(run, folder, task, n, size)
    if task is Task.EXPLANATION:
        work = partial(write_texts, run, samples, text_beams(), show_progress=False)
    else:
        k = 25 if task is Task.SEQUENTIAL else 10
        how = Decoding(decode, published.BEAMS[task])
        ranker = Ranker.of(run, how, show_progress=False)
        work = partial(ranker.rank, samples, candidates, k)
    return work, len(samples.users)


class Setting(NamedTuple):
    """One contestant: the run, the task, and how it is asked."""

    folder: str
    data_dir: str
    task: Task
    users: int
    precision: str
    batch_size: int
    threads: int
    decode: str = "exact"

    def open(self) -> Run:
        """The run, with texts for the explanation task."""
        torch.set_num_threads(self.threads)
        machine = Machine(pick_device(False), self.precision)
        run = open_run(self.folder, self.data_dir, machine)
        return replace(run, dataset=with_made_up_texts(run.dataset))


def ours(setting: Setting) -> Callable[[], Round]:
    """One turn: n users ranked, or n texts by beam search."""
    how = (setting.folder, setting.task, setting.users, setting.batch_size, setting.decode)
    work, n = evaluation(setting.open(), *how)
    flops = count_flops(work)

    def turn() -> Round:
        started = time.perf_counter()
        work()
        return Round(time.perf_counter() - started, n, flops)

    return turn


def theirs(setting: Setting) -> Callable[[], Round]:
    """One turn: n users by free-text beams, the encoder run on every beam's copy."""
    run = setting.open()
    size = BatchSize(setting.batch_size, in_order=True)
    samples, _ = samples_of(run, setting.folder, setting.task, setting.users, size)

    def turn() -> Round:
        started = time.perf_counter()
        published.evaluate(run.model, samples)
        return Round(time.perf_counter() - started, setting.users)

    return turn


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="as in pretrain.py, from scratch")
    parser.add_argument("--run", help="a run's folder, in place of training one")
    parser.add_argument("--train_steps", type=int, default=150)
    parser.add_argument("--tasks", default="sequential,direct,explanation")
    parser.add_argument("--users", type=int, default=256, help="users a turn, our path")
    parser.add_argument("--published_users", type=int, default=16)
    parser.add_argument("--batch_size", type=int, default=64, help="our path")
    parser.add_argument("--published_batch_size", type=int, default=16, help="as published")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    folder = args.run
    if folder is None:
        folder = tempfile.mkdtemp()
        train_briefly(args.data_dir, args.backbone, args.train_steps, Path(folder))
        print(f"trained model: --run {folder}")
    print(features())
    limits = {precision: matrix_rate(precision) for precision in ("fp32", "bf16")}
    rows = []
    for task in (Task[name.upper()] for name in args.tasks.split(",")):
        own = Setting(
            folder, args.data_dir, task, args.users, "fp32", args.batch_size, args.threads
        )
        plain = own._replace(users=args.published_users, batch_size=args.published_batch_size)
        contestants = {
            "published": (theirs, (plain,)),
            "fp32": (ours, (own,)),
            "bf16": (ours, (own._replace(precision="bf16"),)),
            "published search": (ours, (plain._replace(decode="published"),)),
        }
        figures = take_turns(contestants, args.turns)
        base = figures["published"]
        rows.append([task.label, "published", base.rate, 1.0, base.peak_gb, "-"])
        for path, precision in (("fp32",) * 2, ("bf16",) * 2, ("published search", "fp32")):
            own = figures[path]
            share = f"{own.flop_rate / limits[precision]:.0%}"
            rows.append([task.label, path, own.rate, own.rate / base.rate, own.peak_gb, share])
    print_table(
        f"Inference, {args.backbone} on {Path(args.data_dir).name}, {args.threads} threads, "
        f"medians of {args.turns}; matrix products: fp32 {limits['fp32'] / 1e9:.0f}, bf16 "
        f"{limits['bf16'] / 1e9:.0f} GFLOP/s",
        ["task", "path", "users/s", "ratio", "peak GB", "share of limit"],
        rows,
    )


if __name__ == "__main__":
    main()
