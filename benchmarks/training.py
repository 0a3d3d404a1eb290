"""Training: time of a step by task, ours and the published path, taking turns.

    python -m benchmarks.training --data_dir ./data/beauty --backbone t5-small

Also prints where our step's time goes, each part timed by itself.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from transformers.modeling_outputs import BaseModelOutput

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
from benchmarks.setting import full_size, next_batch, train_step
from modules.loader.batches import Batch
from modules.model.encoder import encode
from modules.tasks import Task, WholeWords
from modules.training.optimizer import make_optimizer

LR = 1e-4  # small: the same model is stepped many times
# In a turn. A step of the direct task is like any other; the others' prompts differ in length.
STEPS = {Task.EXPLANATION: 8, Task.SEQUENTIAL: 8, Task.DIRECT: 1}


def ours(
    data_dir: str, backbone: str, task: Task, batch_size: int, precision: str, threads: int
) -> Callable[[], Round]:
    """One turn: training steps."""
    torch.set_num_threads(threads)
    run, streams_of = full_size(data_dir, backbone, precision)
    stream = streams_of(batch_size)[task]
    optimizer = make_optimizer(run.model.train(), "adamw", LR)

    def steps(batches: list[Batch]) -> None:
        for batch in batches:
            train_step(run, optimizer, batch)

    def turn() -> Round:
        started = time.perf_counter()
        batches = [next_batch(stream) for _ in range(STEPS[task])]
        steps(batches)
        seconds = time.perf_counter() - started
        return Round(seconds, len(batches), count_flops(lambda: steps(batches)))

    return turn


def theirs(
    data_dir: str, backbone: str, task: Task, batch_size: int, threads: int
) -> Callable[[], Round]:
    """One turn: training steps of the published path."""
    torch.set_num_threads(threads)
    run, streams_of = full_size(data_dir, backbone, "fp32")
    stream = streams_of(batch_size)[task]
    training = published.PublishedTraining(run.model.train(), LR)

    def turn() -> Round:
        batches = [next_batch(stream) for _ in range(STEPS[task])]
        started = time.perf_counter()
        for batch in batches:
            training.step(batch)
        return Round(time.perf_counter() - started, len(batches))

    return turn


def parts(
    data_dir: str, backbone: str, task: Task, batch_size: int, precision: str, turns: int
) -> dict[str, float]:
    """Seconds of each part of a step, forward and backward."""
    run, streams_of = full_size(data_dir, backbone, precision)
    stream, model = streams_of(batch_size)[task], run.model.train()
    optimizer = make_optimizer(model, "adamw", LR)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable) -> object:
        started = time.perf_counter()
        result = work()
        seconds.setdefault(name, []).append(time.perf_counter() - started)
        return result

    def encoder(embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with run.machine.autocast():
            states = encode(model.t5, embeds, mask)
        states.backward(torch.randn_like(states))
        return states

    def decoder(states: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> None:
        outputs = BaseModelOutput(last_hidden_state=states)
        with run.machine.autocast():
            loss = model.t5(encoder_outputs=outputs, attention_mask=mask, labels=labels).loss
        loss.backward()

    def propagation() -> None:
        table = model.whole_word_table(model.schemes[task])
        if model.schemes[task] is WholeWords.GRAPH:
            table.backward(torch.ones_like(table))

    for _ in range(turns + 1):
        batch = timed("data", lambda: next_batch(stream))
        timed("propagation", propagation)
        embeds, mask = model.embed(batch)
        embeds = embeds.detach().requires_grad_()
        states = timed("encoder", lambda e=embeds, m=mask: encoder(e, m))
        states = states.detach().requires_grad_()
        timed("decoder", lambda s=states, m=mask, b=batch: decoder(s, m, b.labels))
        timed("optimizer", optimizer.step)
        optimizer.zero_grad()
    return {name: median(times[1:]) for name, times in seconds.items()}


def main() -> None:
    """The tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="as in pretrain.py, from scratch")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    print(features())
    limits = {precision: matrix_rate(precision) for precision in ("fp32", "bf16")}
    where = (args.data_dir, args.backbone)
    rows, step_seconds = [], {"published": [], "fp32": [], "bf16": []}
    for task in Task:
        contestants = {"published": (theirs, (*where, task, args.batch_size, args.threads))}
        for precision in limits:
            what = (*where, task, args.batch_size, precision, args.threads)
            contestants[precision] = (ours, what)
        figures = take_turns(contestants, args.turns)
        for name, own in figures.items():
            step_seconds[name].append(1 / own.rate)
            share = f"{own.flop_rate / limits[name]:.0%}" if name in limits else "-"
            ratio = own.rate / figures["published"].rate
            rows.append([task.label, name, 1 / own.rate, ratio, own.peak_gb, share])
    base = sum(step_seconds["published"])
    for name, times in step_seconds.items():
        rows.append(["mean of tasks", name, sum(times) / len(Task), base / sum(times), "-", "-"])
    print_table(
        f"Training step, {args.backbone} on {Path(args.data_dir).name}, batch {args.batch_size}, "
        f"{args.threads} threads, medians of {args.turns}; matrix products: fp32 "
        f"{limits['fp32'] / 1e9:.0f}, bf16 {limits['bf16'] / 1e9:.0f} GFLOP/s",
        ["task", "path", "s/step", "ratio", "peak GB", "share of limit"],
        rows,
    )
    torch.set_num_threads(args.threads)
    rows = []
    for task in Task:
        for precision in limits:
            found = parts(*where, task, args.batch_size, precision, args.turns)
            rows.append([task.label, precision, *found.values()])
    print_table("Where a step's time goes (s)", ["task", "precision", *found], rows)


if __name__ == "__main__":
    main()
