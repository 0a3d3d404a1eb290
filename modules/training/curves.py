"""Curves of a training, for TensorBoard and for Weights & Biases: the numbers of
``train_log.jsonl``, at the steps of the run.

Both packages are optional, and imported only where their flag asks for them.
"""

import netrc
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from modules.runs.record import RunRecord
from modules.training.settings import Settings
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.files import check_writable
from utils.tables import one_line

EVENTS = "tensorboard"  # folders in the run's: of event files, where --tensorboard names no other
WANDB = "wandb"  # and what the package wandb makes of the run's folder
PROJECT = "elmrec"  # of Weights & Biases, by default
SECONDS = 5.0  # for an answer of its server


def series(line: Mapping[str, Any]) -> dict[str, float]:
    """The points of a line of ``train_log.jsonl``, by the names of their curves."""
    points = {}
    for kind in ("train", "valid"):
        points |= {f"{kind}/{task}": loss for task, loss in line.get(kind, {}).items()}
    points |= {f"valid/{name}": value for name, value in line.get("metrics", {}).items()}
    for name in ("valid_mean", "learning_rate", "samples_per_second"):
        if name in line:
            points[name.replace("valid_", "valid/")] = line[name]
    return points


class Writer(Protocol):
    """Where curves go."""

    name: str  # for messages: the flag, and the place
    failures: tuple[type[Exception], ...]  # that it raises where it cannot write

    def write(self, points: Mapping[str, float], step: int) -> None:
        """Take points, by the names of their curves."""

    def close(self, whole: bool) -> None:
        """End. whole: the training came to its end."""


class Curves:
    """The curves of a run. They are a by-product: where they can no longer be written, that is said
    once, and training goes on without them."""

    def __init__(self, writers: list[Writer]) -> None:
        self._writers = writers

    @classmethod
    def of(cls, settings: Settings, record: RunRecord, done: int) -> "Curves":
        """Those that the settings ask for; of several processes, one writes them.

        Args:
            record: of the run; one that is continued has the same as before.
            done: steps made before the run was continued.

        Raises:
            UserError: where they cannot be begun.
        """
        writers: list[Writer] = []
        if distributed.is_main():
            if settings.tensorboard is not None:
                folder = settings.tensorboard or str(settings.folder / EVENTS)
                writers.append(EventFiles(folder, done))
            if settings.wandb is not None:
                writers.append(WandbRun(settings.wandb, settings.folder, record, done))
        return cls(writers)

    def write(self, line: Mapping[str, Any]) -> None:
        """Take a line of ``train_log.jsonl``."""
        for writer in list(self._writers):
            try:
                writer.write(series(line), line["step"])
            except writer.failures as error:
                self._without(writer, error)

    def close(self, whole: bool) -> None:
        """End them. whole: the training came to its end."""
        for writer in list(self._writers):
            try:
                writer.close(whole)
            except writer.failures as error:
                self._without(writer, error)

    def _without(self, writer: Writer, error: Exception) -> None:
        self._writers.remove(writer)
        reason = getattr(error, "strerror", None) or error
        say(
            f"{writer.name}: cannot be written ({reason}); going on without. train_log.jsonl has "
            "the same numbers"
        )


# --------------------------------------------------------------------------------- TensorBoard


def _quiet_for_tensorboard(failure: threading.ExceptHookArgs) -> None:
    """Its writing thread hands a full disk on to ``Curves``, which says so: no traceback too."""
    thread = type(failure.thread).__module__
    if not (thread.startswith("tensorboard") and isinstance(failure.exc_value, OSError)):
        threading.__excepthook__(failure)


class EventFiles:
    """Event files of TensorBoard, of one run in one folder."""

    failures = (OSError,)

    def __init__(self, folder: str, done: int) -> None:
        """done: steps made before the run was resumed. What the folder holds of later steps, of
        this run or another, TensorBoard leaves out: these are made again.

        Raises:
            UserError: where the folder cannot be written.
        """
        from torch.utils.tensorboard import SummaryWriter

        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--tensorboard {folder}: no folder, and none can be made there "
                f"({error.strerror or error}). Name another."
            ) from error
        check_writable(folder)
        self.name = f"--tensorboard {folder}"
        threading.excepthook = _quiet_for_tensorboard
        self._writer = SummaryWriter(folder, purge_step=done + 1)

    def write(self, points: Mapping[str, float], step: int) -> None:
        """Take points, by the names of their curves."""
        for name, value in points.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # a run that is killed loses no point of its curves

    def close(self, whole: bool) -> None:
        """End the file."""
        self._writer.close()


# ---------------------------------------------------------------------------- Weights & Biases


class WandbRun:
    """A run of Weights & Biases, which has the id of ours: a training that is continued goes on in
    the same one."""

    name = "--wandb"

    def __init__(self, project: str, folder: Path, record: RunRecord, done: int) -> None:
        """project: "" = WANDB_PROJECT, or else ``PROJECT``; folder: the run's; done: steps made
        before it was continued. A run that starts anew takes the place of one with its id.

        Raises:
            UserError: where the run cannot be begun.
        """
        import wandb

        self.failures = (OSError, wandb.Error)
        mode, why = _mode(wandb)
        try:
            self._run = wandb.init(
                project=project or os.environ.get("WANDB_PROJECT") or PROJECT,
                id=record.run_id,
                name=os.environ.get("WANDB_NAME") or folder.resolve().name,
                dir=os.environ.get("WANDB_DIR") or str(folder),
                config={**record.arguments, "dataset": record.dataset, "commit": record.commit},
                mode=mode,
                resume="allow" if done else None,
            )
        except (*self.failures, ValueError) as error:  # ValueError: of what a variable says
            raise UserError(
                f"--wandb: Weights & Biases does not begin the run ({one_line(str(error))}). Mend "
                "that, or set WANDB_MODE=offline; then continue this one with --resume."
            ) from error
        where = "offline" if self._run.offline else self._run.url
        say(f"--wandb: run {record.run_id}, {where}: {why}")

    def write(self, points: Mapping[str, float], step: int) -> None:
        """Take points, by the names of their curves. Those of a step that is made again stand
        already, and are left out there."""
        self._run.log(dict(points), step=step)

    def close(self, whole: bool) -> None:
        """End the run, and wait until all of it is written or sent."""
        self._run.finish(exit_code=0 if whole else 1)


def _mode(wandb: Any) -> tuple[str | None, str]:
    """The ``mode`` of a run, None = what the package takes by itself; and why, for the log."""
    if named := os.environ.get("WANDB_MODE"):
        return None, f"WANDB_MODE is {named}"
    server = wandb.setup().settings.base_url
    later = "; `wandb sync` sends its folder later"
    if not _has_key(server):
        return "offline", f"nobody is logged in (`wandb login`){later}"
    if not _answers(server):
        return "offline", f"{server} does not answer{later}"
    return None, "logged in"


def _has_key(server: str) -> bool:
    """Is there a key for Weights & Biases: a variable, or what ``wandb login`` has noted?"""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    noted = os.environ.get("NETRC") or Path.home() / ".netrc"
    try:
        hosts = netrc.netrc(noted).hosts
    except (OSError, netrc.NetrcParseError):  # then wandb finds none in it either
        return False
    return bool({urlsplit(server).netloc, "api.wandb.ai"} & set(hosts))


def _answers(server: str) -> bool:
    """Does a server say anything at all?"""
    try:
        urlopen(server, timeout=SECONDS).close()
    except HTTPError:  # it says no, but it says so
        return True
    except (OSError, ValueError):
        return False
    return True
