"""A terminal that is closed, full or never was ends nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils import console

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = """
import sys
from utils import cli, console
def main():
    with console.unattended():
        for n in range(3):
            console.say(f"step {n}")
            with console.progress(3, "training", "step") as bar:
                bar.update(n)
    print("to the end")
    open(sys.argv[1], "w").write("done")
cli.run(main)
"""


def shell(command: str, work: str = WORK) -> subprocess.CompletedProcess:
    """``sh -c``, with the work as $WORK and Python as $PY."""
    variables = {**os.environ, "WORK": work, "PY": sys.executable}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=variables, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "redirection", [">&-", "2>&-", ">&- 2>&-", "<&-", "> /dev/full", "2> /dev/full", "| true"]
)
def test_work_comes_to_its_end(redirection, tmp_path) -> None:
    done = shell(f'"$PY" -c "$WORK" {tmp_path}/end {redirection}')
    assert "Traceback" not in done.stderr
    if redirection == "> /dev/full":
        assert "standard output failed (No space left on device); going on" in done.stderr
    for _ in range(100):  # of a pipe, only the reader is waited for
        if (tmp_path / "end").exists():
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert (tmp_path / "end").read_text() == "done"


def test_elsewhere_a_full_disk_is_an_error() -> None:
    work = "from utils import cli\ncli.run(lambda: print('result', flush=True))"
    done = shell('"$PY" -c "$WORK" > /dev/full', work)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: No space left on device")
    assert "Traceback" not in done.stderr


def test_streams_are_put_back() -> None:
    streams = sys.stdout, sys.stderr
    with console.unattended():
        assert sys.stdout is not streams[0]
        assert sys.stdout.encoding == streams[0].encoding
    assert (sys.stdout, sys.stderr) == streams
