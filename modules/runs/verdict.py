"""``verdict.json`` of a run's folder: how good the model is beside simple ones. Made at the end of
training (modules/verdict), read by reports."""

import os
from pathlib import Path

from modules.runs.kinds import Verdict
from modules.runs.record import RunRecord
from utils.errors import UserError
from utils.json_files import read_json

VERDICT_FILE = "verdict.json"


def read_verdict(folder: Path, record: RunRecord) -> Verdict | None:
    """The verdict on the run in a folder; None where there is none, or one on another run.

    Raises:
        UserError: where the file is not a verdict.
    """
    path = folder / VERDICT_FILE
    if not os.path.lexists(path):
        return None
    found = read_json(path, Verdict)
    return found if found.run_id == record.run_id else None


def remove_verdict(folder: Path) -> None:
    """Remove the verdict on a run that is replaced or trained further; another program's file of
    that name stays."""
    path = folder / VERDICT_FILE
    try:
        read_json(path, Verdict)
    except UserError:  # none, or not ours
        return
    path.unlink()
