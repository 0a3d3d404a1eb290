"""--config in every script: a file in place of flags, whose values are read as flags are."""

import argparse
import json
import sys
from pathlib import Path

import pytest

import compare
import exp
import prepare
import recommend
import seq_reranker
import topn
from tests.conftest import script
from utils.config_flag import OfRun, add_config_flag, parse_flags
from utils.errors import UserError


@pytest.fixture
def parse(tmp_path):
    """The flags of a small parser, from a file's text and words."""

    def read(text, *words, name="a.yaml"):
        (tmp_path / name).write_text(text)
        parser = argparse.ArgumentParser()
        add_config_flag(parser, OfRun("its size", lambda path, own: {"size": own["size"]}))
        parser.add_argument("data", nargs="?")
        parser.add_argument("--data_dir")
        parser.add_argument("--size", type=int, default=1)
        parser.add_argument("--name", required=True)
        parser.add_argument("--out", action="append", default=[], type=Path)
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--all", action="store_true")
        whom.add_argument("--one")
        seen = parser.add_mutually_exclusive_group()
        seen.add_argument("--keep", dest="seen", action="store_const", const="keep", default="no")
        seen.add_argument("--leave", dest="seen", action="store_const", const="leave")
        return parse_flags(parser, ["--config", str(tmp_path / name), *words])

    return read


def test_a_file_gives_what_the_line_does_not(parse):
    read = parse("name: x\nall: true\nsize: 3\nkeep: true\nout: [a.md, b.md]\ndata_dir: d\n")
    assert vars(read) == {
        "name": "x", "all": True, "one": None, "size": 3, "seen": "keep", "data": "d",
        "data_dir": None, "out": [Path("a.md"), Path("b.md")],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("--size 4", {"size": 4}),
        ("--siz=4", {"size": 4}),  # the beginning of a name, as argparse takes it
        ("--out c.md", {"out": [Path("c.md")]}),
        ("--ou c.md", {"out": [Path("c.md")]}),
        ("--one u", {"one": "u", "all": False}),  # instead of what it excludes
        ("--leave", {"seen": "leave"}),
        ("e", {"data": "e"}),
        ("--data_dir e", {"data": None, "data_dir": "e"}),
        ("-- e", {"data": "e"}),
    ],
)
def test_flags_of_the_line_win(words, changed, parse):
    text = "name: x\nall: true\nsize: 3\nkeep: true\nout: a.md\ndata_dir: d\n"
    assert vars(parse(text, *words.split())) == vars(parse(text)) | changed


def test_what_is_off_takes_nothing_away(parse):
    for text in ("leave: true\nkeep: false", "keep: false\nleave: true"):
        assert parse(f"name: x\none: u\n{text}\n").seen == "leave"
    with pytest.raises(SystemExit):
        parse("name: x\nall: false\n")  # nobody is asked for yet


@pytest.mark.parametrize("text", ["", "size: 3\nall: true\n", "name: x\n"])
def test_what_is_required_is_so_still(text, parse, capsys):
    with pytest.raises(SystemExit):
        parse(text or "size: 1\n")
    assert "required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all: true\none: u", "keys 'all' and 'one' exclude each other"),
        ("sise: 3", "unknown key 'sise'; closest: size"),
        ("q: 3", "unknown key 'q'; known: data_dir, size, name, out, all, one, keep, leave"),
        ("data: d", "unknown key 'data'; closest: data_dir"),
        ("config: b.yaml", "key 'config': a file cannot name another"),
        ("size: x", "key 'size'"),
        ("size: 1\nsize: 2", "line 2: key 'size' is given twice"),
    ],
)
def test_what_is_wrong_names_the_file_and_the_key(text, words, parse):
    with pytest.raises(UserError, match=words) as caught:
        parse(text)
    assert "a.yaml" in str(caught.value)


def test_a_record_gives_what_the_script_takes_of_it(parse):
    record = {"command": "python", "arguments": {"size": 5, "depth": 2}, "date": "2026-11-26"}
    assert parse(json.dumps(record), "--name", "x", "--all", name="run.json").size == 5
    with pytest.raises(UserError, match="'arguments' must be a map"):
        parse(json.dumps(record | {"arguments": 3}), name="run.json")


# ------------------------------------------------------------------------------------- scripts


def read_by(module, monkeypatch, *words):
    """The arguments of a script on a command line."""
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, words)])
    return module.parse_args()


FLAGS = {
    seq_reranker: ("top_n: 7\nN: 3\nno_rerank: true", {"top_n": 7, "N": 3, "seen": "keep"}),
    topn: ("catalogue: true\nprompt: history", {"catalogue": True, "prompt": "history"}),
    exp: ("outf: other\nnum_beams: 6", {"outf": "other", "num_beams": 6, "num_beam_groups": 3}),
    recommend: ("history: 'I1,I2'\njson: true", {"history": "I1,I2", "json": True}),
}


