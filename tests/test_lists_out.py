"""recommend.py --out: lists of many people in files, read back by outside readers."""

import csv
import itertools
import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from modules import list_files, lists_out
from modules.recommend import Lists
from tests.conftest import HISTORIES, script, write_folder
from tests.kills import killed_at
from tests.test_scripts import SMALL

ENDINGS = list_files.ENDINGS
TITLES = {
    1: 'a "tea", no. 1',
    2: "two\r\nlines",
    3: "\x1b[31mred\u202e",
    4: "=1+1",
    5: "Tee für zwei",
}
COLUMNS = ["user", "rank", "item", "title", "probability"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A data folder with titles, odd ids, and the folder of a run on it."""
    base = tmp_path_factory.mktemp("run")
    data, run = write_folder(base / "few"), base / "checkpoint"
    maps = json.loads((data / "datamaps.json").read_text())
    maps["id2user"]["2"], maps["id2item"]["4"] = 'U,"2"', "I\t4"
    (data / "datamaps.json").write_text(json.dumps(maps))
    titles = {str(item): {"title": title} for item, title in TITLES.items()}
    (data / "items.json").write_text(json.dumps(titles))
    done = script("pretrain.py", data, *SMALL, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    return data, run


def recommend(trained, *flags):
    data, run = trained
    return script("recommend.py", data, "--checkpoint", run, "--precision", "fp32", *flags)


def answers(trained, *flags) -> list[dict]:
    """What the command prints without --out."""
    done = recommend(trained, "--json", *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def written(trained, path, *flags) -> str:
    done = recommend(trained, "--out", path, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def read(path: Path) -> tuple[list[str], list[tuple]]:
    """Names and rows of a file, by other people's readers."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file, strict=True)
        kinds = {"rank": int, "probability": float}
        return head, [tuple(kinds.get(n, str)(x) for n, x in zip(head, row)) for row in rows]
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.column_names, list(zip(*(column.to_pylist() for column in table.columns)))
    with sqlite3.connect(path) as base:
        found = base.execute("SELECT * FROM recommendations")
        return [column[0] for column in found.description], found.fetchall()


def expected(answers: list[dict]) -> list[tuple]:
    return [
        (answer["user_id"], n, item["item_id"], item["title"], item["probability"])
        for answer in answers
        for n, item in enumerate(answer["items"], start=1)
    ]


def escaped(row: tuple) -> tuple:
    """As CSV has it, control characters written out by hand."""
    signs = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\x1b": "\\x1b", "\u202e": "\\u202e"}
    table = str.maketrans(signs)
    return tuple(x.translate(table) if isinstance(x, str) else "" if x is None else x for x in row)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".sqlite"])
def test_rows_are_those_of_the_answers(ending, trained, tmp_path):
    path = tmp_path / "deep" / f"lists{ending}"
    log = written(trained, path, "--all_users", "--top_n", "4")
    users = tmp_path / "users.txt"
    users.write_text('U1\nU,"2"\nU3\nU4\n')
    rows = expected(answers(trained, "--users_file", users, "--top_n", "4"))
    assert len(rows) == 16
    assert {row[3] for row in rows} > {None}
    names, found = read(path)
    assert names == COLUMNS
    assert found == ([escaped(row) for row in rows] if ending == ".csv" else rows)
    assert f"{path}: 4 users; 4 in" in log
    assert "users/s" in log
    assert {p.name for p in path.parent.iterdir()} == {path.name, f"{path.name}.json"}


def test_a_line_a_user_is_what_json_prints(trained, tmp_path):
    written(trained, tmp_path / "l.jsonl", "--all_users", "--held_out", "1")
    text = (tmp_path / "l.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.split("\n")[:-1]] == answers(
        trained, "--all_users", "--held_out", "1"
    )


def test_files_are_as_their_tools_want_them(trained, tmp_path):
    for ending in (".csv", ".parquet", ".sqlite"):
        written(trained, tmp_path / f"l{ending}", "--all_users")
    content = (tmp_path / "l.csv").read_bytes()
    assert content.startswith(b"user,rank,item,title,probability\r\n")
    assert b'"U,""2""",1,' in content
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "l.parquet")}
    assert kinds == dict.fromkeys(COLUMNS, "string") | {"rank": "int32", "probability": "double"}
    with sqlite3.connect(tmp_path / "l.sqlite") as base:
        plan = base.execute("EXPLAIN QUERY PLAN SELECT * FROM recommendations WHERE user = 'U1'")
        assert "USING INDEX" in plan.fetchall()[0][3]
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_reasons_where_they_are_asked_for(ending, trained, tmp_path):
    path = tmp_path / f"l{ending}"
    written(trained, path, "--all_users", "--top_n", "2", "--explain", "1")
    lists = answers(trained, "--all_users", "--top_n", "2", "--explain", "1")
    whys = [item["why"] for answer in lists for item in answer["items"]]
    assert {type(why) for why in whys[::2]} == {str}  # a model of so few steps may write ""
    assert set(whys[1::2]) == {None}
    if ending == ".jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == lists
        return
    names, rows = read(path)
    assert names == [*COLUMNS, "reason"]
    found = [row[-1] or None for row in rows]
    assert found == [escaped((why,))[0] or None for why in whys]


