"""Steps made ahead: the stream itself, its state, its errors."""

import threading

import numpy as np
import pytest
import torch

from modules.data.negatives import NegativeSampler
from modules.loader.ahead import Ahead
from modules.loader.batches import BatchSize
from modules.loader.prompts import Prompts
from modules.loader.training_stream import StepPlan, TrainingStream
from modules.tasks import METHODS, Task


@pytest.fixture
def stream_of(dataset, pieces):
    def stream() -> TrainingStream:
        schemes = METHODS["elmrec"].whole_words
        prompts = Prompts(pieces, schemes, drop_own_edges=True)
        plan, rng = StepPlan(BatchSize(2)), np.random.default_rng(0)
        negatives = NegativeSampler(dataset, 3)
        return TrainingStream(Task.DIRECT, dataset, prompts, plan, rng, negatives)

    return stream


def same(ours, theirs) -> bool:
    pairs = zip(ours.batches[0], theirs.batches[0], strict=True)
    tensors = [(a, b) for a, b in pairs if isinstance(a, torch.Tensor)]
    return len(tensors) > 4 and all(torch.equal(a, b) for a, b in tensors)


def test_it_is_the_stream_to_the_bit(stream_of):
    ahead, plain = Ahead(stream_of()), stream_of()
    assert ahead.plan is not None
    assert ahead.steps_per_pass == plain.steps_per_pass
    for _ in range(3 * plain.steps_per_pass + 1):  # beyond the end of a pass, where it shuffles
        assert same(next(ahead), next(plain))


def test_a_thread_makes_them(stream_of):
    stream, makers = stream_of(), set()
    draw = stream._draw
    stream._draw = lambda: (makers.add(threading.current_thread().name), draw())[1]
    next(Ahead(stream))
    assert makers == {"direct steps_0"}


def test_its_state_is_that_of_the_last_step_taken(stream_of):
    ahead, plain = Ahead(stream_of()), stream_of()
    assert ahead.state()[1] == plain.state()[1]
    for _ in range(2):
        next(ahead), next(plain)
    assert ahead.state()[1] == plain.state()[1]
    resumed = Ahead(stream_of())
    next(resumed)  # and steps ahead of it, which are not those that come next
    resumed.load_state(*ahead.state())
    for _ in range(4):
        expected = next(plain)
        assert same(next(resumed), expected)
        assert same(next(ahead), expected)


def test_edges_ahead_are_those_of_the_steps_that_come(stream_of):
    ahead, plain = Ahead(stream_of()), stream_of()
    next(ahead), next(plain)
    assert torch.equal(ahead.edges_ahead(3), plain.edges_ahead(3))
    assert same(next(ahead), next(plain))


def test_an_error_reaches_who_reads(stream_of):
    stream = stream_of()
    stream._draw = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(Ahead(stream))
