"""Inference: our path and the published one, same weights, same users, taking turns.

    python -m benchmarks.inference --data_dir ../shared/data/beauty --backbone ../shared/t5-small

Trains for a few steps first (--train_steps), or takes a run's folder (--run). Prints users a
second, the ratio, the peak memory of each process, and the share of the machine's matrix-product
rate that our path reaches.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import published
from benchmarks.measure import (
    Round,
    count_flops,
    default_data,
    matrix_rate,
    print_table,
    take_turns,
)
from benchmarks.setting import train_briefly, with_made_up_texts
from exp import MAX_TOKENS
from modules.data.candidates import test_candidates
from modules.decoding.beam import BeamOptions
from modules.evaluation.ranker import Decoding, Ranker, generate_texts
from modules.loader.evaluation_set import (
    EvaluationSet,
    direct_eval,
    explanation_eval,
    sequential_eval,
)
from modules.runs.run import Experiment, open_experiment, spread
from modules.tasks import Task
from utils.runtime import pick_device


def samples_of(
    experiment: Experiment, folder: str, task: Task, n: int, batch_size: int
) -> tuple[EvaluationSet, np.ndarray | None]:
    """The test samples of n users, and the direct task's candidates."""
    dataset = experiment.dataset
    users = spread(dataset.n_users, n) + 1
    how = (experiment.pieces, experiment.scheme(task), batch_size)
    if task is Task.SEQUENTIAL:
        return sequential_eval(dataset, users, 1, *how), np.arange(1, dataset.n_items + 1)[None]
    if task is Task.DIRECT:
        candidates, _ = test_candidates(dataset, users, 99, experiment.seed, Path(folder))
        return direct_eval(users, dataset.test_items[users - 1], candidates, *how), candidates
    records = dataset.explanations["test"]
    rows = spread(len(records.users), n)
    targets = experiment.targets("test", 20)[0].gather(rows)
    return explanation_eval(records.users[rows], records.items[rows], targets, *how), None


def ranker(experiment: Experiment, shown: bool = False) -> Ranker:
    """The path that the scripts take."""
    targets, cast = experiment.pieces.item_targets, experiment.autocast
    return Ranker(experiment.model, experiment.trie(), targets, Decoding("exact"), cast, shown)


def evaluation(
    experiment: Experiment, folder: str, task: Task, n: int, batch_size: int
) -> tuple[Callable[[], Any], int]:
    """What ranks n users exactly, or writes n texts by beam search; and the rows that it does."""
    samples, candidates = samples_of(experiment, folder, task, n, batch_size)
    if task is Task.EXPLANATION:
        options = BeamOptions(21, MAX_TOKENS, 10, groups=3, early_stopping=True)
        decode = partial(experiment.tokenizer.batch_decode, skip_special_tokens=True)
        model, cast = experiment.model, experiment.autocast
        work = partial(generate_texts, model, samples, options, decode, cast, show_progress=False)
    else:
        k = 25 if task is Task.SEQUENTIAL else 10
        work = partial(ranker(experiment).rank, samples, candidates, k)
    return work, len(samples.users)


def _open(folder: str, data_dir: str, precision: str, threads: int) -> Experiment:
    torch.set_num_threads(threads)
    experiment, _ = open_experiment(folder, data_dir, pick_device(False), precision)
    return experiment._replace(dataset=with_made_up_texts(experiment.dataset))


def ours(
    folder: str, data_dir: str, task: Task, n: int, precision: str, batch_size: int, threads: int
) -> Callable[[], Round]:
    """One turn: n users by exact ranking, or n texts by beam search."""
    experiment = _open(folder, data_dir, precision, threads)
    work, n = evaluation(experiment, folder, task, n, batch_size)
    flops = count_flops(work)

    def turn() -> Round:
        started = time.perf_counter()
        work()
        return Round(time.perf_counter() - started, n, flops)

    return turn


def theirs(
    folder: str, data_dir: str, task: Task, n: int, batch_size: int, threads: int
) -> Callable[[], Round]:
    """One turn: n users by free-text beams, the encoder run on every beam's copy."""
    experiment = _open(folder, data_dir, "fp32", threads)
    samples, _ = samples_of(experiment, folder, task, n, batch_size)
    experiment.model.eval()

    @torch.no_grad()
    def turn() -> Round:
        started = time.perf_counter()
        for _, batch in samples:
            published.generate(experiment.model, batch)
        return Round(time.perf_counter() - started, n)

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
    limits = {precision: matrix_rate(precision) for precision in ("fp32", "bf16")}
    rows = []
    for task in (Task[name.upper()] for name in args.tasks.split(",")):
        where, how = (folder, args.data_dir, task), (args.batch_size, args.threads)
        published_how = (args.published_batch_size, args.threads)
        figures = take_turns(
            {
                "published": (theirs, (*where, args.published_users, *published_how)),
                "fp32": (ours, (*where, args.users, "fp32", *how)),
                "bf16": (ours, (*where, args.users, "bf16", *how)),
            },
            args.turns,
        )
        base = figures["published"]
        rows.append([task.label, "published", base.rate, 1.0, base.peak_gb, "-"])
        for precision in ("fp32", "bf16"):
            own = figures[precision]
            share = f"{own.flop_rate / limits[precision]:.0%}"
            rows.append([task.label, precision, own.rate, own.rate / base.rate, own.peak_gb, share])
    print_table(
        f"Inference, {args.backbone} on {Path(args.data_dir).name}, {args.threads} threads, "
        f"medians of {args.turns}; matrix products: fp32 {limits['fp32'] / 1e9:.0f}, bf16 "
        f"{limits['bf16'] / 1e9:.0f} GFLOP/s",
        ["task", "path", "users/s", "ratio", "peak GB", "share of limit"],
        rows,
    )


if __name__ == "__main__":
    main()
