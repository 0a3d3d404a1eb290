"""Data folder -> ``RecDataset``: the four files of the P5 / POD format, checked line by line.

The only place that opens data files. It knows neither torch nor tokens: users and items are the
integers of the folder, 1 to U and 1 to I, everywhere in the program. How an item is *written* in
a prompt is another matter; ``item_numbers`` decides it (see "Two protocols" in the README).
"""

import hashlib
import json
import re
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.errors import UserError, limit

MIN_HISTORY = 4  # one test item, one validation item, and a sequence of two to train on
SPLITS = ("train", "val", "test")
PROTOCOLS = ("clean", "paper")
ITEM_IDS = ("random", "published")

_NUMBERS = re.compile(rb"[0-9]{1,18}(?:[ \t]+[0-9]{1,18})*")


class Explanations(NamedTuple):
    """One split of explanation.json, a row a record."""

    users: np.ndarray  # (n,) int32
    items: np.ndarray  # (n,) int32
    texts: tuple[str, ...]
    features: tuple[str, ...]  # "" where a record has none

    def select(self, keep: np.ndarray) -> "Explanations":
        """The records where ``keep`` (n,) bool is true."""
        rows = np.flatnonzero(keep)
        return Explanations(
            self.users[rows],
            self.items[rows],
            tuple(self.texts[r] for r in rows),
            tuple(self.features[r] for r in rows),
        )


@dataclass(frozen=True)
class RecDataset:
    """A checked data folder. Histories lie end to end in one array: user u's is
    ``items[offsets[u - 1]:offsets[u]]``, oldest first, its last item the test target, the one
    before it the validation target."""

    name: str
    folder: Path
    user_names: tuple[str, ...]  # original ids; [0] is "" so that user u is user_names[u]
    item_names: tuple[str, ...]  # likewise
    items: np.ndarray  # (interactions,) int32
    offsets: np.ndarray  # (U + 1,) int64
    negatives: np.ndarray | None  # (U, n) int32, row u - 1; None without negative.txt
    explanations: dict[str, Explanations] | None  # by split; None without explanation.json
    fingerprints: dict[str, str]  # file name -> SHA-256

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.user_names) - 1

    @property
    def n_items(self) -> int:
        """I."""
        return len(self.item_names) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(U,) interactions a user, held-out ones included."""
        return np.diff(self.offsets)

    def history(self, user: int) -> np.ndarray:
        """All items of a user, oldest first, the two held-out ones included."""
        return self.items[self.offsets[user - 1] : self.offsets[user]]

    @property
    def test_items(self) -> np.ndarray:
        """(U,) the last item of each user."""
        return self.items[self.offsets[1:] - 1]

    @property
    def valid_items(self) -> np.ndarray:
        """(U,) the last item but one of each user."""
        return self.items[self.offsets[1:] - 2]

    def pair_keys(self) -> np.ndarray:
        """Sorted unique ``user * (I + 1) + item`` of every interaction: what a user "had"."""
        users = np.repeat(np.arange(1, self.n_users + 1, dtype=np.int64), self.lengths)
        return np.unique(users * (self.n_items + 1) + self.items)

    def train_pairs(self) -> np.ndarray:
        """(2, E) int64 unique (user, item) pairs of the train part of the sequences."""
        keep = np.ones(len(self.items), dtype=bool)
        keep[self.offsets[1:] - 1] = False
        keep[self.offsets[1:] - 2] = False
        users = np.repeat(np.arange(1, self.n_users + 1, dtype=np.int64), self.lengths)
        keys = np.unique(users[keep] * (self.n_items + 1) + self.items[keep])
        return np.stack(np.divmod(keys, self.n_items + 1))


class TrainView(NamedTuple):
    """What a protocol lets training see, and how much of that is held out."""

    edges: np.ndarray  # (2, E) int64: user, item
    explanations: Explanations | None  # train records
    held_out_edges: int  # (user, validation or test item) pairs among the edges
    held_out_records: int  # ... and among the train records
    dropped_records: int  # train records left out because their pair is held out


def train_view(dataset: RecDataset, protocol: str) -> TrainView:
    """Edges of the graph and explanation records for training, by protocol.

    ``clean``: edges are the train interactions; records of held-out pairs leave training.
    ``paper``: edges are the pairs of the train records (the train interactions, where a set has
    no explanations), and all records train: about half of the test pairs are then seen.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {PROTOCOLS}")
    width = dataset.n_items + 1
    users = np.arange(1, dataset.n_users + 1, dtype=np.int64) * width
    targets = np.concatenate([users + dataset.valid_items, users + dataset.test_items])
    train = dataset.train_pairs()
    # An item bought again after it was held out is in train anyway: nothing leaks.
    held_out = np.setdiff1d(targets, train[0] * width + train[1])

    records = dataset.explanations["train"] if dataset.explanations else None
    dropped = seen_records = 0
    if records is not None:
        leaks = np.isin(records.users.astype(np.int64) * width + records.items, held_out)
        if protocol == "clean":
            dropped = int(leaks.sum())
            records = records.select(~leaks)
        else:
            seen_records = int(leaks.sum())
    if protocol == "paper" and records is not None:
        keys = np.unique(records.users.astype(np.int64) * width + records.items)
        edges = np.stack(np.divmod(keys, width))
    else:
        edges = train
    seen_edges = int(np.isin(edges[0] * width + edges[1], held_out).sum())
    return TrainView(edges, records, seen_edges, seen_records, dropped)


