"""A full-size model on real interactions, for the benchmarks to run on.

Beauty's published folder has no texts here, so the explanation task gets sentences of the demo
generator over real user-item pairs: what matters is that texts have a text's length.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from modules.data.dataset import Explanations, RecDataset
from modules.data.demo import made_up_sentence
from modules.data.negatives import PUBLISHED_COUNT
from modules.data.protocols import train_view
from modules.data.reader import load_dataset
from modules.loader.batches import Batch
from modules.loader.training_stream import TrainingStream
from modules.randomness import rng
from modules.runs.folder import write_run
from modules.runs.run import Run
from modules.tasks import Task
from modules.training.build import new_run, training_streams
from modules.training.fitted import fitted
from modules.training.flags import parse_settings
from modules.training.optimizer import make_optimizer
from modules.training.settings import Settings
from utils.console import say
from utils.runtime import Machine, pick_device

SEED = 0


def with_made_up_texts(dataset: RecDataset, records: int = 4096) -> RecDataset:
    """The data set with explanation records over random train pairs and test pairs."""
    if dataset.explanations is not None:
        return dataset
    generator = rng(SEED, 99)
    pairs = dataset.train_pairs()
    splits = {}
    for split in ("train", "val", "test"):
        chosen = pairs[:, generator.integers(pairs.shape[1], size=records)]
        texts = [made_up_sentence(generator) for _ in range(records)]
        splits[split] = Explanations(chosen[0], chosen[1], tuple(texts), ("",) * records)
    return dataclasses.replace(dataset, explanations=splits)


def full_size(
    data_dir: str, backbone: str, precision: str, cuda: bool = False
) -> tuple[Run, Callable[..., dict[Task, TrainingStream]]]:
    """A run with random weights, and what makes its training streams."""
    dataset = with_made_up_texts(load_dataset(data_dir))
    view = train_view(dataset, "clean")
    numbers = {"alpha": 2.0, "sigma": 2.0, "L": 4, "seed": SEED, "negative_num": PUBLISHED_COUNT}
    settings = Settings(backbone=backbone, from_scratch=True, **numbers).resolved()
    run = new_run(settings, dataset, view, Machine(pick_device(cuda), precision))

    def streams(batch_size: int, negative_num: int = PUBLISHED_COUNT) -> dict[Task, TrainingStream]:
        how = dataclasses.replace(settings, batch_size=batch_size, negative_num=negative_num)
        return training_streams(run, how, view)

    return run, streams


def item_tokens(
    data_dir: str, precision: str, cuda: bool = False
) -> tuple[Run, TrainingStream, torch.optim.Optimizer]:
    """A run of the item-token preset with random weights, the stream of its steps, and its
    optimizer, all with the settings that follow from the data."""
    settings = parse_settings(
        "",
        [data_dir, "--preset", "item_tokens", "--item_vectors", "random", "--precision", precision],
    )
    dataset = load_dataset(data_dir)
    view = train_view(dataset, settings.protocol)
    settings = fitted(settings, dataset, view)
    run = new_run(settings, dataset, view, Machine(pick_device(cuda), precision))
    stream = training_streams(run, settings, view)[Task.SEQUENTIAL]
    return run, stream, make_optimizer(run.model, settings.optimizer, settings.lr)


def next_batch(stream: TrainingStream) -> Batch:
    """The batch of a step that is a single one."""
    return next(stream).batches[0]


def train_step(run: Run, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Forward, backward, update, as the trainer makes a step of one batch."""
    optimizer.zero_grad()
    with run.machine.autocast():
        loss = run.model(batch)
    loss.backward()
    optimizer.step()


def train_briefly(
    data_dir: str, backbone: str, steps: int, folder: Path, cuda: bool = False
) -> None:
    """A model that has learned what answers look like: numbers end, sentences end."""
    run, streams_of = full_size(data_dir, backbone, "bf16", cuda)
    streams = streams_of(16, negative_num=9)  # short prompts: the answers are what it learns
    optimizer = make_optimizer(run.model, "adafactor", 2e-2)
    say(f"training {steps} steps, so that free-text search ends as it does in practice")
    run.model.train()
    for step in range(steps):
        batch = next_batch(streams[list(streams)[step % len(streams)]])
        train_step(run, optimizer, batch.to(run.machine.device))
    write_run(folder, run.record, run.tokenizer, run.numbers, run.dataset)
    run.model.save_pretrained(folder)
