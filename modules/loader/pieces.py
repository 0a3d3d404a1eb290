"""Text -> tokens: the tokenizer, the id words tokenised once, and the trie of item numbers.

The only place where text becomes tokens. A prompt is put together from *pieces*: every word
that names a user or an item, and every stretch of template text between them, is tokenised when
the data set is loaded. SentencePiece never joins characters across a space, so these pieces side
by side are what the tokenizer makes of the whole text (tests/loader/test_pieces.py holds it to that).
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
from transformers import AddedToken, PreTrainedTokenizerBase, T5Tokenizer

from modules.tasks import TEMPLATES, Task
from utils.errors import UserError
from utils.files import readable

TOKENIZER_FILES = ("tokenizer.json", "spiece.model")  # either will do
IGNORED = -100  # label of a pad position: PyTorch's cross entropy does not score it
TEXT_VOCABULARY = 4000  # upper bound of text pieces of a tokenizer trained on a data set

TEXT_SCORE = -10.0  # of each text piece: the best segmentation is the one with fewest pieces

# Numbers are written two digits a piece, counted from the right ("12345" -> "1 23 45"): few
# tokens, and a trie of 325 prefixes over Beauty's items. Score 0 is the best that a unigram
# model can give, and at a tie the longer last piece wins.
_DIGITS = [f"{i:02d}" for i in range(100)] + [str(i) for i in range(10)]
_ID_PIECES = ["▁user_", "▁item_", *("▁" + d for d in _DIGITS), *_DIGITS]


def train_tokenizer(texts: Iterable[str]) -> T5Tokenizer:
    """A tokenizer for the built-in backbones: pieces for id words, and SentencePiece pieces
    learned from ``texts`` and the prompt templates. Needs no network and no file.

    The pieces are learned by byte-pair merges (the unigram trainer gives up on small corpora)
    and used with equal scores: a text becomes as few of them as possible.
    """
    words = [re.sub(r"\{\w+\}|\d", " ", text) for row in TEMPLATES.values() for text in row]
    words += [re.sub(r"\d", " ", text) for text in texts]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_writer=model,
        model_type="bpe",
        vocab_size=TEXT_VOCABULARY,
        hard_vocab_limit=False,  # a small corpus holds fewer
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, 0.0) for piece in _ID_PIECES]
    vocabulary += [(trained.IdToPiece(i), TEXT_SCORE) for i in range(3, trained.GetPieceSize())]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def load_tokenizer(source: str | Path, flag: str = "") -> PreTrainedTokenizerBase:
    """T5's tokenizer from a hub name or a folder.

    Args:
        source: of the tokenizer.
        flag: by which the user named it, for errors.

    Raises:
        UserError: where a folder has none, or a damaged one.
    """
    folder = Path(source)
    where = f"{flag} {source}".strip()
    if not folder.is_dir():
        return T5Tokenizer.from_pretrained(source)
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        # transformers would make a tokenizer without a single word.
        raise UserError(
            f"{where}: the folder has no {' and no '.join(TOKENIZER_FILES)}. Put T5's tokenizer "
            "there."
        )
    with readable(f"{where}, the tokenizer in it"):
        return T5Tokenizer.from_pretrained(source)


def add_item_tokens(tokenizer: PreTrainedTokenizerBase, n_items: int) -> np.ndarray:
    """Make ``item_1`` .. ``item_<I>`` a token each; their (I,) token ids, by number."""
    mentions = [f"item_{number}" for number in range(1, n_items + 1)]
    how = {"single_word": True, "lstrip": True, "normalized": False}
    tokenizer.add_tokens([AddedToken(mention, **how) for mention in mentions])
    return np.array(tokenizer.convert_tokens_to_ids(mentions))


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """UserError where a tokenizer has more tokens than a model; fewer are usual with T5."""
    if len(tokenizer) > size:
        raise UserError(
            f"{name}: the tokenizer has {len(tokenizer):,} tokens, but the model knows {size:,}. "
            "Name the tokenizer that it was trained with."
        )


class Ragged(NamedTuple):
    """Rows of different lengths end to end: row r is ``flat[starts[r]:starts[r + 1]]``."""

    flat: np.ndarray  # (tokens,) int32
    starts: np.ndarray  # (rows + 1,) int64

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> "Ragged":
        """Lay rows of ids end to end."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        flat = np.fromiter((t for row in rows for t in row), dtype=np.int32, count=int(starts[-1]))
        return cls(flat, starts)

    @classmethod
    def of_matrix(cls, matrix: np.ndarray) -> "Ragged":
        """The rows of a matrix, all of one length."""
        n, width = matrix.shape
        return cls(matrix.reshape(-1).astype(np.int32), np.arange(n + 1, dtype=np.int64) * width)

    @property
    def lengths(self) -> np.ndarray:
        """(rows,) int64."""
        return np.diff(self.starts)

    def gather(self, rows: np.ndarray) -> "Ragged":
        """The named rows, in that order."""
        lengths = self.lengths[rows]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        index = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Ragged(self.flat[index], starts)

    def padded(self, fill: int, multiple: int = 1) -> np.ndarray:
        """(rows, longest) int64, ``fill`` behind the end of each row; the width is rounded up to
        a ``multiple``."""
        lengths = self.lengths
        width = -(-int(lengths.max(initial=0)) // multiple) * multiple
        out = np.full((len(lengths), width), fill, dtype=np.int64)
        out[np.arange(width) < lengths[:, None]] = self.flat
        return out


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
    """A template as text, items written by their numbers: what ``PromptPieces`` stands for."""
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
    """Explanations as targets: cut to ``max_tokens`` tokens, end mark added.

    Returns:
        the targets, and the cut texts, which are the references of the text metrics.
    """
    cut = [row[:max_tokens] for row in _tokenize(tokenizer, texts)]
    references = tokenizer.batch_decode(cut, skip_special_tokens=True)
    return Ragged.of([[*row, tokenizer.eos_token_id] for row in cut]), references


class ItemTrie(NamedTuple):
    """The trie over all item targets. A node is a prefix of some target; node 0 is the root.

    Nodes are numbered level by level, so a parent's number is below its children's. Item i's
    target t_1 .. t_m (t_m the end mark) leaves nodes ``paths[i, 0] .. paths[i, m - 1]`` by the
    tokens ``vocabulary[columns[i, 0]] ..``.
    """

    tokens: np.ndarray  # (N,) int64: the token that leads into a node; decoder start at the root
    parents: np.ndarray  # (N,) int64; -1 at the root
    depths: np.ndarray  # (N,) int64
    paths: np.ndarray  # (I + 1, T) int64, -1 behind the end; row 0 is all -1
    columns: np.ndarray  # (I + 1, T) int64, -1 behind the end
    vocabulary: np.ndarray  # (V',) int64: the tokens that targets are made of, ascending


def build_trie(targets: Ragged, start_token: int) -> ItemTrie:
    """Build the trie of ``targets`` (row 0 is no item), level by level."""
    tokens = targets.gather(np.arange(1, len(targets.starts) - 1)).padded(-1)
    n_items, depth = tokens.shape
    vocabulary = np.unique(tokens[tokens >= 0])
    columns = np.where(tokens >= 0, np.searchsorted(vocabulary, tokens), -1)
    paths = np.full((n_items, depth), -1, dtype=np.int64)
    paths[:, 0] = 0
    node_tokens, parents, depths = [[start_token]], [[-1]], [[0]]
    count = 1
    for level in range(1, depth):
        alive = np.flatnonzero(tokens[:, level] >= 0)
        keys = paths[alive, level - 1] * len(vocabulary) + columns[alive, level - 1]
        unique, inverse = np.unique(keys, return_inverse=True)
        paths[alive, level] = count + inverse
        parent, column = np.divmod(unique, len(vocabulary))
        node_tokens.append(vocabulary[column])
        parents.append(parent)
        depths.append(np.full(len(unique), level))
        count += len(unique)
    pad = np.full((1, depth), -1, dtype=np.int64)
    return ItemTrie(
        tokens=np.concatenate(node_tokens).astype(np.int64),
        parents=np.concatenate(parents).astype(np.int64),
        depths=np.concatenate(depths).astype(np.int64),
        paths=np.concatenate([pad, paths]),
        columns=np.concatenate([pad, columns]),
        vocabulary=vocabulary,
    )
