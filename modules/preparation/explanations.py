"""``explanation.json`` from the reviews of the kept pairs: one record per pair, split 8:1:1.

The split agrees with leave-one-out, unlike the published one:

- The record of a user's test pair can only be a test record, that of the validation pair only a
  validation record. Neither is ever in train.
- A validation or test record is used only where its user and its item have train records.
- Validation and test each get an eighth as many records as train. Where leave-one-out gives more
  (with fewer than about ten items per user), that many are drawn, and the rest are left out of the
  file: moving them to train would reveal what is held out. Where it gives fewer, records of train
  pairs are moved there, as long as their user and item keep another one in train.

A review that is not in English, or is rated too low to be a reason, explains nothing (``Wanted``).

Texts are read twice, to learn features from a sample and to take sentences. Records wait in a
temporary file, so that memory does not grow with the texts.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from modules.preparation.crew import Crew, batches_of
from modules.preparation.features import (
    SAMPLE,
    Features,
    learn_features,
    sentence_explanations,
    sentences,
    title_explanations,
)
from modules.preparation.filters import Kept, Split
from modules.preparation.language import are_foreign
from modules.preparation.rows import Rows
from utils.files import whole_file

SPLITS = tuple(part.name.lower() for part in Split)  # their names in the file
MODES = {"sentence": sentence_explanations, "summary": title_explanations}
BATCH = 2000  # texts
_AT_ONCE = 1 << 20  # bytes of records
TRAIN_SHARES = 8  # of ten; validation and test get one each
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
UNSEEN, BEYOND = -1, -2  # instead of a Split: left out


@dataclass(frozen=True)
class Wanted:
    """Which reviews may explain, and by what.

    Attributes:
        mode: a key of MODES.
        language: "en": English only; or "any".
        from_rating: reviews rated lower, or not rated, explain nothing; None: all may.
    """

    mode: str
    language: str = "any"
    from_rating: float | None = None

    def refusals(self, reviews: Sequence[list[str]], ratings: Sequence[float]) -> list[str | None]:
        """Why each may not explain, as the account says it; None where it may. reviews: their
        sentences."""
        least, found = self.from_rating, [None] * len(reviews)
        if least is not None:
            low = f"not rated {least:g} or more"
            found = [None if rating >= least else low for rating in ratings]  # NaN: not rated
        places = [k for k, reason in enumerate(found) if reason is None]
        for k, foreign in zip(places, self._foreign([" ".join(reviews[k]) for k in places])):
            if foreign:
                found[k] = "not in English"
        return found

    def _foreign(self, texts: list[str]) -> list[bool]:
        return are_foreign(texts) if self.language == "en" else [False] * len(texts)

    def explanations(
        self, reviews: Sequence[list[str]], features: Features
    ) -> list[tuple[str, str] | None]:
        """(text, feature) of each; None where nothing of it fits the rule. reviews: of those that
        may explain, their sentences."""
        found: list[tuple[str, str] | None] = [None] * len(reviews)
        waiting = {k: MODES[self.mode](review, features) for k, review in enumerate(reviews)}
        while waiting:
            pairs = {k: pair for k, left in waiting.items() if (pair := next(left, None))}
            foreign = self._foreign([text for text, _ in pairs.values()])
            for (k, pair), passed_over in zip(pairs.items(), foreign):
                if not passed_over:
                    found[k] = pair
            waiting = {k: waiting[k] for k in pairs if found[k] is None}
        return found


def explain_pairs(
    read: Callable[[str], Iterable[Rows]],
    kept: Kept,
    wanted: Wanted,
    path: Path,
    rng: np.random.Generator,
    crew: Crew,
) -> dict[str, int]:
    """Write ``explanation.json``, if there are records for each split.

    Args:
        read: starts a pass over the raw file's texts (titles, for summaries), given the title of
            its progress bar.

    Returns:
        Records by split, and pairs without a record by reason; the sum is the number of pairs.
    """
    features = learn_features(sample_texts(read("features"), kept, wanted, rng), crew)
    work = partial(explain_batch, wanted, features)
    with TemporaryFile(dir=path.parent) as spool:
        pairs, refused = spool_records(read("explanations"), kept, work, spool, crew)
        split = split_records(kept, pairs, rng)
        counts = {name: int((split == part).sum()) for part, name in zip(Split, SPLITS)}
        if all(counts.values()):
            write_explanations(path, spool, split)
    counts |= refused
    counts["without an explanation"] = len(kept.rows) - len(pairs) - refused.total()
    counts["held out, user or item not in train"] = int((split == UNSEEN).sum())
    counts["held out, beyond an eighth of train"] = int((split == BEYOND).sum())
    return counts


def sample_texts(
    chunks: Iterable[Rows], kept: Kept, wanted: Wanted, rng: np.random.Generator
) -> Iterator[str]:
    """Texts of at most ``SAMPLE`` train pairs, drawn without repeats, in the order of the file;
    less those of them that may not explain."""
    rows = kept.rows[kept.held_out() == Split.TRAIN]
    if len(rows) > SAMPLE:
        rows = rng.choice(rows, SAMPLE, replace=False)
    for batch in batches_of(_texts_at(chunks, np.sort(rows)), BATCH):
        texts, ratings, _ = zip(*batch)
        for text, reason in zip(texts, wanted.refusals(list(map(sentences, texts)), ratings)):
            if reason is None:
                yield text


_Explained = tuple[str, str] | str | None  # text and feature, or why there may be none, or none


def explain_batch(
    wanted: Wanted, features: Features, batch: list[tuple[str, float, int]]
) -> list[tuple[_Explained, int]]:
    """What explains each pair. batch: texts, ratings, and numbers that are handed on."""
    texts, ratings, numbers = zip(*batch)
    reviews = list(map(sentences, texts))
    found: list[_Explained] = list(wanted.refusals(reviews, ratings))
    places = [k for k, reason in enumerate(found) if reason is None]
    for k, pair in zip(places, wanted.explanations([reviews[k] for k in places], features)):
        found[k] = pair
    return list(zip(found, numbers))


def spool_records(
    chunks: Iterable[Rows],
    kept: Kept,
    work: Callable[[list[tuple[str, float, int]]], list[tuple[_Explained, int]]],
    spool: BinaryIO,
    crew: Crew,
) -> tuple[np.ndarray, Counter[str]]:
    """Write the record of each pair that has one to ``spool``, in the order of the raw file.

    Args:
        work: ``explain_batch``, told what is wanted.

    Returns:
        (n,) int64: the pairs, as indices into ``kept``, in the order of the lines of ``spool``;
        and how many may not explain, by the reason.
    """
    order = np.argsort(kept.rows)
    pairs, refused = [], Counter()
    batches = batches_of(_texts_at(chunks, kept.rows[order]), BATCH)
    for batch in crew.map(work, batches, worth=8):
        for found, k in batch:
            if isinstance(found, str):
                refused[found] += 1
            elif found is not None:
                pair = order[k]
                record = {"user": int(kept.users[pair]), "item": int(kept.items[pair])}
                record |= {"explanation": found[0], "feature": found[1]}
                spool.write(_ENCODE(record).encode("utf-8") + b"\n")
                pairs.append(pair)
    return np.array(pairs, dtype=np.int64), refused


def _texts_at(chunks: Iterable[Rows], rows: np.ndarray) -> Iterator[tuple[str, float, int]]:
    """The texts of some rows of the raw file, and their ratings. rows: ascending; the third value
    is the index into them."""
    start = at = 0
    for chunk in chunks:
        end = start + len(chunk.texts)
        upto = int(np.searchsorted(rows, end))
        for k in range(at, upto):
            yield chunk.texts[rows[k] - start], chunk.ratings[rows[k] - start], k
        start, at = end, upto


def split_records(kept: Kept, pairs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The split of each record, by the rule above.

    Args:
        pairs: (n,) indices into ``kept`` of the pairs that have a record.

    Returns:
        (n,) int8: a Split; UNSEEN where user or item is in no train record, BEYOND where
        leave-one-out gives more than an eighth of train.
    """
    users, items = kept.users[pairs], kept.items[pairs]
    split = kept.held_out()[pairs]
    train = split == Split.TRAIN
    of_user = np.bincount(users[train], minlength=len(kept.user_names))
    of_item = np.bincount(items[train], minlength=len(kept.item_names))
    split[~train & ((of_user[users] == 0) | (of_item[items] == 0))] = UNSEEN
    have = [int((split == part).sum()) for part in Split]
    # The largest size of val and of test for which train can still be eight times as large.
    sizes = np.arange(have[Split.TRAIN] // TRAIN_SHARES + 1)
    moved = np.maximum(sizes - have[Split.VAL], 0) + np.maximum(sizes - have[Split.TEST], 0)
    size = max(int(sizes[TRAIN_SHARES * sizes + moved <= have[Split.TRAIN]][-1]), 1)
    movable = _movable(rng.permutation(np.flatnonzero(train)), users, items, of_user, of_item)
    for part in (Split.VAL, Split.TEST):
        if have[part] > size:
            drawn = rng.permutation(np.flatnonzero(split == part))
            split[drawn[size:]] = BEYOND
        for record in (record for _, record in zip(range(size - have[part]), movable)):
            split[record] = part
    return split


def _movable(
    order: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    of_user: np.ndarray,
    of_item: np.ndarray,
) -> Iterator[int]:
    """Train records that can leave train one after another, such that each user and item keeps
    one. of_user, of_item: train records of each; this function counts them down."""
    for record in order:
        user, item = users[record], items[record]
        if of_user[user] > 1 and of_item[item] > 1:
            of_user[user] -= 1
            of_item[item] -= 1
            yield record


def write_explanations(path: Path, spool: BinaryIO, split: np.ndarray) -> None:
    """``explanation.json``: the spool's lines, split by split."""
    with whole_file(path) as file:
        for part, name in zip(Split, SPLITS):
            file.write(b"%s%s: [\n" % (b", " if part else b"{", json.dumps(name).encode()))
            spool.seek(0)
            at, between = 0, b""
            while lines := spool.readlines(_AT_ONCE):
                its = split[at : at + len(lines)] == part
                at += len(lines)
                records = b"".join(compress(lines, its.tolist()))
                if records:
                    file.write(between + records[:-1].replace(b"\n", b",\n"))
                    between = b",\n"
            file.write(b"\n]")
        file.write(b"}\n")
