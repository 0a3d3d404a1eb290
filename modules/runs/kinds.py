"""The types of what the JSON files of a run hold, each with its limits.

A file is converted to its type when it is read (``utils.json_files``), so what a type says is what
the code may use. Entries that no type names are left out; what older versions lack has defaults.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta

from modules.data.protocols import ITEM_IDS, PROTOCOLS
from modules.presets import ALIASES, PRESETS
from modules.tasks import METHODS, TASKS, WholeWords
from utils.limits import (
    Arguments,
    Checksums,
    Count,
    Figure,
    Figures,
    Name,
    Number,
    Score,
    Text,
    Versions,
)

TaskName = Literal[TASKS]


# ------------------------------------------------------------------ arguments that the code reads


@dataclass(frozen=True, kw_only=True)
class ModelArguments:
    """What a model is called by, of the arguments of its training."""

    method: Literal[tuple(METHODS)]
    tasks: Annotated[list[TaskName], Meta(min_length=1, max_length=10)] = field(
        default_factory=lambda: list(TASKS)
    )
    item_ids: Name = ""
    whole_words: dict[TaskName, Literal[tuple(scheme.value for scheme in WholeWords)]] = field(
        default_factory=dict
    )
    backbone: Text | None = None  # may be a path


@dataclass(frozen=True, kw_only=True)
class RunArguments(ModelArguments):
    """What evaluation reads of the arguments of a training."""

    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    negative_num: Number
    exp_len: Number
    protocol: Literal[PROTOCOLS]
    item_ids: Literal[ITEM_IDS]
    preset: Literal[(*PRESETS, *ALIASES)]
    tasks: Annotated[list[TaskName], Meta(min_length=1, max_length=10)]


@dataclass(frozen=True, kw_only=True)
class EvaluationArguments:
    """What tables and reports read of the arguments of an evaluation."""

    top_n: Number | None = None
    negative_num: Number | None = None
    linear: Score = 0.0
    seen: Name | None = None


class _Step(TypedDict):
    step: Count


class Resumed(_Step, total=False):
    """Where, and by which command, a run was continued."""

    command: Text
    versions: Versions
    commit: Name | None


# ---------------------------------------------------------------------------------- <task>.json


@dataclass(frozen=True)
class Group:
    """The users of one step of a breakdown: HR@10 and NDCG@10 of them."""

    low: Count
    high: Count | None  # inclusive; None: no upper end
    users: Count
    hr: Figure
    ndcg: Figure


# ``catalogue_figures`` of utils/metrics/catalogue.py: figures, metrics by name, breakdowns.
Catalogue = Annotated[
    dict[Name, Figure | Figures | Annotated[list[Group], Meta(max_length=100)]],
    Meta(max_length=100),
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a result says of the training of its model."""

    arguments: Arguments
    command: Text = ""
    versions: Versions = field(default_factory=dict)
    commit: Name | None = None
    resumed: list[Resumed] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """``<task>.json``: an evaluation of a model or of a baseline.

    Attributes:
        users: rows of ``<task>.jsonl``: users, or texts.
        candidates: fingerprint of what was ranked.
        training: of the model; None for a baseline.
        method, title: of a baseline.
        fingerprints: SHA-256 of each file of the data folder; {} in results of older versions.
        run_id: of the run, or of the baseline's record; "" in results of older versions.
        files: SHA-256 of each file that was written with this one; {} in older versions.
        target_seen: of how many users is the target an item that they had before?
        whole_lists: does every list hold all that could be listed?
        short_lists: lists with fewer items than asked for, though there are more.
        without_list: users that another program gave no list; they count as misses.
    """

    dataset: Name
    command: Text
    arguments: Arguments
    versions: Versions
    commit: Name | None
    held_out_edges_seen: Count
    held_out_records_seen: Count
    users: Number
    protocol: Name
    item_ids: Name
    seed: Count
    decode: Name
    metrics: Figures
    candidates: Name | None = None
    catalogue: Catalogue | None = None
    training: Training | None = None
    method: Name = ""
    title: Name = ""
    fingerprints: Checksums = field(default_factory=dict)
    run_id: Name = ""
    files: Checksums = field(default_factory=dict)
    target_seen: Count = 0
    whole_lists: bool = False
    short_lists: Count = 0
    without_list: Count = 0

    def __post_init__(self) -> None:
        if self.training is None and not self.method:
            raise ValueError("holds neither 'training', of a model, nor 'method', of a baseline")


