"""A full-size model on real interactions, for the benchmarks to run on.

Beauty's published folder has no texts here, so the explanation task gets sentences of the demo
generator over real user-item pairs: what matters is that texts have a text's length.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from modules.data.dataset import Explanations, RecDataset
from modules.data.demo import made_up_sentence
from modules.data.protocols import train_view
from modules.data.reader import load_dataset
from modules.loader.batches import Batch
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.randomness import rng
from modules.runs.run import Experiment, new_experiment, save_run, training_samplers
from modules.tasks import Task
from modules.training.optimizer import make_optimizer
from utils.console import say
from utils.provenance import provenance
from utils.runtime import pick_device

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
) -> tuple[Experiment, Callable[..., dict[Task, TrainingStream]]]:
    """An experiment with random weights, and what makes its training streams."""
    dataset = with_made_up_texts(load_dataset(data_dir))
    view = train_view(dataset, "clean")
    experiment = new_experiment(
        dataset,
        view,
        item_ids="random",
        backbone=backbone,
        from_scratch=True,
        method="elmrec",
        prompt_num=3,
        alpha=2.0,
        sigma=2.0,
        graph_layers=4,
        device=pick_device(cuda),
        precision=precision,
        seed=SEED,
    )

    def samplers(batch_size: int, negative_num: int = 99) -> dict[Task, TrainingStream]:
        return training_samplers(
            experiment, view, list(Task), StepPlan(batch_size), negative_num, 20
        )

    return experiment, samplers


def next_batch(stream: TrainingStream) -> Batch:
    """The batch of a step that is a single one."""
    return next(stream).batches[0]


def train_briefly(data_dir: str, backbone: str, steps: int, folder: Path) -> None:
    """A model that has learned what answers look like: numbers end, sentences end."""
    experiment, samplers = full_size(data_dir, backbone, "bf16")
    streams = samplers(16, negative_num=9)  # short prompts: the answers are what it learns
    optimizer = make_optimizer(experiment.model, "adafactor", 2e-2)
    say(f"training {steps} steps, so that free-text search ends as it does in practice")
    experiment.model.train()
    for step in range(steps):
        with experiment.autocast():
            loss = experiment.model(next_batch(streams[list(streams)[step % len(streams)]]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    arguments = {"seed": SEED, "negative_num": 99, "exp_len": 20, "preset": "readme"}
    arguments |= {"protocol": "clean", "item_ids": "random"}
    arguments |= {"method": "elmrec", "backbone": backbone}
    arguments["tasks"] = [task.label for task in streams]
    record = {"dataset": experiment.dataset.name}
    record |= {"held_out_edges_seen": 0, "held_out_records_seen": 0}
    save_run(experiment, folder, provenance(arguments) | record)
    experiment.model.save_pretrained(folder)