def item_numbers(scheme: str, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(I + 1,) int64: the number by which each item is written in prompts; [0] is 0.

    ``published`` is the folder's own numbering; ``random`` is a permutation of it, so that
    consecutive purchases no longer have consecutive numbers.
    """
    if scheme not in ITEM_IDS:
        raise ValueError(f"item numbering {scheme!r} is none of {ITEM_IDS}")
    numbers = np.arange(n_items + 1, dtype=np.int64)
    if scheme == "random":
        numbers[1:] = rng.permutation(numbers[1:])
    return numbers


# ------------------------------------------------------------------------------------ reading


def load_dataset(folder: str | Path) -> RecDataset:
    """Read and check a data folder.

    ``sequential.txt`` and ``datamaps.json`` must be there; ``negative.txt`` and
    ``explanation.json`` may be missing.

    Raises:
        UserError: naming the file and the line or record, for anything that is not as
            data/README.md describes it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"data folder {str(folder)!r} does not exist or is no folder. It holds "
            "sequential.txt and datamaps.json (see data/README.md)."
        )
    files = {name: folder / name for name in ("sequential.txt", "datamaps.json")}
    for path in files.values():
        if not path.is_file():
            raise UserError(f"{path}: no such file. Every data folder needs it (data/README.md).")
    user_names, item_names = _read_maps(files["datamaps.json"])
    n_users, n_items = len(user_names) - 1, len(item_names) - 1
    items, offsets = _read_sequences(files["sequential.txt"], n_users, n_items)

    negatives = explanations = None
    optional = folder / "negative.txt"
    if optional.is_file():
        files[optional.name] = optional
        negatives = _read_negatives(optional, items, offsets, n_items)
    optional = folder / "explanation.json"
    if optional.is_file():
        files[optional.name] = optional
        explanations = _read_explanations(optional, n_users, n_items)
    return RecDataset(
        name=folder.resolve().name,
        folder=folder,
        user_names=user_names,
        item_names=item_names,
        items=items,
        offsets=offsets,
        negatives=negatives,
        explanations=explanations,
        fingerprints={
            name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
        },
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno}: broken JSON ({error.msg}). "
            "The file may have been cut short."
        ) from error


