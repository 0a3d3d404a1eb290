"""Four users of whom some take an item again, and a model of them."""

import json

import pytest

from tests.conftest import script, write_folder
from tests.test_scripts import SMALL

# Users 1 and 3 had their test items (3, 8), user 2 its validation item (1).
REPEATS = {1: [3, 1, 4, 2, 3], 2: [1, 2, 3, 1, 6], 3: [7, 8, 9, 1, 2, 8], 4: [12, 11, 10, 9]}


def repeating(folder, histories=REPEATS):
    """The four users' data set with these histories."""
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in histories.items()]
    (write_folder(folder) / "sequential.txt").write_text("".join(rows))
    free = {u: [i for i in range(1, 13) if i not in row][:5] for u, row in histories.items()}
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in free.items()]
    (folder / "negative.txt").write_text("".join(rows))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    base = tmp_path_factory.mktemp("repeats")
    data, run = repeating(base / "few"), base / "run"
    done = script("pretrain.py", data, *SMALL, "--eval_users", "4", "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    assert "for 1 of 4 users the validation item is one they had before" in done.stdout
    return data, run


def evaluated(trained, name, *flags):
    """The result, its rows by user, and what was printed."""
    data, run = trained
    done = script(f"{name}.py", data, "--checkpoint", run, "--precision", "fp32", *flags)
    assert done.returncode == 0, done.stderr
    stem = {"seq_reranker": "sequential", "topn": "direct"}[name]
    rows = [json.loads(line) for line in (run / f"{stem}.jsonl").read_text().splitlines()]
    result = json.loads((run / f"{stem}.json").read_text())
    return result, {row["user"]: row for row in rows}, done.stdout
