"""The id words and template texts of prompts, tokenised once, and the targets.

A prompt is put together from *pieces*: every word that names a user or an item, and every stretch
of template text between them, is tokenised when the data set is loaded. SentencePiece never joins
characters across a space, so these pieces side by side are what the tokenizer makes of the whole
text (tests/loader/test_pieces.py checks it).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from modules.loader.ragged import Ragged
from modules.loader.tokenizer import as_text, encode_texts
from modules.tasks import TEMPLATES, Task

IGNORED = -100  # label of a pad position: PyTorch's cross entropy does not score it


class Template(NamedTuple):
    """A prompt template as pieces: chunk, mention(s), chunk, mention(s), chunk + end mark."""

    chunks: tuple[int, int, int]  # rows of PromptPieces.pieces
    user_first: bool


class PromptPieces(NamedTuple):
    """Everything a prompt or a target is made of, tokenised once."""

    pieces: Ragged  # rows: users 0..U (0 unused), items U+1..U+1+I, template chunks
    n_users: int
    n_items: int
    templates: dict[Task, tuple[Template, ...]]
    item_targets: Ragged  # row i: item i's number and the end mark; row 0 is the end mark alone
    pad: int
    eos: int

    def user_rows(self, users: np.ndarray) -> np.ndarray:
        """Rows of ``user_<u>`` in ``pieces``."""
        return users.astype(np.int64)

    def item_rows(self, items: np.ndarray) -> np.ndarray:
        """Rows of ``item_<number>`` in ``pieces``."""
        return items.astype(np.int64) + (self.n_users + 1)


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def render(template: str, user: int, numbers: Sequence[int]) -> str:
    """A template as text, items written by their numbers: what pieces are put together to."""
    mentions = " ".join(f"item_{number}" for number in numbers)
    return template.format(user=f"user_{user}", items=mentions)


def prompt_pieces(
    tokenizer: PreTrainedTokenizerBase, n_users: int, numbers: np.ndarray, own: bool = False
) -> PromptPieces:
    """Tokenise all id words, template chunks and item targets.

    Args:
        tokenizer: T5's, or one from ``train_tokenizer``.
        n_users: U.
        numbers: (I + 1,) the number by which each item is written.
        own: items are tokens of their own (``add_item_tokens``), in targets too.
    """
    n_items = len(numbers) - 1
    chunks: list[str] = []
    templates = {}
    for task, texts in TEMPLATES.items():
        rows = []
        for text in texts:
            before, slot, between, _, after = re.split(r"\{(user|items)\}", text)
            base = n_users + 1 + n_items + 1 + len(chunks)
            chunks += [before, between, after]
            rows.append(Template((base, base + 1, base + 2), slot == "user"))
        templates[task] = tuple(rows)
    eos = tokenizer.eos_token_id
    chunk_tokens = _tokenize(tokenizer, [chunk.strip() for chunk in chunks])
    for last in range(2, len(chunk_tokens), 3):
        chunk_tokens[last].append(eos)
    mentions = _tokenize(
        tokenizer,
        [f"user_{u}" for u in range(n_users + 1)] + [f"item_{n}" for n in numbers.tolist()],
    )
    answers = [f"item_{n}" if own else str(n) for n in numbers[1:].tolist()]
    targets = [[*row, eos] for row in _tokenize(tokenizer, answers)]
    return PromptPieces(
        pieces=Ragged.of(mentions + chunk_tokens),
        n_users=n_users,
        n_items=n_items,
        templates=templates,
        item_targets=Ragged.of([[eos], *targets]),
        pad=tokenizer.pad_token_id,
        eos=eos,
    )


def text_targets(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> tuple[Ragged, list[str]]:
    """Explanations as targets: the text and its end mark, cut to ``max_tokens`` tokens. As
    published, a text that is cut teaches no end.

    Returns:
        the targets, and the cut texts, which are the references of the text metrics. Both hold
        every word of the texts, ``</s>`` or ``item_5`` too.
    """
    encoded = encode_texts(tokenizer, texts)
    references = [as_text(tokenizer, *pair, max_tokens) for pair in zip(texts, encoded)]
    rows = [[*tokens.ids, tokenizer.eos_token_id][:max_tokens] for tokens in encoded]
    return Ragged.of(rows), references