def _read_maps(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    maps = _read_json(path)
    names = []
    for key in ("id2user", "id2item"):
        table = maps.get(key) if isinstance(maps, dict) else None
        if not isinstance(table, dict) or not table:
            raise UserError(f"{path}: key {key!r} must hold a map such as {{\"1\": \"A1YJ...\"}}.")
        row = [""]
        for number in range(1, len(table) + 1):
            name = table.get(str(number))
            if not isinstance(name, str):
                raise UserError(
                    f"{path}: {key} has {len(table)} entries but {str(number)!r} is "
                    f"{limit(name)}. Ids run from 1 to the number of entries without gaps, and "
                    "each maps to a string."
                )
            row.append(name)
        names.append(tuple(row))
    return names[0], names[1]


def _read_rows(path: Path, n_users: int, n_items: int) -> tuple[list[int], array, list[int]]:
    """Lines ``user item item ...`` -> (users, flat items, row ends); every id checked."""
    users: list[int] = []
    flat = array("q")
    ends: list[int] = []
    line_of: dict[int, int] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
            where = f"{path}, line {number}"
            if not line:
                raise UserError(f"{where}: the line is blank. Each line is: user item item ...")
            if not _NUMBERS.fullmatch(line):
                word = next(w for w in line.split() if not re.fullmatch(rb"[0-9]{1,18}", w))
                raise UserError(
                    f"{where}: {limit(word.decode('utf-8', 'replace'))} is not an id. Ids are "
                    "whole numbers from 1 up, written in digits."
                )
            user, *row = map(int, line.split())
            if not 1 <= user <= n_users:
                raise UserError(
                    f"{where}: user {user} is not in datamaps.json, which has users 1 to {n_users}."
                )
            if user in line_of:
                raise UserError(
                    f"{where}: user {user} stands already on line {line_of[user]}. A user has one line."
                )
            if row and not (1 <= min(row) and max(row) <= n_items):
                bad = next(i for i in row if not 1 <= i <= n_items)
                raise UserError(
                    f"{where}: item {bad} is not in datamaps.json, which has items 1 to {n_items}."
                )
            line_of[user] = number
            users.append(user)
            flat.extend(row)
            ends.append(len(flat))
    if not users:
        raise UserError(f"{path}: the file is empty. Each line is: user item item ...")
    if len(users) < n_users:
        missing = next(u for u in range(1, n_users + 1) if u not in line_of)
        raise UserError(
            f"{path}: user {missing} of datamaps.json has no line; {len(users)} of {n_users} have."
        )
    return users, flat, ends


def _read_sequences(path: Path, n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    users, flat, ends = _read_rows(path, n_users, n_items)
    values = np.frombuffer(flat, dtype=np.int64).astype(np.int32)
    lengths = np.diff(np.asarray([0, *ends], dtype=np.int64))
    short = np.flatnonzero(lengths < MIN_HISTORY)
    if short.size:
        row = int(short[0])
        raise UserError(
            f"{path}, line {row + 1}: user {users[row]} has {lengths[row]} items, fewer than "
            f"{MIN_HISTORY}. Leave-one-out needs a test item, a validation item and two more."
        )
    order = np.argsort(np.asarray(users))  # lines may come in any order
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    starts = np.concatenate([[0], ends[:-1]])[order]
    gather = np.repeat(starts - offsets[:-1], lengths[order]) + np.arange(len(values))
    return values[gather], offsets


def _read_negatives(
    path: Path, items: np.ndarray, offsets: np.ndarray, n_items: int
) -> np.ndarray:
    n_users = len(offsets) - 1
    users, flat, ends = _read_rows(path, n_users, n_items)
    counts = np.diff(np.asarray([0, *ends]))
    values = np.frombuffer(flat, dtype=np.int64).astype(np.int32)
    for row, user in enumerate(users):
        where = f"{path}, line {row + 1}"
        if counts[row] != counts[0] or counts[row] == 0:
            raise UserError(
                f"{where}: user {user} has {counts[row]} negatives, the first line {counts[0]}. "
                "Each line needs as many, and at least one."
            )
        drawn = values[ends[row] - counts[row] : ends[row]]
        if len(np.unique(drawn)) < len(drawn):
            seen, times = np.unique(drawn, return_counts=True)
            raise UserError(f"{where}: negative {seen[times > 1][0]} is there twice.")
        had = np.intersect1d(drawn, items[offsets[user - 1] : offsets[user]])
        if had.size:
            raise UserError(
                f"{where}: negative {had[0]} is an item that user {user} had (sequential.txt)."
            )
    return values.reshape(n_users, -1)[np.argsort(np.asarray(users))]


def _read_explanations(path: Path, n_users: int, n_items: int) -> dict[str, Explanations]:
    data = _read_json(path)
    if not isinstance(data, dict) or any(not isinstance(data.get(s), list) for s in SPLITS):
        raise UserError(f"{path}: must be a map with the lists 'train', 'val' and 'test'.")
    return {
        split: _checked_records(f"{path}, {split}", data[split], n_users, n_items)
        for split in SPLITS
    }


def _checked_records(where: str, records: list, n_users: int, n_items: int) -> Explanations:
    if not records:
        raise UserError(f"{where}: the list is empty; each split needs a record.")
    users, items, texts, features = [], [], [], []
    for row, record in enumerate(records):
        at = f"{where}[{row}]"
        if not isinstance(record, dict):
            raise UserError(f"{at}: {limit(record)} is no record (a map with user, item, explanation).")
        for key, top in (("user", n_users), ("item", n_items)):
            value = record.get(key)
            if type(value) is not int or not 1 <= value <= top:
                raise UserError(f"{at}: {key!r} is {limit(value)}; a whole number from 1 to {top} is due.")
        text, feature = record.get("explanation"), record.get("feature", "")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{at}: 'explanation' is {limit(text)}; a text that is not blank is due.")
        if not isinstance(feature, str):
            raise UserError(f"{at}: 'feature' is {limit(feature)}; a text is due.")
        users.append(record["user"])
        items.append(record["item"])
        texts.append(text)
        features.append(feature)
    return Explanations(
        np.asarray(users, dtype=np.int32),
        np.asarray(items, dtype=np.int32),
        tuple(texts),
        tuple(features),
    )
