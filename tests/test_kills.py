"""Killed between any two changes to its files: each script leaves what the next start of the same
command puts right, and nothing that is half old and half new."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, script
from tests.conftest import write_folder as write_data
from tests.kills import killed_at, moments, strays
from tests.training.test_resume import assert_same_run

ALL = pytest.param(None, marks=pytest.mark.slow, id="all")
RUN = [
    *TINY,
    "--max_steps",
    4,
]
RUN += ["--log_interval", 1, "--save_minutes", 0.0001]


def content(folder: Path) -> dict[str, bytes]:
    """name -> bytes of all files below a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def raw_file(path: Path, users: int) -> Path:
    rows = [f"u{u},i{(u * k) % 9},{k}" for u in range(users) for k in range(1, 8)]
    path.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("few", [5, ALL])
def test_a_data_folder_is_old_or_new(few, tmp_path) -> None:
    flags = ["--core", 1, "--negative_num", 1]
    sets = {}
    for name, users in (("old", 4), ("new", 6)):
        raw = raw_file(tmp_path / f"{name}.csv", users)
        done = script("prepare.py", raw, "--out", tmp_path / name / "set", *flags)
        assert done.returncode == 0, done.stderr
        sets[name] = content(tmp_path / name / "set")
    place = tmp_path / "place"
    command = ["prepare.py", tmp_path / "new.csv", "--out", place / "set", "--overwrite", *flags]

    def same(found: dict[str, bytes], expected: dict[str, bytes]) -> bool:
        names = [name for name in expected if name != "stats.json"]  # it has the command
        return found.keys() == expected.keys() and all(found[n] == expected[n] for n in names)

    seen = set()
    for nth in moments(few):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tmp_path / "old" / "set", place / "set")
        if not killed_at(nth, place, *command, output=tmp_path / "out"):
            break
        found = content(place / "set") if (place / "set").exists() else None
        states = {"gone": found is None} | {n: same(found or {}, s) for n, s in sets.items()}
        assert any(states.values()), (nth, found and list(found))
        seen |= {name for name, holds in states.items() if holds}
        done = script(*command)
        assert done.returncode == 0, done.stderr
        assert same(content(place / "set"), sets["new"])
        assert strays(place) == []
    assert seen >= ({"old", "new", "gone"} if few is None else {"old"})


@pytest.fixture(scope="module")
def other_run(tmp_path_factory) -> Path:
    """A run of another seed, with results, that is to be replaced."""
    base = tmp_path_factory.mktemp("other")
    data, run = write_data(base / "few"), base / "run"
    for command in (
        ["pretrain.py", data, *RUN, "--seed", 1, "--checkpoint", run],
        ["seq_reranker.py", data, "--checkpoint", run, "--trec"],
    ):
        done = script(*command)
        assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing interrupts."""
    base = tmp_path_factory.mktemp("whole")
    done = script("pretrain.py", write_data(base / "few"), *RUN, "--checkpoint", base / "run")
    assert done.returncode == 0, done.stderr
    return base / "run"


@pytest.mark.parametrize("few", [17, ALL])
def test_a_run_that_replaces_another(few, whole, other_run, tmp_path) -> None:
    data, place = whole.parent / "few", tmp_path / "place"
    command = ["pretrain.py", data, *RUN, "--checkpoint", place / "run"]
    for nth in moments(few):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(other_run, place / "run")
        if not killed_at(nth, place, *command, "--overwrite", output=tmp_path / "out"):
            break
        record = json.loads((place / "run" / "run.json").read_text())
        again = ["--resume"] if record["arguments"]["seed"] == 0 else ["--overwrite"]
        done = script(*command, *again)
        assert done.returncode == 0, (nth, done.stderr)
        assert_same_run(place / "run", whole)
        assert strays(place) == []
        assert {p.name for p in (place / "run").iterdir()} == {p.name for p in whole.iterdir()}
