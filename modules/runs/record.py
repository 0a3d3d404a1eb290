"""``RunRecord``: what run.json says of a training, read strictly and passed whole."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modules.data.dataset import RecDataset
from modules.runs.kinds import Resumed, RunArguments
from modules.tasks import METHODS, RANKING_TASKS, TASKS, Task, WholeWords, schemes
from utils.errors import UserError
from utils.json_files import check_type, read_json
from utils.limits import Arguments, Checksums, Count, Name, Text, Versions
from utils.provenance import machine_name, provenance

RUN_FILE = "run.json"
REQUIRED_DATA = ("sequential.txt", "datamaps.json")  # of a data folder
# Arguments that say where files are, and whether others may go or come, but not what is made.
PLACES = {
    "checkpoint", "out", "data_dir", "tensorboard", "wandb", "resume", "overwrite", "no_verdict",
}  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """A training: how it was started, on what, and what of the held-out pairs it saw.

    Attributes:
        arguments: the settings of the run by the names of the flags.
        fingerprints: SHA-256 of each file of the data folder.
        files: SHA-256 of the tokenizer's files, of the item numbers, and of ids and histories.
        resumed: where, and by which command, the run was continued.
        run_id: the same in all files of the run; "" in runs of older versions.
        date: on which it was started, such as 2026-11-26; "" in runs of older versions.
        machine: what it was started on; likewise.
    """

    command: Text
    arguments: Arguments
    versions: Versions
    commit: Name | None
    dataset: Name
    held_out_edges_seen: Count
    held_out_records_seen: Count
    fingerprints: Checksums
    files: Checksums
    resumed: list[Resumed] = field(default_factory=list)
    run_id: Name = ""
    date: Name = ""
    machine: Name = ""

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
            files={},
            run_id=run_id_of(arguments, dataset.fingerprints, start["versions"], start["commit"]),
            date=time.strftime("%Y-%m-%d"),
            machine=machine_name(bool(arguments.get("cuda"))),
        )

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.arguments["seed"]

    @property
    def protocol(self) -> str:
        """What of the held-out items training may see."""
        return self.arguments["protocol"]

    @property
    def item_ids(self) -> str:
        """How items are written."""
        return self.arguments["item_ids"]

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
        return self.item_ids == "own"

    @property
    def keeps_histories(self) -> bool:
        """Whether people's histories may be in the folder."""
        return not self.arguments.get("no_histories", False)

    @property
    def precision(self) -> str | None:
        """The precision that evaluations take by default: fp32, where the model was trained in it,
        as the published ones were; None: the machine's."""
        return "fp32" if self.arguments.get("precision", "fp32") == "fp32" else None

    def as_json(self) -> dict[str, Any]:
        """What is written; date, machine and ``resumed`` only where there is something to say."""
        table, may_lack = asdict(self), ("date", "machine", "resumed")
        return {name: value for name, value in table.items() if value or name not in may_lack}


def run_id_of(arguments: Mapping[str, Any], *more: Any) -> str:
    """What a run is told by: its settings, data and code. Not chance, so that the same run made
    twice has the same."""
    shaping = {name: value for name, value in arguments.items() if name not in PLACES}
    content = json.dumps([shaping, *more], sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def model_title(arguments: Mapping[str, Any]) -> str:
    """What a model is, from the arguments of its training: ``ELMRec``, ``POD`` or ``P5``.

    With item tokens and no user-item graph it is none of the three. Its title says what it has,
    and what it lacks: ``T5 with item tokens, sequential task; no graph; does not explain``.
    """
    method, tasks = arguments["method"], arguments.get("tasks") or TASKS
    if arguments.get("item_ids") != "own" or _reads_graph(arguments):
        return METHODS[method].title
    graphs = arguments.get("item_graph", "none") != "none"
    title = "T5 with item tokens" + " and item graphs" * graphs
    title += f", {' and '.join(tasks)} task{'s' * (len(tasks) > 1)}" + "; no graph" * (not graphs)
    return title if "explanation" in tasks else f"{title}; does not explain"


def model_about(arguments: Mapping[str, Any]) -> str:
    """What a model does and what it is told, from the arguments of its training: ``a T5 that
    recommends and explains, told about the user-item graph``."""
    tasks = set(arguments.get("tasks") or TASKS)
    does = ["recommends"] * bool(tasks & set(RANKING_TASKS)) + ["explains"] * (
        "explanation" in tasks
    )
    told = ["the user-item graph"] * _reads_graph(arguments)
    told += ["graphs of items"] * (arguments.get("item_graph", "none") != "none")
    about = f", told about {' and '.join(told)}" if told else ", without a graph"
    return f"a T5 that {' and '.join(does)}{about}"


def _reads_graph(arguments: Mapping[str, Any]) -> bool:
    """Whether a task that was trained reads the user-item graph."""
    scheme = schemes(arguments["method"], arguments.get("whole_words") or {})
    tasks = arguments.get("tasks") or TASKS
    return any(scheme[Task[task.upper()]] is WholeWords.GRAPH for task in tasks)


def read_record(folder: Path) -> RunRecord:
    """The record of a run.

    Raises:
        UserError: naming the file, where the folder or the file is missing, or an entry that
            evaluation needs is not what it must be.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--checkpoint {folder}: no such folder. Train a model with pretrain.py.")
    path = folder / RUN_FILE
    record = read_json(path, RunRecord)
    check_type(path, record.arguments, RunArguments)
    return record
