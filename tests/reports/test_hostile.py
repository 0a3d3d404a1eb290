"""A run's folder whose files are damaged, mixed or hostile: each reader works, or says in one
message what is wrong."""

import os
import shutil

import pytest

from tests.reports.hostile import (
    BASELINE,
    DEEP,
    INFINITY,
    LOG,
    OF_FILE,
    RESULT,
    ROWS,
    RUN,
    VERDICT,
    content_of,
    read,
    write_bad,
)

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
    ("target_users", 1.5), ("titles", 5), ("titles", ["a"]), ("titles", {"I1": 5}), ("reason", 5),
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
    """Refused; but a log that is cut short costs no report, nor does a baseline beside the run,
    nor the verdict."""
    if (file, content) == (LOG, b""):
        return  # a run that was stopped before its first line
    (base / file).write_bytes(content)
    for name in OF_FILE[file]:
        message = read(name, base)
        if name == "page" and file in (LOG, BASELINE, VERDICT):
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
        assert message.startswith(f"UserError: {path}") or file in (LOG, BASELINE, VERDICT)
