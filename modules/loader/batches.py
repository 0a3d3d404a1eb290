"""Prompts put together: samples (numpy) + ``PromptPieces`` -> ``Batch`` (tensors).

A whole batch is made at once; there is no loop over samples and no tokenizer call.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from modules.loader.pieces import IGNORED, PromptPieces
from modules.loader.ragged import Ragged
from modules.tasks import Task, WholeWords
from utils.errors import UserError

POSITION_ROWS = 512  # rows of the position table: mentions a prompt may hold, and row 0


class BatchSize(NamedTuple):
    """Where a batch ends: at so many samples, or at so many prompt tokens, pads counted."""

    samples: int
    tokens: int | None = None
    in_order: bool = False  # the samples as they come, not those of like length together


class Batch(NamedTuple):
    """One batch of one task. S and T are the longest prompt and target of the batch."""

    task: Task
    input_ids: torch.Tensor  # (B, S) int64
    attention_mask: torch.Tensor  # (B, S) int64: 1 on tokens, 0 on pads
    whole_word_ids: torch.Tensor  # (B, S) int64: 0 = no whole word
    # (N, T) int64: -100 behind the target; N = B, or more with ``target_places``.
    labels: torch.Tensor
    users: torch.Tensor  # (B,) int64
    items: torch.Tensor | None = None  # (N,) int64: the target items; None: targets are texts
    # (N, 2) int64: row and position of the encoder state that each target is predicted from; None:
    # from all states of its own row.
    target_places: torch.Tensor | None = None
    # (2, n) int64: the nodes of the edges that the whole step asks about, which the graph of the
    # step is without; item 0: all edges of the user. None: the whole graph.
    own_edges: torch.Tensor | None = None
    # (3, n) int64: row, item and age (the last one's is 0) of each item of the rows' histories, for
    # item graphs. None: no item graph, or in training.
    histories: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device; to a GPU from pinned memory, which nobody waits for."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            tensor = tensor.pin_memory() if device.type == "cuda" else tensor
            return tensor.to(device, non_blocking=True)

        return self.each(moved)

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        """The batch with every tensor of it changed."""
        return Batch(self.task, *(None if x is None else change(x) for x in self[1:]))


class Samples(NamedTuple):
    """What a batch is about, before any text: users, their item lists, targets, templates.

    N = B, a target a row; or, with ``every``, one after each item of a row.
    """

    users: np.ndarray  # (B,)
    items: Ragged  # (B rows): the items of the prompt's item slot
    targets: Ragged  # (N rows): target tokens, end mark included
    templates: np.ndarray  # (B,) rows of TEMPLATES[task]
    target_items: np.ndarray | None = None  # (N,); None: targets are texts
    every: bool = False

    def select(self, rows: np.ndarray) -> "Samples":
        """The named rows, in that order."""
        own = rows
        if self.every:
            places = np.arange(len(self.items.flat), dtype=np.int32)
            own = Ragged(places, self.items.starts).gather(rows).flat
        return Samples(
            self.users[rows],
            self.items.gather(rows),
            self.targets.gather(own),
            self.templates[rows],
            None if self.target_items is None else self.target_items[own],
            self.every,
        )


# ---------------------------------------------------------------------------------- prompts


def prompt_lengths(task: Task, samples: Samples, pieces: PromptPieces) -> np.ndarray:
    """(B,) tokens of each prompt, end mark included."""
    tokens = pieces.pieces.lengths
    chunks = np.array([tokens[list(t.chunks)].sum() for t in pieces.templates[task]])
    total = np.concatenate([[0], np.cumsum(tokens[pieces.item_rows(samples.items.flat)])])
    of_items = total[samples.items.starts[1:]] - total[samples.items.starts[:-1]]
    return chunks[samples.templates] + tokens[pieces.user_rows(samples.users)] + of_items


def make_batch(
    task: Task,
    samples: Samples,
    pieces: PromptPieces,
    scheme: WholeWords,
    causal: bool = False,
    pad_to: int = 1,
) -> Batch:
    """Put prompts together from pieces, with the whole-word id of every token.

    A prompt is five words or more: chunk, user, chunk, item ..., chunk (or items before the
    user); all tokens of a mention carry its id, all tokens of a chunk 0.

    Args:
        causal: targets are predicted from the last token of an item: the last item's, or with
            ``samples.every`` each one's.
        pad_to: S is a multiple of this.

    Raises:
        UserError: where a prompt has more mentions than the position table has rows.
    """
    counts = samples.items.lengths
    places = _places(task, samples, pieces)
    words, whole = places.words, _whole_words(samples, pieces, scheme, places)
    tokens = pieces.pieces.gather(words)
    row_starts = np.concatenate([[0], tokens.starts[places.first + counts + 4]])
    input_ids = Ragged(tokens.flat, row_starts).padded(pieces.pad, pad_to)
    whole_ids = Ragged(np.repeat(whole, tokens.lengths), row_starts).padded(0, pad_to)
    target_places = None
    if causal:
        last = slice(None) if samples.every else samples.items.starts[1:] - 1
        row = places.row_of_item[last]
        place = tokens.starts[places.items[last] + 1] - 1 - row_starts[row]
        target_places = torch.from_numpy(np.stack([row, place], axis=1))
    items = samples.target_items
    mask = np.arange(input_ids.shape[1]) < np.diff(row_starts)[:, None]
    return Batch(
        task,
        torch.from_numpy(input_ids),
        torch.from_numpy(mask.astype(np.int64)),
        torch.from_numpy(whole_ids),
        torch.from_numpy(samples.targets.padded(IGNORED)),
        torch.from_numpy(samples.users.astype(np.int64)),
        None if items is None else torch.from_numpy(items.astype(np.int64)),
        target_places,
    )


class _Places(NamedTuple):
    """Where each word of B prompts is, all prompts end to end."""

    words: np.ndarray  # (words,) rows of PromptPieces.pieces
    first: np.ndarray  # (B,) each prompt's first word
    user: np.ndarray  # (B,) its user mention
    user_first: np.ndarray  # (B,) bool: the user comes before the items
    items: np.ndarray  # (items,) each item mention
    row_of_item: np.ndarray  # (items,) its prompt
    nth: np.ndarray  # (items,) its place among the prompt's items, from 0


def _places(task: Task, samples: Samples, pieces: PromptPieces) -> _Places:
    counts = samples.items.lengths
    first = np.concatenate([[0], np.cumsum(counts + 4)[:-1]])
    chosen = pieces.templates[task]
    chunks = np.array([t.chunks for t in chosen])[samples.templates]  # (B, 3)
    user_first = np.array([t.user_first for t in chosen])[samples.templates]
    user = first + np.where(user_first, 1, counts + 2)
    row_of_item = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(len(row_of_item)) - samples.items.starts[row_of_item]
    items = first[row_of_item] + np.where(user_first, 3, 1)[row_of_item] + nth
    words = np.empty(int((counts + 4).sum()), dtype=np.int64)
    words[first] = chunks[:, 0]
    words[first + np.where(user_first, 2, counts + 1)] = chunks[:, 1]
    words[first + counts + 3] = chunks[:, 2]
    words[user] = pieces.user_rows(samples.users)
    words[items] = pieces.item_rows(samples.items.flat)
    return _Places(words, first, user, user_first, items, row_of_item, nth)


def _whole_words(
    samples: Samples, pieces: PromptPieces, scheme: WholeWords, places: _Places
) -> np.ndarray:
    """(words,) int64: the whole-word id of each word; 0 = no mention."""
    whole = np.zeros_like(places.words)
    if scheme is WholeWords.GRAPH:
        whole[places.user] = samples.users
        whole[places.items] = samples.items.flat.astype(np.int64) + pieces.n_users
        return whole
    counts = samples.items.lengths
    if counts.max() + 2 > POSITION_ROWS:
        raise UserError(
            f"a prompt with {counts.max()} items has more mentions than the position table "
            f"has rows ({POSITION_ROWS}): lower --negative_num below {POSITION_ROWS - 3}."
        )
    whole[places.user] = np.where(places.user_first, 1, counts + 1)
    whole[places.items] = places.nth + np.where(places.user_first, 2, 1)[places.row_of_item]
    return whole


def cut_by_length(lengths: np.ndarray, size: BatchSize) -> list[np.ndarray]:
    """Batches of like length: rows of (n,) ``lengths``, longest first, so that a lack of memory
    shows at once. A batch ends at ``size``, or, once it is half full, where the length changes: a
    batch without pads needs no mask. With ``size.in_order`` they are just so many rows each.
    """
    if size.in_order:
        rows = np.arange(len(lengths))
        return [rows[at : at + size.samples] for at in range(0, len(rows), size.samples)]
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    batches, at = [], 0
    while at < len(order):
        fits = size.tokens // int(ordered[at]) if size.tokens else size.samples
        end = min(at + max(1, min(size.samples, fits)), len(order))
        half = (at + end + 1) // 2
        changes = np.flatnonzero(ordered[half:end] != ordered[half - 1])
        end = half + int(changes[0]) if changes.size else end
        batches.append(order[at:end])
        at = end
    return batches
