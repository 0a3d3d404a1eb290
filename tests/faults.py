"""Ways to spoil a file, for tests/test_faults.py: each is a function of a ``Place``.

A spoiled file of a model's folder is noticed by its checksum. ``stamped`` renews the checksums
after the damage, so that the checks behind them are reached: as for a file that was never right.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from utils.errors import UserError
from utils.files import sha256


class Place(NamedTuple):
    """Copies of a data folder and of a run's folder, and what undoes a replaced function."""

    data: Path
    run: Path
    patch: pytest.MonkeyPatch

    def file(self, name: str) -> Path:
        """``data/...`` or ``run/...``, or one of the two folders."""
        return self.data.parent / name


Fault = Callable[[Place], None]


def change(name: str, how: Callable[[bytes], bytes]) -> Fault:
    """Put other bytes in a file's place."""

    def make(place: Place) -> None:
        path = place.file(name)
        path.write_bytes(how(path.read_bytes()))

    return make


def cut(name: str, share: float) -> Fault:
    """Keep so much of a file; 1 is all but the last byte."""
    return change(name, lambda old: old[: min(int(share * len(old)), len(old) - 1)])


def put(name: str, content: str | bytes) -> Fault:
    """Put this in a file's place."""
    new = content.encode() if isinstance(content, str) else content
    return change(name, lambda old: new)


def swap(name: str, old: str | bytes, new: str | bytes) -> Fault:
    """Put one piece in another's place, once; it must be there."""
    old, new = (x.encode() if isinstance(x, str) else x for x in (old, new))

    def how(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return change(name, how)


def entry(name: str, *path: str | int, value: Any = None) -> Fault:
    """Set an entry of a JSON file; None takes it out."""

    def how(old: bytes) -> bytes:
        root = table = json.loads(old)
        for key in path[:-1]:
            table = table[key]
        if value is None:
            del table[path[-1]]
        else:
            table[path[-1]] = value
        return json.dumps(root).encode()

    return change(name, how)


def instead(name: str, kind: str) -> Fault:
    """Put something else in the place of a file or a folder."""

    def make(place: Place) -> None:
        path = place.file(name)
        path.rename(path.with_name("moved"))
        if kind == "folder":
            path.mkdir()
        elif kind == "file":
            path.write_text("a file\n")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "link to nowhere":
            path.symlink_to("nowhere")

    return make


def failing(function: str, error: int) -> Fault:
    """Have a function of ``os`` or ``Path`` fail as the system does: root may write anywhere."""

    def fail(*args: Any, **kinds: Any) -> None:
        raise OSError(error, os.strerror(error))

    return lambda place: place.patch.setattr(function, fail)


def tensors(how: Callable[[dict[str, torch.Tensor]], Any]) -> Fault:
    """Change the tensors of a run; the file is then as another program would write it."""

    def make(place: Place) -> None:
        path = place.run / "model.safetensors"
        state = load_file(path)
        how(state)
        save_file(state, path)

    return make


def set_tensor(name: str, index: int, value: float) -> Fault:
    """Set one number of a run's weights."""
    return tensors(lambda state: state[name].view(-1).__setitem__(index, value))


def config(*path: str, value: Any = None) -> Fault:
    """Set an entry of config.json, the weights as another program would write them."""
    return both(tensors(lambda state: None), entry("run/config.json", *path, value=value))


def both(first: Fault, second: Fault) -> Fault:
    """One after the other."""

    def make(place: Place) -> None:
        first(place)
        second(place)

    return make


def stamped(name: str, fault: Fault) -> Fault:
    """A fault in a run's file of which run.json knows the checksum, and that checksum renewed."""

    def make(place: Place) -> None:
        fault(place)
        fingerprint = sha256(place.run / name)
        entry("run/run.json", "files", name, value=fingerprint)(place)

    return make


# ------------------------------------------------------------------------------ messages


def message_of(call: Callable[[Place], Any], place: Place) -> str:
    """What the user reads, of a UserError or from a script; a test fails where there is nothing to
    read, or something that is not meant for a user."""
    try:
        done = call(place)
    except UserError as error:
        return str(error)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr.partition("error: ")[2].strip()


def check(row: tuple, call: Callable[[Place], Any], place: Place) -> None:
    """Make the fault of a row (name, fault, words ...), and look for the words in the message."""
    name, make, *words = row
    make(place)
    message = message_of(call, place)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    print(f"\n{name} | {message.replace(str(place.data.parent) + os.sep, '')}")


def table(rows: list[tuple]) -> pytest.MarkDecorator:
    """A test a row."""
    return pytest.mark.parametrize("row", rows, ids=[row[0].replace(" ", "_") for row in rows])
