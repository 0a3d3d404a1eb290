"""Where a result comes from: the command, its arguments, versions of libraries, the commit."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

_STARTED = time.perf_counter()
VERSION = "0.3.0"  # of this code; CHANGELOG.md says what changed


def provenance(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What every result carries: the command, its arguments, versions and commit."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "arguments": dict(arguments),
        "versions": versions(),
        "commit": commit(),
    }


def seconds_since_start() -> float:
    """Seconds since the program began to load."""
    return time.perf_counter() - _STARTED


def versions() -> dict[str, str]:
    """Versions of what a result may depend on, read without importing any of it."""
    packages = ("torch", "transformers", "sentencepiece", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def machine_name(cuda: bool) -> str:
    """The kind of machine that this runs on, without its name: ``Linux x86_64, 16 processors``; and
    its GPU. cuda: it is used."""
    name = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    if not cuda:
        return name
    import torch  # which is loaded where a GPU is used

    gpus = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {gpus}"


def commit() -> str | None:
    """The git commit of the code, with "+" where files differ from it; None outside of git."""
    root = Path(__file__).resolve().parent.parent
    ask = ["git", "-C", str(root)]
    try:
        head = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True)
        state = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True)
    except FileNotFoundError:  # no git on this machine
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if state.stdout.strip() else "")
