"""Work on batches, in several processes; the results are the same whatever their number."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

from utils.errors import UserError

Batch = TypeVar("Batch")
Result = TypeVar("Result")
_WAITING = 3  # batches a process that may be on their way: bounds the memory


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on all systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches_of(things: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of ``size``; the last may be shorter."""
    things = iter(things)
    while batch := list(islice(things, size)):
        yield batch


class Crew:
    """Processes that start at the first work that is worth it, and end with the ``with`` block.
    One that starts them must be a script whose main part is under ``if __name__ == "__main__"``."""

    def __init__(self, processes: int = 1) -> None:
        """processes: 1: all is done in this one."""
        self._processes, self._pool = processes, None

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(
        self, work: Callable[[Batch], Result], batches: Iterable[Batch], worth: int
    ) -> Iterator[Result]:
        """``work(batch)`` of each, in their order.

        Args:
            work: a function of a module, or a partial of one.
            worth: batches that take longer than to start a process, which is a second or two.

        Raises:
            UserError: where a process was ended from outside.
        """
        batches = iter(batches)
        first = list(islice(batches, worth))
        if self._processes == 1 or (len(first) < worth and not self._pool):
            yield from map(work, chain(first, batches))
            return
        if not self._pool:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, context)
        waiting: deque[Future[Result]] = deque()
        try:
            for batch in chain(first, batches):
                waiting.append(self._pool.submit(work, batch))
                if len(waiting) > _WAITING * self._processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "A process that reads texts was ended from outside, for want of memory most "
                "likely. Run the command again where more memory is free."
            ) from error
