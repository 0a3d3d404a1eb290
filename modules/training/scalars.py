"""Curves of a run for TensorBoard: the numbers of ``train_log.jsonl`` as event files.

The package is optional, and imported only where ``--tensorboard`` asks for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import check_writable

EVENTS = "tensorboard"  # the folder by default, in the run's


def event_folder(given: str | None, run: str | Path) -> str | None:
    """Where the event files go: as ``--tensorboard`` says, "" = into the run's folder; None = none.

    Raises:
        UserError: where they are asked for, and the package is missing.
    """
    if given is None:
        return None
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--tensorboard: the package tensorboard is missing ({error}). Install it with "
            "pip install tensorboard, or leave the flag out: train_log.jsonl has the same numbers."
        ) from error
    return given or str(Path(run) / EVENTS)


class Scalars:
    """Event files of one run in one folder."""

    def __init__(self, folder: str, done: int) -> None:
        """done: steps made before the run was resumed. What the folder holds of later steps, of
        this run or another, TensorBoard leaves out: these are made again."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--tensorboard {folder}: no folder, and none can be made there "
                f"({error.strerror or error}). Name another."
            ) from error
        check_writable(folder)
        self._writer = SummaryWriter(folder, purge_step=done + 1)

    def write(self, line: Mapping[str, Any]) -> None:
        """Take a line of ``train_log.jsonl``."""
        for kind in ("train", "valid"):
            for task, loss in line.get(kind, {}).items():
                self._writer.add_scalar(f"{kind}/{task}", loss, line["step"])
        for name, value in line.get("metrics", {}).items():
            self._writer.add_scalar(f"valid/{name}", value, line["step"])
        for name in ("valid_mean", "learning_rate", "samples_per_second"):
            if name in line:
                self._writer.add_scalar(name.replace("valid_", "valid/"), line[name], line["step"])
        self._writer.flush()  # a run that is killed loses no point of its curves

    def close(self) -> None:
        """End the file."""
        self._writer.close()