# --------------------------------------------------------------------------------- lines of JSON


@dataclass(frozen=True, kw_only=True)
class RankedRow:
    """A line of the ``<task>.jsonl`` of a ranking: one user's list, best first.

    Attributes:
        items: 0 is a place that the published search gave to no item.
        rank: place of the target in the list, from 0; None where it is not in it.
        target_users, history_length, last_item_ids: not in files of older versions.
        titles: of the row's items, by original id; those that have one.
        reason: why the first item, as generated; of the rows that a report shows.
    """

    user: Number
    user_id: Text
    items: list[Count]
    item_ids: list[Text]
    scores: list[Score]
    target: Number
    target_id: Text
    rank: Count | None
    target_users: Count | None = None
    history_length: Count | None = None
    last_item_ids: list[Text] = field(default_factory=list)
    titles: dict[Text, Text] = field(default_factory=dict)
    reason: Text = ""

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.item_ids) == len(self.scores):
            raise ValueError("'items', 'item_ids' and 'scores' are not of one length")
        found = self.items.index(self.target) if self.target in self.items else None
        if self.rank != found:
            place = "not in 'items'" if found is None else f"at place {found} of 'items'"
            raise ValueError(f"'rank' is {self.rank}, but the target is {place}")
        items = [item for item in self.items if item]
        if len(set(items)) < len(items):
            raise ValueError("'items' holds an item twice")
        if len(self.last_item_ids) > (self.history_length or 0):
            raise ValueError("'last_item_ids' holds more items than 'history_length' says")


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """A line of explanation.jsonl."""

    user: Number
    item: Number
    reference: Text
    text: Text


# A task and a metric of it, with its depth.
_Ranked = Annotated[str, Meta(pattern=f"^({'|'.join(TASKS)}) [A-Za-z-]{{1,20}}@[0-9]{{1,4}}$")]


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of train_log.jsonl: losses of a stretch of steps, or a validation."""

    step: Count
    epoch: Count = 0
    train: dict[TaskName, Score] | None = None
    valid: dict[TaskName, Score] | None = None
    valid_mean: Score | None = None
    metrics: Annotated[dict[_Ranked, Figure], Meta(max_length=20)] = field(default_factory=dict)
    improved: bool = False


@dataclass(frozen=True, kw_only=True)
class BaselineRecord:
    """baseline.json: what a baseline's folder is of. Written before anything else is."""

    method: Name
    title: Name
    dataset: Name
    seed: Count
    command: Text
    arguments: Arguments
    versions: Versions
    commit: Name | None
    fingerprints: Checksums
    run_id: Name


ROWS: dict[str, Any] = {task: RankedRow for task in TASKS} | {"explanation": TextRow}


# ---------------------------------------------------------------------------------- verdict.json


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A model's mean figures over the users of a verdict."""

    title: Name
    hr: Figure  # HR@10
    ndcg: Figure  # NDCG@10


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference over the same users, and its 95 % interval."""

    mean: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """verdict.json: a trained model beside simple ones, by the items of validation users.

    Attributes:
        simple: best first, by NDCG@10.
        hr, ndcg: this model's figures less those of the first of ``simple``.
        same_first: share of users whose list begins as most lists do.
        items: different ones in all lists.
        texts: reasons written for first items of lists, and how many differ; 0: none were.
        improving: the last validation of the training was its best.
    """

    run_id: Name
    users: Number
    model: Compared
    simple: Annotated[list[Compared], Meta(min_length=1, max_length=100)]
    hr: Difference
    ndcg: Difference
    same_first: Figure
    items: Count
    texts: Count
    different_texts: Count
    improving: bool
    sentence: Text
    warnings: Annotated[list[Text], Meta(max_length=100)]
