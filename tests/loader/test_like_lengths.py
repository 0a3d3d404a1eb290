"""Steps of like length: fewer pads, and the same samples in a pass."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modules.data.reader import load_dataset
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged
from modules.loader.training_stream import Records, StepPlan, TrainingStream
from modules.tasks import Task, WholeWords

DEMO = Path(__file__).parents[2] / "data" / "demo"
TASKS = [Task.SEQUENTIAL, Task.EXPLANATION]


@pytest.fixture(scope="module")
def demo():
    return load_dataset(DEMO)


@pytest.fixture
def stream_of(demo, tokenizer):
    """A stream of the demo set, of steps of 16."""
    pieces = prompt_pieces(tokenizer, demo.n_users, np.arange(demo.n_items + 1))
    prompts = Prompts(pieces, dict.fromkeys(Task, WholeWords.POSITION))
    records = demo.explanations["train"]
    lengths = np.random.default_rng(1).integers(1, 21, size=len(records.users))
    targets = Ragged.of([[7] * n for n in lengths.tolist()])

    def make(task: Task, like_lengths: bool) -> TrainingStream:
        source = Records(records.users, records.items, targets)
        plan = StepPlan(BatchSize(16), like_lengths=like_lengths)
        rng = np.random.default_rng(0)
        return TrainingStream(
            task, demo, prompts, plan, rng, source if task is Task.EXPLANATION else None
        )

    return make


def one_pass(stream: TrainingStream) -> tuple[list[tuple], float, float]:
    """Its samples, in the order of their values; the shares of pads in prompts and targets."""
    samples, tokens, labels = [], [], []
    for _ in range(stream.steps_per_pass):
        batch = next(stream).batches[0]
        for row, mask in enumerate(batch.attention_mask.bool()):
            target = batch.labels[row]
            prompt = batch.input_ids[row][mask].tolist()
            samples.append((batch.users[row].item(), prompt, target[target >= 0].tolist()))
        tokens.append(batch.attention_mask.flatten() == 0)
        labels.append(batch.labels.flatten() < 0)
    return sorted(samples), *(torch.cat(pads).float().mean().item() for pads in (tokens, labels))


@pytest.mark.parametrize("task", TASKS)
def test_fewer_pads_and_the_same_samples(task, stream_of):
    samples, prompt_pads, target_pads = one_pass(stream_of(task, like_lengths=True))
    expected, padded, target_padded = one_pass(stream_of(task, like_lengths=False))
    assert samples == expected
    if task is Task.SEQUENTIAL:
        assert prompt_pads < padded / 2
    else:  # texts of one length are often of one kind of item
        assert (prompt_pads, target_pads) == (padded, target_padded)


def test_long_and_short_steps_take_turns(stream_of):
    """Not all the short ones first."""
    stream = stream_of(Task.SEQUENTIAL, like_lengths=True)
    batches = [next(stream).batches[0] for _ in range(stream.steps_per_pass)]
    lengths = [batch.input_ids.shape[1] + batch.labels.shape[1] for batch in batches]
    assert len(set(lengths)) > 3
    assert lengths != sorted(lengths)


@pytest.mark.parametrize("task", TASKS)
def test_a_pass_goes_on_where_its_state_was_noted(task, stream_of):
    first, second = stream_of(task, like_lengths=True), stream_of(task, like_lengths=True)
    for _ in range(3):
        next(first)
    second.load_state(*first.state())
    for _ in range(2 * first.steps_per_pass):  # into passes that are drawn anew
        a, b = next(first).batches[0], next(second).batches[0]
        assert a.input_ids.tolist() == b.input_ids.tolist()
        assert a.labels.tolist() == b.labels.tolist()
