"""The folder of a baseline: whose it is, asked before anything is tuned or written."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.data.dataset import RecDataset
from modules.runs.kinds import BaselineRecord
from modules.runs.record import RUN_FILE, run_id_of
from modules.runs.results import BASELINE_FILE, read_result
from modules.runs.writing import remove_result
from modules.tasks import TASKS
from utils.errors import UserError
from utils.files import foreign
from utils.json_files import read_json, write_json
from utils.own_files import check_place
from utils.provenance import provenance


def check_baseline_folder(folder: Path, method: str) -> None:
    """UserError where a baseline must not, or cannot, be written to a folder.

    It may where the folder is new, or empty, or holds the same baseline: baseline.json says so, or
    in folders of older versions the results do.
    """
    check_place(folder, "--checkpoint")
    if not os.path.isdir(folder) or not foreign(folder):
        return
    if method != _held(folder):
        raise UserError(
            f"{folder}: holds other files than the results of the baseline {method}. Move them "
            "away, or name another --checkpoint."
        )


def _held(folder: Path) -> str | None:
    """The baseline that a folder holds; None where it is not a baseline's."""
    if os.path.lexists(folder / RUN_FILE):
        return None
    path = folder / BASELINE_FILE
    if os.path.lexists(path):
        return read_json(path, BaselineRecord).method
    results = [read_result(folder, task) for task in TASKS]
    methods = {result.method for result in results if result}
    return methods.pop() if len(methods) == 1 else None


def start_baseline(
    folder: Path,
    method: str,
    title: str,
    dataset: RecDataset,
    seed: int,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the folder one of this baseline: write the record, and remove what an earlier one left.

    Returns:
        what each of its results says of it.
    """
    start = provenance(arguments)
    run_id = run_id_of(
        start["arguments"], method, dataset.fingerprints, start["versions"], start["commit"]
    )
    own = {"fingerprints": dataset.fingerprints, "run_id": run_id, **start}
    own |= {"method": method, "title": title}
    write_baseline(folder, own | {"dataset": dataset.name, "seed": seed})
    return own


def write_baseline(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``baseline.json``, and remove the results that are there."""
    # The record first: whenever a kill comes, the folder is known as this baseline's, and no older
    # result passes for one of it.
    write_json(folder / BASELINE_FILE, record)
    for task in TASKS:
        remove_result(folder, task)
