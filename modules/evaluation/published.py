"""The published search: free beams over all tokens, read as item numbers afterwards.

It is there for those who must reproduce the published figures. A sequence may be no item at all:
the published scripts put a random item in its place (direct) or leave it out (sequential); here it
is a miss, and counted.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from modules.decoding.beam import NONE, BeamOptions, Marks, beam_search
from modules.model.decoder import PrefixDecoder
from modules.runs.run import Run
from modules.tasks import NEW_TOKENS
from utils import distributed
from utils.console import say
from utils.errors import UserError

NO_ITEM = -1  # a place in a list without an item


class Misses(NamedTuple):
    """Sequences that are no item, of all that a search has returned."""

    sequences: int = 0
    no_number: int = 0
    no_item: int = 0  # a number that no item has
    repeated: int = 0  # an item that stands further up in the same list, in another spelling

    def __str__(self) -> str:
        """One line for the log."""
        return (
            f"{self.sequences:,} sequences: {self.no_number:,} no number, {self.no_item:,} the "
            f"number of no item, {self.repeated:,} an item of the same list once more"
        )


class PublishedSearch:
    """Beams of a batch -> its lists."""

    def __init__(
        self,
        decode: Callable[[list[list[int]]], list[str]],
        items: Mapping[int, int],
        num_beams: int,
    ) -> None:
        """
        Args:
            decode: token rows -> texts, special tokens left out.
            items: item by its number.
        """
        self._decode, self._items, self._num_beams = decode, items, num_beams
        self.misses = Misses()

    @classmethod
    def of(cls, run: Run, num_beams: int) -> "PublishedSearch":
        """The search of a run; UserError where its items are not written by numbers."""
        if run.record.own_tokens:
            raise UserError(
                "--decode published reads numbers, and this model's items are tokens of their own "
                "(--item_ids own). Leave it out, or train with other --item_ids."
            )
        numbers = run.numbers.tolist()
        items = {number: item for item, number in enumerate(numbers) if item}
        return cls(run.written, items, num_beams)

    def __call__(
        self, decoder: PrefixDecoder, marks: Marks, k: int, closes_up: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lists of a batch.

        Args:
            k: sequences returned for each row; they must not be more than there are beams.
            closes_up: what is no number is left out, as in the sequential task; else it takes a
                place, as in the direct one.

        Returns:
            (B, k) int64 items, NO_ITEM where a place has none and 0 behind a list; and (B, k)
            float32 scores: log-probability a token.
        """
        options = BeamOptions(self._num_beams, NEW_TOKENS, early_stopping=True)
        found = beam_search(decoder, options, marks)
        tokens, b = found.tokens[:, :k].flatten(0, 1).tolist(), decoder.batch_size
        texts = self._decode(tokens)
        lists = found.scores[:, :k].float().cpu().numpy()
        items = np.zeros((b, k), dtype=np.int64)
        scores = np.full((b, k), -np.inf, dtype=np.float32)
        for row in range(b):
            line = [
                (item, score)
                for item, score in zip(self.read(texts[row * k : (row + 1) * k]), lists[row])
                if score > NONE / 2 and (item or not closes_up)
            ]
            for place, (item, score) in enumerate(line):
                items[row, place], scores[row, place] = item or NO_ITEM, score
        return items, scores

    def read(self, texts: list[str]) -> list[int]:
        """The items of one list's texts: 0 = no number, NO_ITEM = no item, or one once more."""
        items, misses = [], self.misses._asdict()
        misses["sequences"] += len(texts)
        for text in texts:
            try:
                number = int(text.split(" ")[0])  # as published: the first word, as Python reads it
            except ValueError:
                misses["no_number"] += 1
                items.append(0)
                continue
            item = self._items.get(number)
            if item is None or item in items:
                misses["no_item" if item is None else "repeated"] += 1
                item = NO_ITEM
            items.append(item)
        self.misses = Misses(**misses)
        return items

    def account(self) -> dict[str, dict[str, int]]:
        """Say the misses of all processes; as an entry of the result."""
        every = [sum(counts) for counts in zip(*distributed.gather(tuple(self.misses)))]
        misses = Misses(*every)
        say(f"published search, {misses}")
        return {"published": misses._asdict()}
