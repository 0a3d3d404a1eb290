"""Training steps made by a thread, while the step before them runs.

A GPU does not wait for its next batch then. On a CPU there is nothing to win: it is the same cores.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from modules.loader.training_stream import StepPlan, TrainingStream, TrainStep

_STEPS = 2  # made ahead


class Ahead:
    """A training stream, the same to the bit, a few steps ahead of who reads it.

    Its state is that of the reader: a run continues with the step after the last that was taken.
    """

    def __init__(self, stream: TrainingStream) -> None:
        self._stream, self._place = stream, stream.state()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"{stream.task.label} steps")
        self._made: deque[Future] = deque()

    @property
    def plan(self) -> StepPlan:
        """As of the stream."""
        return self._stream.plan

    @property
    def steps_per_pass(self) -> int:
        """As of the stream."""
        return self._stream.steps_per_pass

    def __iter__(self) -> Iterator[TrainStep]:
        return self

    def __next__(self) -> TrainStep:
        while len(self._made) <= _STEPS:  # one of them is taken now
            self._made.append(self._pool.submit(self._make))
        step, self._place = self._made.popleft().result()
        return step

    def _make(self) -> tuple[TrainStep, tuple]:
        return next(self._stream), self._stream.state()

    def state(self) -> tuple[np.ndarray, dict[str, Any]]:
        """As ``TrainingStream.state``, of the last step that was taken."""
        return self._place

    def load_state(self, order: np.ndarray, values: dict[str, Any]) -> None:
        """As ``TrainingStream.load_state``."""
        for future in self._made:  # of another place; the thread must not draw meanwhile
            future.cancel()
        self._pool.submit(int).result()  # what it was at has ended
        self._made.clear()
        self._stream.load_state(order, values)
        self._place = self._stream.state()

    def edges_ahead(self, steps: int) -> torch.Tensor | None:
        """As ``TrainingStream.edges_ahead``."""
        self.load_state(*self._place)
        return self._stream.edges_ahead(steps)
