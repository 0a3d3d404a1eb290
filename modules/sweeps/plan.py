"""The file of a sweep: which runs it asks for, and the commands that make them.

All of it is checked before anything runs: keys, and each value by the flag that takes it.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modules.baselines.simple import BASELINES
from modules.data.reader import check_data_folder
from modules.runs.results import BASELINE_FILE
from modules.tasks import RANKING_TASKS, TASKS
from modules.training.flags import add_flags, parse_settings
from modules.training.settings import Settings
from utils.errors import UserError, limit
from utils.files import as_typed
from utils.flag_files import FlagFile, read_table
from utils.flag_types import file_stem, names, natural, path_name

TESTS = {"sequential": "seq_reranker.py", "direct": "topn.py", "explanation": "exp.py"}  # by task
KEYS = ("data", "seeds", "runs", "common", "baselines", "tasks", "test")
_OURS = dict.fromkeys(
    ("seed", "data_dir", "checkpoint", "resume", "overwrite", "methods", "ending"),
    "is given by the sweep. Leave it out.",
)


class Command(NamedTuple):
    """A command of a job."""

    words: tuple[str, ...]  # the script, and its flags
    leaves: Path  # a file that is there when it is done
    settings: Settings | None = None  # of a training


class Job(NamedTuple):
    """What makes one folder, command by command."""

    folder: Path
    commands: tuple[Command, ...]


def read_plan(path: Path, root: Path, parsers: Mapping[str, argparse.ArgumentParser]) -> list[Job]:
    """The jobs of a sweep's file, in the order of their running.

    Args:
        root: the folder that all of theirs are in.
        parsers: of the flags of each script of ``TESTS``, and of ``baselines``.

    Raises:
        UserError: naming the file and the key that cannot be used.
    """
    table = read_table(path, "compare.py sweep")
    for key in table:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {limit(key)}; keys are {', '.join(KEYS)}.")
    plan = _Plan(path, root, table, parsers)
    jobs = [
        job
        for data in plan.data
        for seed in plan.seeds
        for job in (*plan.trainings(data, seed), *plan.baselines(data, seed))
    ]
    if not jobs:
        raise UserError(f"{path}: asks for nothing. Give runs, or baselines.")
    folders = [job.folder for job in jobs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(
                f"{path}: two runs would share the folder {folder}. Give them other names."
            )
    return jobs


class _Plan:
    """The file, read key by key."""

    def __init__(
        self,
        path: Path,
        root: Path,
        table: Mapping[str, Any],
        parsers: Mapping[str, argparse.ArgumentParser],
    ) -> None:
        self.path, self.root, self.table = path, root, table
        self.data = self._list("data", path_name, [])
        for folder in self.data:
            check_data_folder(folder)
        if not self.data:
            raise UserError(f"{path}: key 'data' must name a data folder, or a list of them.")
        self.seeds = self._list("seeds", natural, [0])
        self.tasks = self._list("tasks", lambda text: names(TASKS)(text)[0], list(RANKING_TASKS))
        self.methods = self._list("baselines", lambda text: names(BASELINES)(text)[0], [])
        self.common = self._map(table, "common", str(path))
        runs = self._map(table, "runs", str(path))
        self.runs = {name: self._map(runs, name, f"{path}, runs") for name in runs}
        for name in runs:
            self._checked("runs", file_stem, name)
        self.training = FlagFile(_with_flags(), _OURS)
        self.flags = self._test_flags(parsers)

    def _list(self, key: str, kind: Any, default: list[Any]) -> list[Any]:
        """A list of values, each once, or one value; where the key is missing, the default."""
        value = self.table.get(key)
        if value is None:
            return default
        found = [self._checked(key, kind, part) for part in ([value], value)[type(value) is list]]
        if len(set(found)) < len(found) or not found:
            raise UserError(f"{self.path}: key {key!r} must list values, each once.")
        return found

    def _checked(self, key: str, kind: Any, value: Any) -> Any:
        if not isinstance(value, str):
            raise UserError(f"{self.path}: key {key!r}: {limit(value)} must be a name or a number.")
        try:
            return kind(value)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{self.path}: key {key!r}: {error}.") from error

    @staticmethod
    def _map(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
        value = table.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise UserError(f"{where}: key {key!r} must be a map of flags, such as {{lr: 0.001}}.")
        return value

    def _test_flags(self, parsers: Mapping[str, argparse.ArgumentParser]) -> dict[str, list[str]]:
        """The words of each test, and of baselines."""
        given = self._map(self.table, "test", str(self.path))
        scripts = TESTS | {"baselines": "baselines"}
        found = {name: [] for name in scripts}
        for name in given:
            where = f"{self.path}, test"
            if name not in scripts:
                raise UserError(
                    f"{where}: unknown key {limit(name)}; keys are {', '.join(scripts)}."
                )
            parser = parsers[scripts[name]]
            flags = FlagFile(parser, _OURS)
            for key, value in self._map(given, name, where).items():
                found[name] += flags.words(key, value, f"{where}, {name}")
            parser.parse_args(found[name])  # which of them do not go together
        return found

    def trainings(self, data: str, seed: int) -> list[Job]:
        """A job for each of ``runs``: a training, and its tests."""
        jobs = [self._job(name, own, data, seed) for name, own in self.runs.items()]
        presets = {  # of those that name none, by what they would get
            job.commands[0].settings.preset: name
            for job, (name, own) in zip(jobs, self.runs.items())
            if "preset" not in self.common | own
        }
        if len(presets) > 1:
            which = ", ".join(f"{name}: {preset}" for preset, name in presets.items())
            raise UserError(
                f"{self.path}: runs that name no preset would get different ones on {data} "
                f"({which}), and differ in more than their keys say. Give a preset in common, or "
                "to each."
            )
        return jobs

    def _job(self, name: str, own: Mapping[str, Any], data: str, seed: int) -> Job:
        folder = self.root / f"{as_typed(data).name}-{name}-{seed}"
        where = f"{self.path}, runs, {name}"
        given = {key: (value, f"{self.path}, common") for key, value in self.common.items()}
        given |= {key: (value, where) for key, value in own.items()}
        words = ["--seed", str(seed), "--checkpoint", str(folder)]
        for key, (value, place) in given.items():
            words += self.training.words(key, value, place)
        try:
            settings = parse_settings(None, [data, *words])
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        for key, (value, place) in given.items():
            if value is False and getattr(settings, key):
                raise UserError(
                    f"{place}, key {key!r}: false, but the preset sets it, and no flag takes it "
                    "back. Give the preset's settings one by one."
                )
        train = Command(("pretrain.py", data, *words), folder / "model.safetensors", settings)
        tests = [
            Command(
                (TESTS[task], data, "--checkpoint", str(folder), *self.flags[task]),
                folder / f"{task}.json",
            )
            for task in self.tasks
        ]
        return Job(folder, (train, *tests))

    def baselines(self, data: str, seed: int) -> list[Job]:
        """A job for each of ``baselines``."""
        found = []
        for method in self.methods:
            folder = self.root / f"{as_typed(data).name}-{method}-{seed}"
            words = ["compare.py", "baselines", data, "--methods", method, "--seed", str(seed)]
            words += [f"--ending=-{seed}", "--checkpoint", str(self.root)]
            words += self.flags["baselines"]
            found.append(Job(folder, (Command(tuple(words), folder / BASELINE_FILE),)))
        return found


def _with_flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(parser)
    return parser
