"""What evaluations leave in a run's folder: written so that its files belong together, and read
back as what it must be.

Models and baselines leave the same files; a baseline's result names its ``method``, a model's is
that of its training. ``<task>.json`` names the run, and the checksums of the files that were
written with it: rows without their record are no result.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import sha256 as digest
from pathlib import Path
from typing import Any

from modules.runs.kinds import (
    ROWS,
    BaselineRecord,
    EvaluationArguments,
    ModelArguments,
    RankedRow,
    Result,
    TextRow,
)
from modules.runs.model_card import write_model_card
from modules.runs.record import REQUIRED_DATA, RUN_FILE, RunRecord, model_title, read_record
from modules.tasks import RANKING_TASKS, TASKS
from utils import distributed
from utils.console import by_product, say
from utils.errors import UserError, limit
from utils.files import LOCK_FILE, sha256, sweep, whole_file
from utils.json_files import check_type, read_json, read_jsonl, to_json, to_jsonl
from utils.locks import locked
from utils.metrics.ranking import shown_metrics
from utils.metrics.trec import TREC_ENDINGS, trec_files

BASELINE_FILE = "baseline.json"
WAIT = 60.0  # seconds that another evaluation of the run is waited for, which writes its own
TEXT_COLUMNS = ("BLEU-1", "BLEU-4", "ROUGE-1-F", "ROUGE-2-F", "ROUGE-L-F")
VARIETY_COLUMNS = ("distinct-1", "distinct-2", "USR", "FMR", "FCR", "DIV")
COLUMNS = {
    **dict.fromkeys(RANKING_TASKS, tuple(shown_metrics())),
    "explanation": TEXT_COLUMNS + VARIETY_COLUMNS,
}


# ---------------------------------------------------------------------------------- reading


def owner_of(folder: Path) -> RunRecord | BaselineRecord | None:
    """The record of a run's or a baseline's folder; None where there is none, as in baselines of
    older versions.

    Raises:
        UserError: where the folder is missing, or its record is not one.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder. Name folders that evaluations wrote to.")
    if os.path.lexists(folder / RUN_FILE):
        return read_record(folder)
    path = folder / BASELINE_FILE
    return read_json(path, BaselineRecord) if os.path.lexists(path) else None


def read_result(folder: Path, task: str) -> Result | None:
    """A run's ``<task>.json``; None where the run was not evaluated on it.

    Raises:
        UserError: where the file is not what an evaluation writes.
    """
    path = folder / f"{task}.json"
    if not os.path.lexists(path):
        return None
    result = read_json(path, Result)
    check_type(path, result.arguments, EvaluationArguments)
    if result.training:
        check_type(path, result.training.arguments, ModelArguments)
    return result


def other_run(folder: Path, result: Result, owner: RunRecord | BaselineRecord | None) -> str:
    """Why a result is not of the run that is in its folder now; "" where it is, or where that is
    not known, as in folders of older versions."""
    if owner is None or "" in (owner.run_id, result.run_id) or owner.run_id == result.run_id:
        return ""
    name = RUN_FILE if isinstance(owner, RunRecord) else BASELINE_FILE
    return (
        f"a result of another run (run_id {limit(result.run_id)}) than {folder / name} is of "
        f"({limit(owner.run_id)}). Evaluate again."
    )


def read_all_results(
    folder: Path, owner: RunRecord | BaselineRecord | None, strict: bool = True
) -> dict[str, Result]:
    """The results of a folder, by task.

    strict: those of another run are an error; else they are left out, and it is said.

    Raises:
        UserError: where a file is not what an evaluation writes, or is of another run.
    """
    found = {}
    for task in TASKS:
        result = read_result(folder, task)
        reason = other_run(folder, result, owner) if result else ""
        if reason and strict:
            raise UserError(f"{folder / task}.json: {reason}")
        if reason:
            say(f"warning: left out: {folder / task}.json: {reason}")
        elif result:
            found[task] = result
    return found


def read_rows(folder: Path, task: str, result: Result) -> list[RankedRow] | list[TextRow]:
    """The rows that were written with a result.

    Raises:
        UserError: where the file is missing, or holds something else.
    """
    path = folder / f"{task}.jsonl"
    rows = read_jsonl(path, ROWS[task])
    wanted = result.files.get(path.name)  # not in results of older versions
    if wanted is not None and sha256(path) != wanted:
        raise UserError(
            f"{path}: not the rows that were written with {task}.json (checksum). Evaluate the run "
            "again, or put the original back."
        )
    if len(rows) != result.users:
        raise UserError(
            f"{path}: {len(rows):,} lines; {task}.json beside it is of {result.users:,}. Evaluate "
            "the run again, or put the original back."
        )
    return rows


def same_data(one: Mapping[str, str], other: Mapping[str, str]) -> bool | None:
    """Whether two data folders, by the fingerprints of their files, hold the same histories and
    ids; None where one of the two is not known, as in results of older versions."""
    known = all(name in prints for prints in (one, other) for name in REQUIRED_DATA)
    return all(one[name] == other[name] for name in REQUIRED_DATA) if known else None


def is_baseline(result: Result) -> bool:
    """Whether a result is a baseline's: nothing was trained by pretrain.py."""
    return result.training is None


def _with_linear(name: str, result: Result) -> str:
    return f"{name} + linear" if result.arguments.get("linear") else name


