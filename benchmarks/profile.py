"""Where the time of a step, or of an evaluation, goes: by class of operator, against the limits.

    python -m benchmarks.profile --data_dir ./data/beauty --backbone t5-small
    python -m benchmarks.profile --data_dir ./data/beauty --only item_tokens,direct

The work is done twice: as it is, which gives the time; and with a clock at each operator, which
gives the shares. Limits are measured in the same run: of matrix products (FLOP/s), and of memory
(bytes/s of a large copy). An operator's bytes are those of the tensors that it reads and writes:
where they come from the cache, the share of the memory limit is above 100 %.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.inference import Setting, evaluation
from benchmarks.measure import copy_rate, default_data, features, matrix_rate, print_table
from benchmarks.setting import full_size, item_tokens, next_batch, train_briefly, train_step
from modules.loader.batches import Batch
from modules.loader.training_stream import TrainingStream
from modules.tasks import Task
from modules.training.optimizer import make_optimizer

LR = 1e-4  # small: the same model is stepped many times
PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "linear", "_addmm_activation"}
# Which part of the model asked for an operator: by the file that is nearest to it.
PLACES = {
    "modules/model/attention.py": "attention",
    "modules/model/dropout.py": "dropout",
    "modules/model/loss.py": "loss",
    "modules/model/graph.py": "propagation",
    "torch/optim/": "optimizer",
}
# Of the rest, and of PyTorch's own backward passes, the name says it.
NAMES = {
    "embedding": "embedding", "index": "embedding", "loss": "loss", "log_softmax": "loss",
    "native_dropout": "dropout", "bernoulli": "dropout", "softmax": "attention",
    "rsqrt": "norms", "mean": "norms", "pow": "norms",
}  # fmt: skip
ORDER = (
    "products", "attention", "dropout", "norms", "embedding", "loss", "propagation", "optimizer",
    "other passes", "data", "Python",
)  # fmt: skip


class OperatorClock(TorchDispatchMode):
    """Seconds, bytes and FLOPs of operators, by class."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = dict.fromkeys(ORDER, 0.0)
        self.bytes = dict.fromkeys(ORDER, 0)
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        kind = _kind(func, args)
        started = time.perf_counter()
        out = func(*args, **kwargs)
        self.seconds[kind] += time.perf_counter() - started
        if not _is_view(func):
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
            self.bytes[kind] += sum(x.numel() * x.element_size() for x in tensors)
        if kind == "products" and func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **kwargs, out_val=out)
        return out


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    alias = returns[0].alias_info if returns else None
    return alias is not None and not alias.is_write


def _kind(func: Any, args: tuple) -> str:
    name = func.overloadpacket.__name__
    tensors = [x for x in args if isinstance(x, torch.Tensor)]
    if name in PRODUCTS and all(x.layout is torch.strided for x in tensors):
        return "products"
    for frame in _frames():
        place = frame.f_code.co_filename
        for part, kind in PLACES.items():
            if part in place:
                return kind
        if type(frame.f_locals.get("self")).__name__ == "RMSNorm":
            return "norms"
    return next((kind for part, kind in NAMES.items() if part in name), "other passes")


def _frames() -> Iterator[FrameType]:
    frame = sys._getframe(3)
    while frame is not None:
        yield frame
        frame = frame.f_back


def profiled(
    work: Callable[[Any], Any], inputs: Sequence[Any], making: float = 0.0
) -> tuple[dict[str, float], dict[str, float], float]:
    """Seconds and bytes a turn by class, and FLOPs of products a turn.

    Args:
        work: one turn.
        inputs: what each turn is about; both passes are over the same.
        making: seconds that an input took to make.
    """
    turns = len(inputs)
    work(inputs[0])
    started = time.perf_counter()
    for given in inputs:
        work(given)
    whole = (time.perf_counter() - started) / turns
    with OperatorClock() as clock:
        for given in inputs:
            work(given)
    seconds = {kind: t / turns for kind, t in clock.seconds.items()}
    seconds["Python"] = max(0.0, whole - sum(seconds.values()))
    seconds["data"] = making
    return seconds, {k: n / turns for k, n in clock.bytes.items()}, clock.flops / turns


def training_step(
    data_dir: str, backbone: str, task: Task | None, batch_size: int, precision: str
) -> tuple[Callable[[Batch], None], TrainingStream]:
    """A step of a task, and its stream. task: None is the item-token preset's."""
    if task is None:
        run, stream, optimizer = item_tokens(data_dir, precision)
    else:
        run, streams_of = full_size(data_dir, backbone, precision)
        stream = streams_of(batch_size)[task]
        optimizer = make_optimizer(run.model, "adamw", LR)
    run.model.train()
    return partial(train_step, run, optimizer), stream


def show(title: str, found: tuple, matrix: float, memory: float) -> None:
    """One table."""
    seconds, moved, flops = found
    total = sum(seconds.values())
    rows = []
    for kind in ORDER:
        if not seconds[kind]:
            continue
        of_matrix = f"{flops / seconds[kind] / matrix:.0%}" if kind == "products" else "-"
        of_memory = f"{moved[kind] / seconds[kind] / memory:.0%}" if moved[kind] else "-"
        share = f"{seconds[kind] / total:.0%}"
        rows.append([kind, 1e3 * seconds[kind], share, moved[kind] / 1e9, of_matrix, of_memory])
    of_matrix, of_memory = (
        f"{flops / total / matrix:.0%}",
        f"{sum(moved.values()) / total / memory:.0%}",
    )
    rows.append(["all", 1e3 * total, "100%", sum(moved.values()) / 1e9, of_matrix, of_memory])
    header = ["class", "ms", "share", "GB moved", "of the matrix limit", "of the memory limit"]
    print_table(title, header, rows)


def main() -> None:
    """The tables."""
    tasks = [task.label for task in Task]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--backbone", default="mini", help="as in pretrain.py, from scratch")
    parser.add_argument("--only", default=",".join((*tasks, "item_tokens")), help="by commas")
    parser.add_argument("--inference", action="store_true", help="rank users, write texts")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--batch_size", type=int, default=16, help="64 is usual for inference")
    parser.add_argument("--users", type=int, default=64, help="of a turn of --inference")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    matrix, memory = matrix_rate(args.precision), copy_rate()
    print(
        f"{features()}; {args.threads} threads, {args.precision}; matrix products "
        f"{matrix / 1e9:.0f} GFLOP/s, memory {memory / 1e9:.1f} GB/s"
    )
    folder = tempfile.mkdtemp() if args.inference else ""
    if args.inference:
        train_briefly(args.data_dir, args.backbone, 150, Path(folder))
    for name in args.only.split(","):
        task = None if name == "item_tokens" else Task[name.upper()]
        if not args.inference:
            how = (args.data_dir, args.backbone, task, args.batch_size, args.precision)
            step, stream = training_step(*how)
            next_batch(stream)
            started = time.perf_counter()
            batches = [next_batch(stream) for _ in range(args.turns)]
            making = (time.perf_counter() - started) / args.turns
            found = profiled(step, batches, making)
            show(f"A training step: {name}", found, matrix, memory)
        elif task is not None:
            how = (args.users, args.precision, args.batch_size, args.threads)
            own = Setting(folder, args.data_dir, task, *how)
            work, n = evaluation(own.open(), folder, task, args.users, args.batch_size)
            found = profiled(lambda _, work=work: work(), range(args.turns))
            show(f"Inference: {name}, {n} users", found, matrix, memory)


if __name__ == "__main__":
    main()