def test_unknown_users_those_named_twice_and_a_newcomer(trained, tmp_path):
    users, items = tmp_path / "users.txt", tmp_path / "items.txt"
    users.write_text("U3\nU99\nU1\nU3\n")
    log = written(trained, tmp_path / "l.csv", "--users_file", users, "--top_n", "1")
    assert [row[0] for row in read(tmp_path / "l.csv")[1]] == ["U3", "U1"]
    assert "users.txt, line 2: user 'U99' is not in the data; skipped" in log
    assert "1 lines of" in log
    assert "1 of 4 lines of" in log
    done = recommend(trained, "--users_file", users, "--strict", "--out", tmp_path / "s.csv")
    assert done.returncode == 2
    assert not (tmp_path / "s.csv").exists()
    items.write_text("I3\nI1\n")
    written(trained, tmp_path / "n.sqlite", "--history_file", items, "--top_n", "3")
    assert [row[:2] for row in read(tmp_path / "n.sqlite")[1]] == [(None, n) for n in (1, 2, 3)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_gone_on_with(number, ending, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(lists_out, "PART", 1)
    written(trained, tmp_path / f"whole{ending}", "--all_users")
    path, calls, of = tmp_path / f"l{ending}", [], Lists.of

    def stopped(self, people):
        calls.append(people[0].user)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return of(self, people)

    monkeypatch.setattr(Lists, "of", stopped)
    done = recommend(trained, "--all_users", "--out", path)
    assert done.returncode == 128 + number
    assert f"stopped: 2 of 4 users are in {path}.part. The same command goes on" in done.stderr
    assert not path.exists()
    log = written(trained, path, "--all_users", "--batch_size", "3")
    assert calls == list(HISTORIES)  # nobody is ranked twice
    assert f"{path}: 4 users, 2 of them by an earlier run; 2 in" in log
    assert path.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


@pytest.mark.parametrize("few", [13, pytest.param(1, marks=pytest.mark.slow, id="all")])
@pytest.mark.parametrize("ending", ENDINGS)
def test_killed_and_gone_on_with(ending, few, trained, tmp_path):
    data, run = trained
    written(trained, tmp_path / f"whole{ending}", "--all_users")
    path = tmp_path / "here" / f"l{ending}"
    command = ["recommend.py", data, "--checkpoint", run, "--precision", "fp32", "--all_users"]
    for nth in itertools.count(2, few):
        shutil.rmtree(path.parent, ignore_errors=True)
        if not killed_at(nth, path.parent, *command, "--out", path, output=tmp_path / "log"):
            break
        if not path.exists() or path.with_name(f"{path.name}.part.json").exists():
            written(trained, path, "--all_users")
        else:  # all was done but the end of the lock, which holds nobody up
            path.with_name(f".{path.name}.elmrec.lock").unlink(missing_ok=True)
        assert path.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
        assert {p.name for p in path.parent.iterdir()} == {path.name, f"{path.name}.json"}
    assert nth > 10


def test_another_model_other_data_or_flags_do_not_go_on(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(lists_out, "PART", 3)
    of = Lists.of
    monkeypatch.setattr(Lists, "of", lambda self, p: os.kill(os.getpid(), 15) or of(self, p))
    path, data = tmp_path / "l.csv", trained[0]
    assert recommend(trained, "--all_users", "--out", path).returncode == 143

    def refused(what, *flags, place=trained):
        done = recommend(place, "--out", path, *(flags or ("--all_users",)))
        assert done.returncode == 2, done.stderr
        assert f"l.csv.part was begun with another {what}" in done.stderr

    refused("--top_n (--top_n 10, now 5)", "--all_users", "--top_n", "5")
    refused("--keep_seen", "--all_users", "--keep_seen")
    refused("--held_out and users (--held_out 0, now 1)", "--all_users", "--held_out", "1")
    refused("users (", "--user", "U1")
    refused("--precision", "--all_users", "--precision", "bf16")
    titles = (data / "items.json").read_bytes()
    (data / "items.json").write_text('{"1": {"title": "another"}}')
    refused("titles")
    (data / "items.json").write_bytes(titles)
    other = tmp_path / "other"
    done = script("pretrain.py", data, *SMALL, "--seed", "5", "--checkpoint", other)
    assert done.returncode == 0, done.stderr
    refused("run and model", place=(data, other))
    monkeypatch.setattr(Lists, "of", of)
    written(trained, path, "--all_users")


def test_refused_before_the_work(trained, tmp_path, monkeypatch):
    def refused(*flags):
        done = recommend(trained, "--all_users", *flags)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "must end in .csv, .jsonl, .parquet or .sqlite" in refused("--out", tmp_path / "l.txt")
    (tmp_path / "mine.csv").write_text("mine")
    assert "Move it away" in refused("--out", tmp_path / "mine.csv", "--overwrite")
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert "not allowed with" in refused("--out", tmp_path / "l.csv", "--json")
    written(trained, tmp_path / "l.csv", "--all_users")
    assert "--overwrite" in refused("--out", tmp_path / "l.csv")
    written(trained, tmp_path / "l.csv", "--all_users", "--top_n", "1", "--overwrite")
    assert len(read(tmp_path / "l.csv")[1]) == 4
    monkeypatch.setattr("modules.preparation.extras.find_spec", lambda name: None)
    assert "requirements-data.txt" in refused("--out", tmp_path / "l.parquet")
