"""A run's folder whose files are damaged, mixed or hostile: each reader works, or says in one
message what is wrong; in little time and memory."""

import json
import os
import resource
import shutil
import time
from copy import deepcopy
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from modules.reports import plots
from modules.reports.page import build
from modules.reports.paired_tests import describe_sides, differences, differences_as_markdown
from modules.reports.sources import read_results
from modules.reports.tables import entries, entries_as_csv, entries_as_markdown
from modules.runs.model_card import model_card
from modules.runs.record import read_record
from modules.runs.results import read_all_results, write_results
from modules.runs.run import open_run
from tests.reports.conftest import result, rows
from utils.errors import UserError
from utils.files import sha256
from utils.json_files import write_json
from utils.runtime import Machine

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "150"))
CPU = Machine(torch.device("cpu"), "fp32")
DEEP = json.loads("[" * 500 + "]" * 500)
INFINITY = float("inf")  # is written 1e999, which JSON allows
VALUES = [
    None, True, 0, 1, -1, 1.5, -0.5, 2**31, 10**9, 10**40, -(10**40), 10**4000, 1e308, INFINITY,
    "", "x", "x" * 10**5, "\x1b]0;title\x07", "\ud800", "a\nb|c", "<script>", "=1+1", "../run",
    [], [1], [None], ["x"], [[]], DEEP, {}, {"a": 1}, {"sequential": "x"}, {"HR@1": "x"},
]  # fmt: skip


# ------------------------------------------------------------------------------ the readers


def page(base):
    return build(read_results(base / "run", None))


def table(base):
    found = entries([base / "run", base / "data-item_knn"])
    return entries_as_markdown(found, catalogue=True) + entries_as_csv(found)


def test(base):
    sides = [base / "run"], [base / "other"]
    found, runs = differences(*sides, ("sequential", "direct"), 0, 9)
    return describe_sides(runs, 0.05, 1) + differences_as_markdown(found, 0.05)


def card(base):
    folder = base / "run"
    record = read_record(folder)
    return model_card(record, read_all_results(folder, record, strict=False))


def opened(base):
    open_run(base / "run", base / "data", CPU)
    return ""


test.__test__ = False
READERS = {reader.__name__: reader for reader in (page, table, test, card, opened)}
OF_RESULTS = ("page", "table", "test", "card")


def read(name, base):
    """What a reader returns, or its message: of a UserError, in one line that a terminal shows."""
    with mock.patch.object(plots, "_plot", lambda alt, draw, height: plots.Plot(alt, "data:,")):
        try:
            return READERS[name](base)
        except UserError as error:
            message = str(error)
            assert len(message) < 1000, message[:2000]
            return f"UserError: {message}"


# ------------------------------------------------------------------------------ a whole folder


@pytest.fixture(scope="module")
def whole(trained_once, tmp_path_factory):
    """``data``; ``run``, evaluated in all tasks; ``other``, the same; a baseline beside them. The
    weights hold no checksums, as another program would write them."""
    base = tmp_path_factory.mktemp("hostile") / "base"
    shutil.copytree(trained_once, base)
    weights = base / "run" / "model.safetensors"
    save_file(load_file(weights), weights)
    record = read_record(base / "run").as_json()
    known = {"dataset": "data", "run_id": record["run_id"], "training": record}
    known |= {"fingerprints": record["fingerprints"], "arguments": {"top_n": 10, "linear": 0.0}}
    groups = [{"low": 0, "high": None, "users": 4, "hr": 0.5, "ndcg": 0.5}]
    catalogue = {"metrics": {"HR@1": 0.5, "MRR@1": 0.5}, "coverage@10": 0.5}
    catalogue |= dict.fromkeys(("by_history_length", "by_item_popularity"), groups)
    metrics = {"HR@1": 0.25, "HR@5": 0.5, "HR@10": 0.5, "NDCG@5": 0.3, "NDCG@10": 0.3}
    for task in ("sequential", "direct"):
        evaluated = result(metrics, **known, catalogue=catalogue)
        write_results(base / "run", task, evaluated, rows())
    text = {"user": 1, "item": 5, "reference": "warm", "text": "nice"}
    write_results(base / "run", "explanation", result({"USR": 1.0}, **known, users=1), [text])
    shutil.copytree(base / "run", base / "other")
    baseline = result(metrics, **known, method="item_knn")
    del baseline["training"], baseline["run_id"]
    write_results(base / "data-item_knn", "sequential", baseline, rows())
    for name in READERS:
        assert not read(name, base).startswith("UserError"), read(name, base)
    return base


