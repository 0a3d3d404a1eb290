"""The batch maker: samples a second from tokenised pieces, and by tokenising whole prompts.

python -m benchmarks.data --data_dir ./data/beauty --backbone t5-small
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Round, default_data, features, print_table, take_turns
from benchmarks.setting import full_size, next_batch
from modules.loader.pieces import render
from modules.tasks import TEMPLATES, Task


def ours(data_dir: str, backbone: str, task: Task, batch_size: int) -> Callable[[], Round]:
    """One turn: fifty batches."""
    torch.set_num_threads(1)
    _, streams_of = full_size(data_dir, backbone, "fp32")
    stream = streams_of(batch_size)[task]

    def turn() -> Round:
        started = time.perf_counter()
        for _ in range(50):
            next_batch(stream)
        return Round(time.perf_counter() - started, 50 * batch_size)

    return turn


def whole_prompts(data_dir: str, backbone: str, task: Task, batch_size: int) -> Callable[[], Round]:
    """One turn: prompts of the same sizes written out and tokenised, whole-word ids left out."""
    torch.set_num_threads(1)
    run, _ = full_size(data_dir, backbone, "fp32")
    rng = np.random.default_rng(0)
    n_items = {Task.EXPLANATION: 1, Task.SEQUENTIAL: 6, Task.DIRECT: 100}[task]

    def turn() -> Round:
        started = time.perf_counter()
        for _ in range(4):
            texts = [
                render(
                    TEMPLATES[task][int(rng.integers(len(TEMPLATES[task])))],
                    int(rng.integers(1, run.dataset.n_users + 1)),
                    rng.integers(1, run.dataset.n_items + 1, size=n_items).tolist(),
                )
                for _ in range(batch_size)
            ]
            run.tokenizer(texts, padding=True, return_tensors="pt")
        return Round(time.perf_counter() - started, 4 * batch_size)

    return turn


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="whose tokenizer")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    print(features(), flush=True)
    rows = []
    for task in Task:
        what = (args.data_dir, args.backbone, task, args.batch_size)
        figures = take_turns(
            {"whole prompts": (whole_prompts, what), "pieces": (ours, what)}, args.turns
        )
        base = figures["whole prompts"].rate
        for name, own in figures.items():
            rows.append([task.label, name, own.rate, own.rate / base])
    print_table(
        f"Batch maker, {Path(args.data_dir).name}, batch {args.batch_size}, one thread, medians of "
        f"{args.turns}",
        ["task", "prompts from", "samples/s", "ratio"],
        rows,
    )


if __name__ == "__main__":
    main()
