"""Results written to a run's folder, so that their files belong together; and removed.

``<task>.json`` names the run, and the checksums of the files that were written with it. Rows whose
record is gone, as a kill leaves them, are no result.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from hashlib import sha256 as digest
from pathlib import Path
from typing import Any

from modules.runs.kinds import ROWS, TextRow
from modules.runs.model_card import write_model_card
from modules.runs.record import RunRecord
from modules.runs.results import other_run, owner_of, read_all_results, read_result
from utils import distributed
from utils.console import by_product, say
from utils.errors import UserError
from utils.files import LOCK_FILE, sweep, whole_file
from utils.json_files import read_jsonl, to_json, to_jsonl
from utils.locks import locked
from utils.metrics.trec import TREC_ENDINGS, trec_files

BESIDE = (*TREC_ENDINGS, ".txt")  # files that a result may have beside its record and rows
WAIT = 60.0  # seconds that another evaluation of the run is waited for, which writes its own


def check_result_name(folder: Path, name: str, flag: str) -> None:
    """UserError where files of this name are in a folder and no evaluation wrote them.

    flag: that gives the name.
    """
    rows = folder / f"{name}.jsonl"
    beside = [folder / f"{name}{ending}" for ending in BESIDE]
    try:
        result = read_result(folder, name)
        if result is None and os.path.lexists(rows):
            read_jsonl(rows, ROWS.get(name, TextRow))
        named = result.files if result else {}
        for path in (rows, *beside):
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
    for ending in (".json", *BESIDE, ".jsonl"):
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
    text: str | None = None,
) -> None:
    """Say the metrics, and write ``<name>.json``, ``<name>.jsonl`` and the model card; of several
    processes, the main one does. What an earlier evaluation left by these names is removed.

    trec: write ``<name>.run.trec`` and ``<name>.qrels.trec`` as well.
    text: what ``<name>.txt`` holds; None: there is no such file.

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
    if text is not None:
        texts[f"{name}.txt"] = text
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
