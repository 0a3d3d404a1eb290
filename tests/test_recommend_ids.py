"""recommend.py and ids in which anything may stand: typed, in files, and printed."""

import json

import pytest

from tests.conftest import script, write_folder
from tests.test_recommend import answers
from tests.test_scripts import SMALL


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A data folder with odd original ids, and a run of it."""
    base = tmp_path_factory.mktemp("odd")
    data, run = write_folder(base / "few"), base / "run"
    maps = json.loads((data / "datamaps.json").read_text())
    maps["id2user"] |= {"1": "-0Ji0nOyFe", "2": "--json", "3": "\x1b]0;title\x07"}
    maps["id2item"] |= {"1": "a,b", "2": "-c", "3": "\x1b[31mred|", "4": "two\nlines\u202e"}
    (data / "datamaps.json").write_text(json.dumps(maps))
    done = script("pretrain.py", data, *SMALL, "--checkpoint", run, "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    return data, run


@pytest.mark.parametrize(
    ("flags", "user", "history"),
    [
        (["--user", "-0Ji0nOyFe"], "-0Ji0nOyFe", None),
        (["--user=-0Ji0nOyFe"], "-0Ji0nOyFe", None),
        (["--user=--json"], "--json", None),
        (["--history", '-c,"a,b"'], None, ["-c", "a,b"]),
        (["--history", "a,b"], None, ["a,b"]),
    ],
)
def test_ids_that_look_like_flags_or_hold_commas(odd, flags, user, history):
    (answer,), _ = answers(*odd, *flags)
    assert answer["user_id"] == user
    assert history is None or answer["history"] == history


def test_a_flag_is_not_taken_for_an_id(odd):
    data, run = odd
    done = script("recommend.py", data, "--checkpoint", run, "--user", "--json")
    assert done.returncode == 2
    assert "argument --user: expected one argument" in done.stderr


def test_ids_do_not_steer_the_terminal(odd, tmp_path):
    data, run = odd
    how = [data, "--checkpoint", run, "--precision", "fp32", "--top_n", "12"]
    path = tmp_path / "users.txt"
    path.write_text("-0Ji0nOyFe\n--json\n\x1b]0;title\x07\n\x9b31mnobody\n")
    done = script("recommend.py", *how, "--users_file", path)
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert all(c == "\n" or c.isprintable() for c in text if c != "\r")  # a bar's
    assert "\\x1b]0;title\\x07 (user 3) had" in done.stdout
    assert r"\x1b[31mred|" in done.stdout.replace("\\\\", "\\").replace("\\|", "|")
    assert r"'\x9b31mnobody' is not in the data; skipped" in done.stderr
    tables = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {4}
    done = script("recommend.py", *how, "--users_file", path, "--json")
    assert all(c == "\n" or c.isprintable() for c in done.stdout)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[2]["user_id"] == "\x1b]0;title\x07"
    listed = {item["item_id"] for answer in found for item in answer["items"]}
    assert "two\nlines\u202e" in listed
    assert "\x1b[31mred|" in found[0]["history"]
