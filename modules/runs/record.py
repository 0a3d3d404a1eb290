"""``RunRecord``: what run.json says of a training, read strictly and passed whole."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from modules.data.dataset import RecDataset
from modules.data.protocols import ITEM_IDS, PROTOCOLS
from modules.presets import ALIASES, PRESETS
from modules.tasks import METHODS, TASKS, Task, WholeWords, schemes
from utils.errors import UserError, limit
from utils.json_files import read_json
from utils.provenance import provenance

RUN_FILE = "run.json"
# Arguments that say where files are, and whether others may go, but not what is made.
PLACES = {"checkpoint", "out", "data_dir", "tensorboard", "resume", "overwrite"}

# What evaluation reads of a record, and what it must be.
_KINDS = {str: "a text", int: "a whole number", dict: "a map", NoneType: "null"}
_ENTRIES: dict[str, tuple[type, ...]] = {
    "dataset": (str,),
    "command": (str,),
    "commit": (str, NoneType),  # null: not run from a git repository
    "versions": (dict,),
    "arguments": (dict,),
    "fingerprints": (dict,),
    "files": (dict,),
    "held_out_edges_seen": (int,),
    "held_out_records_seen": (int,),
}
_ARGUMENTS: dict[str, range | Sequence[str]] = {
    "seed": range(2**32),
    "negative_num": range(1, 2**31),
    "exp_len": range(1, 2**31),
    "protocol": PROTOCOLS,
    "item_ids": ITEM_IDS,
    "preset": (*PRESETS, *ALIASES),
    "method": tuple(METHODS),
}


@dataclass(frozen=True)
class RunRecord:
    """A training: how it was started, on what, and what of the held-out pairs it saw.

    Attributes:
        arguments: the settings of the run by the names of the flags.
        fingerprints: SHA-256 of each file of the data folder.
        files: SHA-256 of the tokenizer's files and of the item numbers.
        resumed: where, and by which command, the run was continued.
        run_id: the same in all files of the run; "" in runs of older versions.
    """

    command: str
    arguments: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    dataset: str
    held_out_edges_seen: int
    held_out_records_seen: int
    fingerprints: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    run_id: str = ""

    @classmethod
    def now(
        cls, arguments: dict[str, Any], dataset: RecDataset, edges_seen: int, records_seen: int
    ) -> "RunRecord":
        """The record of a run that this process starts."""
        start = provenance(arguments)
        return cls(
            **start,
            dataset=dataset.name,
            held_out_edges_seen=edges_seen,
            held_out_records_seen=records_seen,
            fingerprints=dataset.fingerprints,
            run_id=_run_id(arguments, dataset.fingerprints, start["versions"], start["commit"]),
        )

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.arguments["seed"]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that were trained."""
        return self.arguments["tasks"]

    @property
    def title(self) -> str:
        """What was trained, for people: see ``model_title``."""
        return model_title(self.arguments)

    @property
    def own_tokens(self) -> bool:
        """Whether each item is a token of its own."""
        return self.arguments["item_ids"] == "own"

    def as_json(self) -> dict[str, Any]:
        """What is written; ``resumed`` only where there is something to say."""
        table = asdict(self)
        if not self.resumed:
            del table["resumed"]
        return table


def _run_id(arguments: Mapping[str, Any], *more: Any) -> str:
    """What a run is told by: its settings, data and code. Not chance, so that the same run made
    twice leaves the same bytes."""
    shaping = {name: value for name, value in arguments.items() if name not in PLACES}
    content = json.dumps([shaping, *more], sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def model_title(arguments: Mapping[str, Any]) -> str:
    """What a model is, from the arguments of its training: ``ELMRec``, ``POD`` or ``P5``.

    With item tokens and no graph it is none of the three. Its title says what it has, and what
    it lacks: ``T5 with item tokens, sequential task; no graph; does not explain``.
    """
    method, tasks = arguments["method"], arguments.get("tasks") or TASKS
    scheme = schemes(method, arguments.get("whole_words") or {})
    reads_graph = any(scheme[Task[task.upper()]] is WholeWords.GRAPH for task in tasks)
    if arguments.get("item_ids") != "own" or reads_graph:
        return METHODS[method].title
    title = f"T5 with item tokens, {' and '.join(tasks)} task{'s' * (len(tasks) > 1)}; no graph"
    return title if "explanation" in tasks else f"{title}; does not explain"


def read_record(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        UserError: naming the file, where the folder or the file is missing, or an entry that
            evaluation needs is not what it must be.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--checkpoint {folder}: no such folder. Train a model with pretrain.py.")
    path = folder / RUN_FILE
    table = read_json(path)
    if not isinstance(table, dict):
        raise UserError(f"{path}: holds {limit(table)}, not the record of a run.")
    _check(path, table)
    known = RunRecord.__dataclass_fields__
    return RunRecord(**{name: value for name, value in table.items() if name in known})


def _check(path: Path, table: dict[str, Any]) -> None:
    for key, kinds in _ENTRIES.items():
        if type(table.get(key)) not in kinds:
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise UserError(
                f"{path}: {key!r} is {limit(table.get(key))}, not {wanted}; this is not a record "
                "as pretrain.py writes it. Put the original file back."
            )
    for key, allowed in _ARGUMENTS.items():
        value = table["arguments"].get(key)
        number = isinstance(allowed, range)  # asked for anything else, a range is walked through
        if type(value) is not (int if number else str) or value not in allowed:
            wanted = f"{allowed[0]} to {allowed[-1]}" if number else " or ".join(allowed)
            raise UserError(f"{path}: argument {key!r} is {limit(value)}; it must be {wanted}.")
    tasks = table["arguments"].get("tasks")
    if not isinstance(tasks, list) or not tasks or any(name not in TASKS for name in tasks):
        raise UserError(
            f"{path}: argument 'tasks' is {limit(tasks)}; it must be a list of {', '.join(TASKS)}."
        )