@pytest.mark.parametrize("module", FLAGS, ids=[module.__name__ for module in FLAGS])
def test_scripts_that_use_a_model(module, monkeypatch, trained_once, tmp_path):
    text, wanted = FLAGS[module]
    data, run = trained_once / "data", trained_once / "run"
    path = tmp_path / "own.yaml"
    path.write_text(f"data_dir: {data}\ncheckpoint: {run}\nbatch_size: 5\n{text}\n")
    args = read_by(module, monkeypatch, "--config", path)
    assert vars(args).items() >= ({"batch_size": 5, "data_dir": str(data)} | wanted).items()
    assert not hasattr(args, "config")
    assert read_by(module, monkeypatch, "--config", path, "--batch_size", 2).batch_size == 2


@pytest.mark.parametrize("module", FLAGS, ids=[module.__name__ for module in FLAGS])
def test_run_json_names_its_run_and_no_setting_of_training(module, monkeypatch, trained_once):
    run = trained_once / "run"
    whom = ["--all_users"] if module is recommend else []
    args = read_by(module, monkeypatch, "--config", run / "run.json", *whom)
    plain = read_by(module, monkeypatch, trained_once / "data", "--checkpoint", run, *whom)
    assert args.data_dir == plain.data_dir == str(trained_once / "data")
    assert args.checkpoint == str(run)
    own = vars(args) | {"data": None, "names": None}
    assert own == vars(plain) | {"data": None, "names": None}


def test_a_record_that_is_not_in_a_runs_folder(monkeypatch, trained_once, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes((trained_once / "run" / "run.json").read_bytes())
    with pytest.raises(UserError, match=r"copy\.json: is no run\.json"):
        read_by(topn, monkeypatch, "--config", copy)
    with pytest.raises(UserError, match="takes nothing of one"):
        read_by(prepare, monkeypatch, "raw.csv", "--out", "o", "--config", copy)


def test_a_result_records_the_values_of_the_file(trained_once, tmp_path, folder):
    path = tmp_path / "own.yaml"
    path.write_text("limit_users: 2\ntop_n: 4\n")
    run = trained_once / "run"
    done = script("topn.py", "--config", path, trained_once / "data", "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    result = json.loads((run / "direct.json").read_text())
    assert result["users"] == 2
    assert result["arguments"].items() >= {"limit_users": 2, "top_n": 4}.items()
    assert f"--config {path}" in result["command"]
    assert "config" not in result["arguments"]


def test_prepare_and_its_record(tmp_path):
    rows = [f"u{u},i{i},{i}" for u in range(6) for i in range(8)]
    (tmp_path / "raw.csv").write_text("who,item,time\n" + "\n".join(rows) + "\n")
    path = tmp_path / "own.yaml"
    path.write_text(f"user: who\ncore: 3\nout: {tmp_path / 'data'}\nnegative_num: 2\n")
    done = script("prepare.py", tmp_path / "raw.csv", "--config", path, "--negative_num", 1)
    assert done.returncode == 2, done.stdout  # everybody had every item
    rows = [row for n, row in enumerate(rows) if n % 9]
    (tmp_path / "raw.csv").write_text("who,item,time\n" + "\n".join(rows) + "\n")
    done = script("prepare.py", tmp_path / "raw.csv", "--config", path, "--negative_num", 1)
    assert done.returncode == 0, done.stderr
    stats = json.loads((tmp_path / "data" / "stats.json").read_text())
    wanted = {"user": "who", "core": 3, "negative_num": 1, "out": str(tmp_path / "data")}
    assert stats["arguments"].items() >= wanted.items()


def test_the_commands_of_compare(monkeypatch, trained_once, tmp_path):
    def read(text, *words):
        (tmp_path / "own.yaml").write_text(text)
        return read_by(compare, monkeypatch, *words, "--config", tmp_path / "own.yaml")

    read_by(compare, monkeypatch, "table", "a")  # none is needed
    args = read("methods: [ease, popularity]\ntop_n: 5\ndata_dir: d\n", "baselines")
    assert (args.methods, args.top_n, args.data_dir) == (("ease", "popularity"), 5, "d")
    assert read("resamples: 9\n", "test", "a", "b").resamples == 9
    assert read("out: [a.md, b.tex]\n", "table", "a").out == [Path("a.md"), Path("b.tex")]
    assert read("name: n\ndata_dir: d\n", "add", "lists.trec").name == "n"
    assert read("parallel: 2\n", "sweep", "s.yaml").parallel == 2
    with pytest.raises(UserError, match=r"unknown key 'resamples'; known: .*parallel"):
        read("resamples: 9\n", "sweep", "s.yaml")
    record = trained_once / "run" / "run.json"
    args = read_by(compare, monkeypatch, "baselines", "--config", record)
    assert (args.data_dir, args.seed, args.negative_num) == (str(trained_once / "data"), 0, 5)
    assert args.checkpoint == "./checkpoint/"
    with pytest.raises(UserError, match="takes nothing of one"):
        read_by(compare, monkeypatch, "table", "a", "--config", record)
