"""The commands of a sweep, run as processes: several at once, each on a device of its own.

What is done is noted in ``sweep.json`` of the sweep's folder, by its command line, and not done
again. A training that was interrupted goes on from its last state.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import NamedTuple, NoReturn

from modules.runs.record import RUN_FILE, read_record
from modules.sweeps.plan import Command, Job
from modules.training.claim import check_same_run, has_begun, saved_states
from utils.console import say
from utils.errors import UserError
from utils.files import sweep
from utils.json_files import read_json, write_json
from utils.limits import Text
from utils.locks import LOCK_FILE, locked
from utils.own_files import check_own_folder, check_place

RECORD = "sweep.json"
_ROOT = Path(__file__).resolve().parents[2]  # where the scripts are


class Failure(NamedTuple):
    """A job that did not come to its end."""

    folder: Path
    reason: str
    log: Path


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """``sweep.json``: the command lines that have been done."""

    done: list[Text] = field(default_factory=list)


def cuda_devices() -> list[str]:
    """Names of the CUDA devices, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    import torch  # seconds: not before the file is read

    return [str(number) for number in range(torch.cuda.device_count())]


def run_jobs(
    jobs: Sequence[Job], root: Path, devices: Sequence[str], parallel: int
) -> list[Failure]:
    """Run what is not done yet.

    Args:
        root: the sweep's folder.
        devices: they are given out in turn; none = the processes see what this one sees.
        parallel: how many jobs run at once.

    Returns:
        the jobs that failed; the others went on.

    Raises:
        UserError: where the folder is not a sweep's, or another process has it.
    """
    check_own_folder(root, RECORD, "--checkpoint")
    check_place(root, "--checkpoint")
    with locked(root / LOCK_FILE, f"--checkpoint {root}"):
        sweep(root)
        runner = _Runner(
            root,
            [devices[n % len(devices)] for n in range(parallel)] if devices else [""] * parallel,
        )
        before = signal.signal(signal.SIGTERM, runner.stop)
        try:
            return runner.run(jobs, parallel)
        finally:
            signal.signal(signal.SIGTERM, before)


class _Runner:
    """Jobs in threads, each waiting for a process."""

    def __init__(self, root: Path, devices: Sequence[str]) -> None:
        self._root, self._lock, self._stopping = root, threading.Lock(), threading.Event()
        path = root / RECORD
        self._done = dict.fromkeys(read_json(path, SweepRecord).done if path.exists() else [])
        self._note()
        self._devices: SimpleQueue[str] = SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._running: dict[int, subprocess.Popen] = {}

    def stop(self, number: int, frame: FrameType | None) -> NoReturn:
        """SIGTERM: hand it on, so that trainings save their states."""
        for process in list(self._running.values()):
            process.terminate()
        raise KeyboardInterrupt

    def run(self, jobs: Sequence[Job], parallel: int) -> list[Failure]:
        """All jobs; those that failed."""
        failed = {}
        with ThreadPoolExecutor(parallel) as pool:
            tasks = {pool.submit(self._job, job): number for number, job in enumerate(jobs)}
            try:
                for task in as_completed(tasks):
                    if failure := task.result():
                        failed[tasks[task]] = failure
                        say(f"failed: {failure.folder.name}: {failure.reason}; see {failure.log}")
            except BaseException:
                self._stopping.set()  # the running processes end by the signal, no other starts
                pool.shutdown(cancel_futures=True)
                raise
        return [failed[number] for number in sorted(failed)]

    def _job(self, job: Job) -> Failure | None:
        log = self._root / f"{job.folder.name}.log"
        device = self._devices.get()
        try:
            for command in job.commands:
                line = shlex.join(command.words)
                if self._stopping.is_set():
                    return Failure(job.folder, "interrupted", log)
                if line in self._done and command.leaves.exists():
                    continue
                try:
                    words = [*command.words, *_continued(job.folder, command)]
                except UserError as error:
                    return Failure(job.folder, str(error), log)
                self._note(but=job.commands if command.settings else [command])
                if code := self._process(words, device, log):
                    return Failure(job.folder, f"{command.words[0]} ended with {code}", log)
                self._note(line)
        finally:
            self._devices.put(device)
        return None

    def _process(self, words: Sequence[str], device: str, log: Path) -> int:
        """Run a command; its exit code."""
        environment = dict(os.environ)
        shown = shlex.join(["python", *words])
        if device:
            environment["CUDA_VISIBLE_DEVICES"] = device
            shown = f"CUDA_VISIBLE_DEVICES={device} {shown}"
        say(shown)
        script = os.path.relpath(_ROOT / words[0])
        with log.open("ab") as out:
            apart = "\n" * bool(out.tell())  # one that was killed has left the middle of a line
            out.write(f"{apart}$ {shown}\n".encode("utf-8", "backslashreplace"))
            out.flush()
            started = [sys.executable, script, *words[1:]]
            process = subprocess.Popen(
                started, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )
            self._running[process.pid] = process
            try:
                return process.wait()
            finally:
                del self._running[process.pid]

    def _note(self, line: str | None = None, but: Sequence[Command] = ()) -> None:
        """Write what is done: what was, a further line, and without what is done anew."""
        with self._lock:
            for command in but:
                self._done.pop(shlex.join(command.words), None)
            if line is not None:
                self._done[line] = None
            write_json(self._root / RECORD, {"done": list(self._done)})


def _continued(folder: Path, command: Command) -> list[str]:
    """The flag by which a training that was begun goes on.

    Raises:
        UserError: where the folder holds a run of other settings.
    """
    if command.settings is None or not (folder / RUN_FILE).exists() or not has_begun(folder):
        return []
    now = command.settings.as_arguments().items()
    try:
        given = {name: value for name, value in now if value is not None}
        check_same_run(read_record(folder).arguments, given)
    except UserError as error:
        raise UserError(
            f"{folder} holds a run of other settings ({error}) Remove the folder, or give the run "
            "another name"
        ) from error
    return ["--resume"] if saved_states(folder) else ["--overwrite"]
