"""Large catalogues and logs from end to end: a made-up folder, a training, a ranking.

    python -m benchmarks.scale
    python -m benchmarks.scale --items 1000000 --users 1000000 --interactions 30000000

Makes a data folder (once), trains ``--steps`` steps of a preset on it, ranks ``--ranked`` users.
Prints a row for each line that the programs say: how long it was until the next one, and how much
memory the process had taken at most by then. The programs' own output goes to stderr.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.made_up import make_set
from benchmarks.measure import print_table
from utils.flag_types import positive_int

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_WIDTH = 70  # of a line in the table


class Stage(NamedTuple):
    """What a program did between two lines that it said."""

    program: str
    line: str  # that it began with
    seconds: float
    peak_gb: float  # of the whole process, up to the end of the stage


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
        line, since, peak = "starting", time.perf_counter(), 0.0
        for text in process.stdout:
            now, peak = time.perf_counter(), _peak_gb(process.pid, peak)
            yield Stage(program, line, now - since, peak)
            line, since = text.strip(), now
            print(text, end="", file=sys.stderr, flush=True)
        yield Stage(program, line, time.perf_counter() - since, peak)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _peak_gb(pid: int, before: float) -> float:
    """Peak resident memory of a process so far; ``before``, where it has ended."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return before
    return int(found[1]) / 2**20 if found else before


def measure(args: argparse.Namespace) -> Iterator[Stage]:
    """All stages, each as it ends."""
    name = f"made-up-{args.items}-{args.users}-{args.interactions}"
    data, run = args.folder / name, args.folder / f"{name}-run"
    if not data.exists():
        started = time.perf_counter()
        make_set(data, args.items, args.users, args.interactions)
        yield Stage("made_up", "writing the folder", time.perf_counter() - started, 0.0)
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
    done = []
    try:
        for stage in measure(args):
            done.append(stage)
    finally:
        rows = [[s.program, s.line[:_WIDTH], s.seconds, s.peak_gb] for s in done]
        print_table("From end to end", ["program", "line", "seconds", "peak GB"], rows)


if __name__ == "__main__":
    main()
