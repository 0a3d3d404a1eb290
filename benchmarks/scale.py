"""Large catalogues and logs from end to end: a made-up log, its folder, a training, a ranking.

    python -m benchmarks.scale
    python -m benchmarks.scale --items 1000000 --users 1000000 --interactions 30000000

Makes a log, a data folder of it, trains ``--steps`` steps of a preset, ranks ``--ranked`` users.
What is there already of log and folder is taken as it is.
Prints a row for each line that the programs say: how long it was until the next one, how long
processors worked meanwhile (on a machine that others use too, this is what counts), and how much
memory the process had taken at most by then. Lines that the next follows within a tenth of a second
are left out. The programs' own output goes to stderr.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.made_up import make_log
from benchmarks.measure import features, print_table
from benchmarks.memory import peak_memory_gb
from utils.flag_types import positive_int

_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_WIDTH = 70  # of a line in the table
_LEAST = 0.1  # s, of a row


class Stage(NamedTuple):
    """What a program did between two lines that it said."""

    program: str
    line: str  # that it began with
    seconds: float
    cpu_seconds: float  # of all processors
    peak_gb: float  # of the whole process, up to the end of the stage


class Used(NamedTuple):
    """What a process has used up to now."""

    at: float  # s
    cpu: float  # s
    peak_gb: float

    @classmethod
    def by(cls, pid: int) -> "Used":
        """On Linux."""
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        cpu = sum(map(int, times)) / _TICKS
        return cls(time.perf_counter(), cpu, peak_memory_gb(pid))

    def since(self, before: "Used") -> tuple[float, float, float]:
        """Seconds, processor seconds and the peak of a stage."""
        return self.at - before.at, self.cpu - before.cpu, max(self.peak_gb, before.peak_gb)


def stages(program: str, *words: str) -> Iterator[Stage]:
    """Run a script of the repository, and time it from line to line.

    Raises:
        CalledProcessError: where it fails.
    """
    command = [sys.executable, program, *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
    ) as process:
        line, before = "starting", Used(time.perf_counter(), 0.0, 0.0)
        for text in process.stdout:
            now = Used.by(process.pid)
            yield Stage(program, line, *(now.since(before)))
            line, before = text.strip(), now
            print(text, end="", file=sys.stderr, flush=True)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def measure(args: argparse.Namespace) -> Iterator[Stage]:
    """All stages, each as it ends."""
    name = f"made-up-{args.items}-{args.users}-{args.interactions}"
    log, data, run = (args.folder / f"{name}{end}" for end in (".csv", "", "-run"))
    if not log.exists():
        started = time.perf_counter()
        make_log(log, args.items, args.users, args.interactions)
        own = Used.by(os.getpid())
        yield Stage("made_up", "writing the log", own.at - started, own.cpu, own.peak_gb)
    if not data.exists():
        yield from stages("prepare.py", str(log), "--out", str(data))
    shutil.rmtree(run, ignore_errors=True)
    where = [str(data), "--checkpoint", str(run)]
    users = ["--eval_users", str(args.ranked)]
    steps = ["--preset", args.preset, "--max_steps", str(args.steps)]
    yield from stages("pretrain.py", *where, *steps, *users, *args.more)
    yield from stages("seq_reranker.py", *where, "--limit_users", str(args.ranked))


def main() -> None:
    """Print the table; also where a program fails, up to there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("items", 10_000), ("users", 10_000), ("interactions", 300_000)):
        parser.add_argument(f"--{name}", type=positive_int, default=value)
    parser.add_argument("--steps", type=positive_int, default=200, help="of training")
    parser.add_argument("--ranked", type=positive_int, default=1000, help="users")
    parser.add_argument("--preset", default="elmrec_clean")
    parser.add_argument(
        "--folder", type=Path, default=Path("checkpoint/scale"), help="for data and run"
    )
    parser.add_argument("more", nargs="*", help="further words for pretrain.py, behind --")
    args = parser.parse_args()
    print(features(), flush=True)
    done = []
    try:
        for stage in measure(args):
            done.append(stage)
    finally:
        rows = [[s.program, s.line[:_WIDTH], *s[2:]] for s in done if s.seconds >= _LEAST]
        print_table("From end to end", ["program", "line", "s", "CPU s", "peak GB"], rows)


if __name__ == "__main__":
    main()