def write_bad(path, value):
    """JSON of whatever value, with infinity as a number that JSON allows; then the checksums that
    run.json and <task>.json keep of the file, so that what is behind them is reached."""
    text = json.dumps(value).replace("Infinity", "1e999")
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row).replace("Infinity", "1e999") + "\n" for row in value)
    path.write_text(text)
    for record in (path.with_name("run.json"), path.with_suffix(".json")):
        if record == path or not record.is_file():
            continue
        content = json.loads(record.read_text())
        if path.name in content.get("files", ()):
            content["files"][path.name] = sha256(path)
            write_json(record, content)


def content_of(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


# ------------------------------------------------------------------------------------ one by one

RUN = "run/run.json"
RESULT, ROWS = "run/sequential.json", "run/sequential.jsonl"
TEXT, TEXTS, LOG = "run/explanation.json", "run/explanation.jsonl", "run/train_log.jsonl"
CONFIG, NUMBERS, BASELINE = (
    "run/config.json",
    "run/item_numbers.json",
    "data-item_knn/sequential.json",
)
OF_FILE = {
    RUN: READERS,
    RESULT: OF_RESULTS,
    ROWS: ("page", "test"),
    TEXT: ("page", "table", "card"),
    TEXTS: ("page",),
    LOG: ("page",),
    CONFIG: ("opened", "page"),
    NUMBERS: ("opened",),
    BASELINE: ("page", "table"),
}
# Where, what, and whether a reader may work all the same: None = the entry is taken out.
MUST_BE_REFUSED = [
    (RESULT, "users", "x"), (RESULT, "users", -5), (RESULT, "users", 0), (RESULT, "command", 5),
    (RESULT, "metrics", 5), (RESULT, "metrics", None), (RESULT, "metrics", {"HR@1": "x"}),
    (RESULT, "metrics", {"HR@1": INFINITY}), (RESULT, "catalogue", 5), (RESULT, "training", {}),
    (RESULT, "training", 5), (RESULT, "training", {"arguments": {}}), (RESULT, "dataset", None),
    (RESULT, "training", {"arguments": {"method": "x"}}), (RESULT, "arguments", [1]),
    (RESULT, "arguments", {"top_n": "x"}), (RESULT, "arguments", {"linear": "x"}),
    (RESULT, "arguments", {"negative_num": {}}), (RESULT, "arguments", {"deep": DEEP}),
    (RESULT, "versions", {"torch": 2}), (RESULT, "commit", 5), (RESULT, "seed", "x"),
    (RESULT, "decode", None), (RESULT, "held_out_edges_seen", "many"), (RESULT, "files", 5),
    (RESULT, "catalogue", {"by_history_length": [{}]}), (RESULT, "fingerprints", {"a": "x"}),
    (RUN, "arguments", {}), (RUN, "command", 5), (RUN, "resumed", [{}]), (RUN, "resumed", 5),
    (RUN, "versions", None), (RUN, "files", {"a": 5}), (RUN, "dataset", []), (RUN, "run_id", 5),
]  # fmt: skip
ROWS_TO_REFUSE = [
    ("rank", -5), ("rank", 1.5), ("rank", 10**9), ("rank", "x"), ("rank", None), ("rank", 3),
    ("user", 0), ("user", None), ("user", "1"), ("items", None), ("items", [0]), ("items", [1]),
    ("item_ids", [1]), ("scores", ["x"] * 5), ("scores", [INFINITY] * 5), ("target", {}),
    ("last_item_ids", 5), ("last_item_ids", ["a"] * 99), ("history_length", -1),
    ("target_users", 1.5),
]  # fmt: skip


def change(base, file, *keys, value):
    """Set an entry of a file; None takes it out."""
    content = content_of(base / file)
    table = content
    for key in keys[:-1]:
        table = table[key]
    if value is None:
        del table[keys[-1]]
    else:
        table[keys[-1]] = value
    write_bad(base / file, content)


@pytest.fixture
def base(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "base")


@pytest.mark.parametrize(("file", "key", "value"), MUST_BE_REFUSED)
def test_an_entry_that_is_wrong_is_refused(base, file, key, value):
    change(base, file, key, value=value)
    for name in OF_FILE[file]:
        message = read(name, base)
        assert message.startswith(f"UserError: {base / file}: "), (name, message)


@pytest.mark.parametrize(("key", "value"), ROWS_TO_REFUSE)
def test_a_row_that_is_wrong_is_refused(base, key, value):
    change(base, ROWS, 2, key, value=value)
    for name in OF_FILE[ROWS]:
        assert read(name, base).startswith(f"UserError: {base / ROWS}, line 3: "), name


CONTENTS = [
    b"", b"\0" * 99, b"[1]", b"{}", b"5", b"null", b'"x"', b"[" * 10**5, b'{"a":' * 10**5,
    b"\xff\xfe{\0}\0", b"caf\xe9", b"NaN", b"9" * 5000, b'{"a": 1, "a": 2}', b"{", b"\n\n",
]  # fmt: skip


@pytest.mark.parametrize("file", OF_FILE)
@pytest.mark.parametrize("content", CONTENTS, ids=[repr(c[:12]) for c in CONTENTS])
def test_a_file_that_is_something_else(base, capsys, file, content):
    """Refused; but a log that is cut short costs no report, nor does a baseline beside the run."""
    if (file, content) == (LOG, b""):
        return  # a run that was stopped before its first line
    (base / file).write_bytes(content)
    for name in OF_FILE[file]:
        message = read(name, base)
        if name == "page" and file in (LOG, BASELINE):
            assert not message.startswith("UserError")
            assert str(base / file) in capsys.readouterr().out
        else:
            assert message.startswith(f"UserError: {base / file}"), (name, message)


@pytest.mark.parametrize("file", OF_FILE)
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_file_that_is_no_file(base, file, kind):
    path = base / file
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)
    for name in OF_FILE[file]:
        message = read(name, base)
        assert message.startswith(f"UserError: {path}") or file in (LOG, BASELINE), (name, message)