def method_of(result: Result) -> str:
    """The name of a baseline, or the --method of a model, and whether --linear was added to it."""
    if result.training is None:
        return result.method
    return _with_linear(result.training.arguments["method"], result)


def title_of(result: Result) -> str:
    """A method's or baseline's name as people write it, and whether --linear was added to it."""
    if result.training is None:
        return result.title or result.method.replace("_", " ")  # older ones have no title
    return _with_linear(model_title(result.training.arguments).partition(",")[0], result)


def seen_of(result: Result) -> str | None:
    """What was done about items that users had before, where a test item is one; else None. Results
    that differ in it are not comparable."""
    return result.arguments.get("seen") if result.target_seen else None


def figure(value: float | None) -> str:
    """Fractions with four digits, per cents with two, nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"


def short_figure(value: float | None) -> str:
    """The same, a fraction without its leading 0: ``.0123``."""
    return figure(value).removeprefix("0")


# ---------------------------------------------------------------------------------- writing


def check_result_name(folder: Path, name: str, flag: str) -> None:
    """UserError where files of this name are in a folder and no evaluation wrote them.

    flag: that gives the name.
    """
    rows = folder / f"{name}.jsonl"
    rankings = [folder / f"{name}{ending}" for ending in TREC_ENDINGS]
    try:
        result = read_result(folder, name)
        if result is None and os.path.lexists(rows):
            read_jsonl(rows, ROWS.get(name, TextRow))
        named = result.files if result else {}
        for path in (rows, *rankings):
            ours = path.name in named if named else os.path.lexists(rows)
            if os.path.lexists(path) and (not ours or path.is_symlink()):
                raise UserError(f"{path}: is of no result.")
    except UserError as error:
        raise UserError(
            f"{flag} {name}: would replace a file that no evaluation wrote. Move it away, or give "
            f"another name. ({error})"
        ) from error


def results_of(folder: Path, owner: RunRecord) -> list[str]:
    """Names of the results in a run's folder that are the run's, ``exp.py --outf`` included; and of
    rows whose record a kill has removed."""
    found = []
    for path in sorted(folder.glob("*.json*")):
        name = path.stem
        try:
            if path.suffix == ".json":
                result = read_result(folder, name)
                ours = result is not None and not other_run(folder, result, owner)
            elif path.suffix == ".jsonl" and not os.path.lexists(path.with_suffix(".json")):
                ours = bool(read_jsonl(path, ROWS.get(name, TextRow)))
            else:
                continue
        except UserError:  # another file
            continue
        if ours:
            found.append(name)
    return found


def remove_result(folder: Path, name: str) -> None:
    """Remove a result: the record first, so that what a kill leaves is none; the rows last, by
    which what it left is known.

    Raises:
        UserError: where it cannot be removed.
    """
    for ending in (".json", *TREC_ENDINGS, ".jsonl"):
        try:
            (folder / f"{name}{ending}").unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder / name}{ending}: cannot be removed ({error.strerror or error}), but it "
                "would not belong to the new result. Remove it, or choose another folder."
            ) from error


def write_results(
    folder: Path,
    name: str,
    result: Mapping[str, Any],
    rows: list[dict[str, Any]],
    trec: bool = False,
) -> None:
    """Say the metrics, and write ``<name>.json``, ``<name>.jsonl`` and the model card; of several
    processes, the main one does. What an earlier evaluation left by these names is removed.

    trec: write ``<name>.run.trec`` and ``<name>.qrels.trec`` as well.

    Raises:
        UserError: where a file cannot be written. The result before is then as it was.
    """
    if not distributed.is_main():
        return
    metrics = result["metrics"]
    width = max(map(len, metrics))
    say(f"{name}: {len(rows):,} rows, protocol {result['protocol']}, items {result['item_ids']}")
    for metric, value in metrics.items():  # before they are written: a full disk takes them not
        print(f"    {metric:<{width}}  {value:.4f}", flush=True)
    texts = {f"{name}.jsonl": to_jsonl(rows)}
    if trec:
        texts |= trec_files(folder, name, rows)
    with locked(folder / LOCK_FILE, f"--checkpoint {folder}", WAIT):
        sweep(folder)
        owner = owner_of(folder)
        if owner is not None and result.get("run_id", "") not in ("", owner.run_id):
            raise UserError(
                f"--checkpoint {folder}: holds another run than the one that was evaluated; it was "
                "replaced meanwhile. Evaluate again."
            )
        _write_together(folder, name, result, texts)
        if isinstance(owner, RunRecord):
            with by_product("README.md"):
                write_model_card(folder, owner, read_all_results(folder, owner, strict=False))
    say(f"written: {folder / name}.json, {folder / name}.jsonl")


def _write_together(
    folder: Path, name: str, result: Mapping[str, Any], texts: Mapping[str, str]
) -> None:
    """Write the record and the files that it names. All are on the disk before the first takes
    its name; the rows, by which a result half written is known, take theirs first, the record
    last: the stack ends with what was opened first."""
    contents = {file: text.encode("utf-8", "backslashreplace") for file, text in texts.items()}
    checksums = {file: digest(content).hexdigest() for file, content in contents.items()}
    record = to_json({**result, "files": checksums}).encode("utf-8", "backslashreplace")
    with ExitStack() as stack:
        backwards = dict(reversed(contents.items()))
        for file, content in {f"{name}.json": record, **backwards}.items():
            out = stack.enter_context(whole_file(folder / file))
            out.write(content)
            out.flush()
        remove_result(folder, name)
