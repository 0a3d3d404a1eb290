"""T5's tokenizer: from a folder or the hub, made from a data set, with item tokens added."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import sentencepiece
from tokenizers import Encoding, Tokenizer
from tokenizers.models import Unigram
from transformers import AddedToken, PreTrainedTokenizerBase, T5Tokenizer

from modules.tasks import TEMPLATES
from utils.errors import UserError
from utils.files import readable

TOKENIZER_FILES = ("tokenizer.json", "spiece.model")  # either will do
TEXT_VOCABULARY = 4000  # upper bound of text pieces of a tokenizer trained on a data set
CHARACTERS = 3000  # that have a piece, the most frequent; Chinese texts hold more

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
    frequent = Counter(chain.from_iterable(words)).most_common()
    rare = str.maketrans(dict.fromkeys((c for c, _ in frequent[CHARACTERS:]), " "))
    words = [word.translate(rare) for word in words] if rare else words
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


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[Encoding]:
    """What people wrote as tokens, without an end mark: ``</s>``, ``<pad>`` or ``item_5`` in it are
    words like any other, never the tokens of these names. Otherwise as ``tokenizer`` does it."""
    # The tokenizer's own switch, split_special_tokens, leaves the names in the vocabulary itself.
    known = json.loads(tokenizer.backend_tokenizer.to_str())
    names = {token["content"] for token in known["added_tokens"]}
    # No text has a piece with a blank in it, for texts are split at blanks first.
    pieces = [
        (f" {piece}" if piece in names else piece, score)
        for piece, score in known["model"]["vocab"]
    ]
    plain = Tokenizer(Unigram(pieces, known["model"]["unk_id"]))
    plain.normalizer = tokenizer.backend_tokenizer.normalizer
    plain.pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
    return plain.encode_batch(list(texts), add_special_tokens=False)


def as_text(tokenizer: PreTrainedTokenizerBase, text: str, tokens: Encoding, end: int) -> str:
    """The first ``end`` tokens of a text as text again; as written, what the vocabulary lacks.

    tokens: of ``text``, by ``encode_texts``.
    """
    parts = zip(tokens.ids[:end], tokens.tokens, tokens.offsets)
    unknown = tokenizer.unk_token_id
    words = [text[slice(*at)] if number == unknown else piece for number, piece, at in parts]
    found = tokenizer.backend_tokenizer.decoder.decode(words)
    # "hair ." -> "hair.", where the tokenizer's own decoding, of what a model writes, does so.
    cleans = tokenizer.clean_up_tokenization_spaces
    return tokenizer.clean_up_tokenization(found) if cleans else found


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """UserError where a tokenizer has more tokens than a model; fewer are usual with T5."""
    if len(tokenizer) > size:
        raise UserError(
            f"{name}: the tokenizer has {len(tokenizer):,} tokens, but the model knows {size:,}. "
            "Name the tokenizer that it was trained with."
        )