# ------------------------------------------------------------------------------------- by chance


def places(value, at=()):
    """Every place in a value, from the outside in, a few levels deep."""
    yield at
    if isinstance(value, dict | list) and len(at) < 9:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


@st.composite
def damage(draw):
    """A file, and what is done to it: (place by number, value or removal) a few times."""
    file = draw(st.sampled_from(list(OF_FILE)))
    value = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=20)
    what = st.tuples(st.integers(0, 10**6), st.sampled_from(["set", "remove", "add"]), value)
    return file, draw(st.lists(what, min_size=1, max_size=4))


def apply(content, changes):
    for number, how, chosen in changes:
        value = deepcopy(chosen)  # one by one: they must not come to hold each other
        every = list(places(content))
        at = every[number % len(every)]
        if not at:
            content = value if how == "set" and number % 7 == 0 else content
            continue
        holder = content
        for key in at[:-1]:
            holder = holder[key]
        if how == "remove":
            del holder[at[-1]]
        elif how == "set" or isinstance(holder, list):
            holder[at[-1]] = value
        else:
            holder[f"{at[-1]}+"] = value
    return content


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(what=damage())
def test_whatever_is_changed(whole, what):
    file, changes = what
    path = whole / file
    others = [whole / "run" / name for name in ("run.json", "sequential.json", "explanation.json")]
    kept = {p: p.read_bytes() for p in {path, *others}}
    content = apply(content_of(path), changes)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    try:
        write_bad(
            path, content if path.suffix == ".json" or isinstance(content, list) else [content]
        )
        for name in OF_FILE[file]:
            event(f"{name}: {'refused' if read(name, whole).startswith('UserError') else 'read'}")
    finally:
        for p, old in kept.items():
            p.write_bytes(old)
    assert time.perf_counter() - started < 10  # of a hang, not of a slow machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10  # KiB
