"""The scripts as a user runs them: the whole way on a small set, --help, and bad input."""

import html
import json
import os
import random
import re
import shutil
import signal
import sys
import warnings

import numpy as np
import pytest
import torch

from tests.conftest import SHARED, TINY, process, script, write_folder

SMALL = [
    *TINY,
    "--max_steps",
    "6",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data folder and the folder of a run of six steps on it."""
    base = tmp_path_factory.mktemp("run")
    data, run = write_folder(base / "few"), base / "checkpoint"
    done = script("pretrain.py", data, *SMALL, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    return data, run


def test_the_whole_way(trained):
    data, run = trained
    assert (run / "report.html").is_file()
    commands, how = [], ("--checkpoint", run, "--batch_size", "3")
    for name, stem in (("seq_reranker", "sequential"), ("topn", "direct"), ("exp", "explanation")):
        done = script(f"{name}.py", data, *how, report=name == "exp")
        assert done.returncode == 0, done.stderr
        assert f"report: {run / 'report.html'}" in done.stdout
        result = json.loads((run / f"{stem}.json").read_text())
        rows = [json.loads(line) for line in (run / f"{stem}.jsonl").read_text().splitlines()]
        assert len(rows) == result["users"] == (1 if name == "exp" else 4)
        assert result["protocol"] == "clean"
        assert result["item_ids"] == "random"
        assert result["seed"] == 0
        commands.append(result["command"])
        assert {"versions", "commit", "arguments", "seconds", "command"} <= set(result)
        for metric, value in result["metrics"].items():
            assert metric in done.stdout
            assert 0 <= value <= 100
    page = html.unescape(re.sub("<[^>]*>", "", (run / "report.html").read_text()))
    assert all(command in page for command in commands)
    rows = [json.loads(line) for line in (run / "sequential.jsonl").read_text().splitlines()]
    assert [row["user"] for row in rows] == [1, 2, 3, 4]
    assert rows[1]["user_id"] == "U2"
    for row in rows:
        assert row["item_ids"] == [f"I{i}" for i in row["items"]]
        assert (row["items"].index(row["target"]) if row["target"] in row["items"] else None) == (
            row["rank"]
        )
    card = (run / "README.md").read_text()
    assert re.search(r"\| protocol +\| clean, item numbers random +\|", card)
    result = json.loads((run / "direct.json").read_text())
    assert re.search(rf"\| HR@5 +\| {result['metrics']['HR@5']:.4f} +\|", card)
    assert result["command"] in card
    log = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    assert log[-1]["valid"].keys() == {"explanation", "sequential", "direct"}


BEST = ["--preset", "best", "--batch_size", "2", "--max_steps", "6", "--eval_users", "3"]


def test_the_best_preset_the_whole_way(tmp_path):
    """Items as tokens, causal histories, the linear model, exact ranks in the catalogue."""
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    done = script("pretrain.py", data, *BEST, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    assert "best validation NDCG@10" in done.stdout
    log = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    assert log[-1]["metrics"].keys() == {"sequential HR@10", "sequential NDCG@10"}
    where = ("--checkpoint", run, "--batch_size", "3")
    extras = {"seq_reranker": (), "topn": ("--negative_num", "5")}
    lists = {}
    for name, stem in (("seq_reranker", "sequential"), ("topn", "direct")):
        for weight in ("0", "1000"):
            how = (*where, *extras[name], "--linear", weight, "--catalogue")
            done = script(f"{name}.py", data, *how)
            assert done.returncode == 0, done.stderr
            result = json.loads((run / f"{stem}.json").read_text())
            assert result["item_ids"] == "own"
            assert len(result["catalogue"]["metrics"]) == 18
            lists[name, weight] = (run / f"{stem}.jsonl").read_text()
        assert lists[name, "0"] != lists[name, "1000"]
    done = script("recommend.py", data, "--checkpoint", run, "--user", "U2", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert not {item["item_id"] for item in answer["items"]} & {"I1", "I2", "I3", "I6"}


@pytest.mark.parametrize(
    ("name", "flags", "words"),
    [
        ("pretrain", ["--item_vectors", "cooccurrence"], "give --item_ids own as well"),
        ("pretrain", ["--simulate_leak"], "Give --protocol paper"),
        ("pretrain", ["--whole_words", "direct=letters"], "'direct=letters'"),
        ("pretrain", ["--shard", "--optimizer", "adamw", "--eval_users", "3"], "--shard splits it"),
        ("seq_reranker", ["--decode", "beam", "--linear", "2"], "--linear 2 works with exact"),
        ("topn", ["--catalogue"], "--prompt history"),
    ],
)
def test_flags_that_do_not_go_together(trained, name, flags, words):
    data, run = trained
    where = ["--checkpoint", run] if name != "pretrain" else ["--checkpoint", run / "other"]
    done = script(f"{name}.py", data, *flags, *where)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ids", ["collaborative", "own"])
def test_other_item_ids_and_whole_words_are_trained_and_read_back(tmp_path, ids):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    changes = ("--item_ids", ids, "--whole_words", "direct=position,sequential=graph")
    done = script("pretrain.py", data, *SMALL, *changes, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    for name in ("seq_reranker", "topn"):
        done = script(f"{name}.py", data, "--checkpoint", run, "--batch_size", "3")
        assert done.returncode == 0, done.stderr
    config = json.loads((run / "config.json").read_text())
    assert config["elmrec"]["whole_words"] == {"direct": "position", "sequential": "graph"}


def test_beams_and_a_part_of_the_users(trained):
    data, run = trained
    beams = ("--decode", "beam", "--num_beams", "8", "--top_n", "3", "--N", "5")
    done = script("seq_reranker.py", data, "--checkpoint", run, *beams, "--limit_users", "2")
    assert done.returncode == 0, done.stderr
    assert len((run / "sequential.jsonl").read_text().splitlines()) == 2


def test_drawn_negatives_are_kept_with_the_run_and_not_in_the_data(tmp_path):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    (data / "negative.txt").unlink()
    (data / "explanation.json").unlink()
    before = sorted(p.name for p in data.iterdir())
    done = script("pretrain.py", data, *SMALL, "--tasks", "sequential,direct", "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    lists = []
    for _ in range(2):
        done = script("topn.py", data, "--checkpoint", run)
        assert done.returncode == 0, done.stderr
        assert "drawn with seed 0" in done.stdout
        lists.append(((run / "negative.txt").read_text(), (run / "direct.jsonl").read_text()))
    assert lists[0] == lists[1]
    assert sorted(p.name for p in data.iterdir()) == before
    done = script("exp.py", data, "--checkpoint", run)
    assert done.returncode == 2
    assert "--tasks sequential,direct" in done.stderr


@pytest.mark.parametrize("name", ["pretrain", "seq_reranker", "topn", "exp", "recommend"])
def test_help_is_grouped(name):
    done = script(f"{name}.py", "--help")
    assert done.returncode == 0
    assert "machine and output:" in done.stdout
    assert f"python {name}.py ./data/beauty/" in done.stdout
    if name == "pretrain":
        for symbol in ("(α)", "(σ)", "(L)", "(K)"):
            assert symbol in done.stdout


SPOILS = """
import os, random, signal, sys, warnings
import numpy, torch
os.chdir("/"); os.environ["SPOILED"] = "1"; sys.argv[1] = "spoiled"
signal.signal(signal.SIGTERM, signal.SIG_IGN); warnings.simplefilter("error")
torch.use_deterministic_algorithms(True); torch.set_default_dtype(torch.float64)
random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
print("printed"); raise RuntimeError("nobody's fault")
"""


def test_a_script_in_process_ends_as_a_process_and_leaves_nothing(tmp_path):
    def state():
        draws = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        modes = torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()
        of_system = os.getcwd(), dict(os.environ), list(sys.argv), signal.getsignal(signal.SIGTERM)
        return draws, modes, of_system, list(warnings.filters)

    (tmp_path / "spoils.py").write_text(SPOILS)
    before = state()
    done = script("spoils.py", "an argument", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "printed\n")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("RuntimeError: nobody's fault\n")
    assert state() == before
    (tmp_path / "says.py").write_text("raise SystemExit('nothing to do')")
    assert script("says.py", cwd=tmp_path) == process("says.py", cwd=tmp_path)


@pytest.mark.parametrize("name", ["seq_reranker", "compare", "prepare"])
def test_help_in_a_new_process(name):
    """The other scripts: test_fault_handling.py, and test_recommend.py where a pipe is closed."""
    done = process(f"{name}.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name}.py")


def pretrain_errors(data):
    return [
        ([], "no data folder"),
        (["nowhere"], "'nowhere' does not exist"),
        ([data, "--data_dir", "elsewhere"], "two data folders"),
        ([data, "--cuda"], "--cuda: this machine"),
        ([data, "--backbone", "tiny", "--model_version", "1"], "contradict each other"),
        ([data, "--method", "pod", "--sigma", "3"], "--sigma is of the graph"),
        ([data, "--backbone", "no/such-model"], "--backbone mini or tiny"),
        ([data, "--backbone", "./nowhere"], "no such folder"),
        (
            [data, "--backbone", "tiny", "--negative_num", "99", "--tasks", "direct"],
            "--negative_num 99",
        ),
        ([data, "--tasks", "sequential,sleeping"], "name some of explanation,sequential,direct"),
        ([data, "--lr", "-1"], "'-1' must be a number above 0"),
        ([data, "--L", "x"], "'x' must be a whole number"),
        ([data, "--alpha", "nan"], "'nan' must be a number"),
    ]


@pytest.mark.parametrize("number", range(13))
def test_pretrain_refuses(number, trained, tmp_path):
    arguments, message = pretrain_errors(str(trained[0]))[number]
    if "--cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = script("pretrain.py", *arguments, "--checkpoint", tmp_path / "run")
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_backbone_folder_without_weights(shared, trained, tmp_path):
    where = ("--backbone", shared / "t5-small", "--checkpoint", tmp_path / "run")
    done = script("pretrain.py", trained[0], *where)
    assert done.returncode == 2
    assert "no weights" in done.stderr
    assert "--from_scratch" in done.stderr


def test_evaluation_refuses(trained, tmp_path):
    data, run = trained

    def refused(*args):
        done = script(*args)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "no such folder" in refused("topn.py", data, "--checkpoint", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "run.json: no such file" in refused("topn.py", data, "--checkpoint", tmp_path / "empty")
    other = write_folder(tmp_path / "other")
    text = (other / "sequential.txt").read_text()
    (other / "sequential.txt").write_text(text.replace("1 3 1 4 2 5", "1 3 1 4 5 2"))
    (other / "negative.txt").unlink()
    message = refused("topn.py", other, "--checkpoint", run)
    assert "was trained on the data set 'few'" in message
    assert "sequential.txt" in message
    assert "--num_beams 5 cannot give 10" in refused(
        "topn.py", data, "--checkpoint", run, "--decode", "beam", "--num_beams", "5"
    )
    assert "holds 5 negatives" in refused(
        "topn.py", data, "--checkpoint", run, "--negative_num", "6"
    )
    assert "must be a multiple" in refused("exp.py", data, "--checkpoint", run, "--num_beams", "20")


def test_another_tokenizer_is_refused(trained, tmp_path):
    data, run = trained
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace('"▁user_"', '"▁loser_"'))
    done = script("topn.py", data, "--checkpoint", copy)
    assert done.returncode == 2
    assert "not the tokenizer" in done.stderr


@pytest.mark.slow
def test_full_size_model_on_real_beauty(shared, tmp_path):
    run = tmp_path / "run"
    common = [SHARED / "data" / "beauty", "--checkpoint", run]
    flags = (
        "--from_scratch --tasks sequential,direct --batch_size 8 --max_steps 4 --valid_samples 16"
    )
    done = script("pretrain.py", *common, "--backbone", shared / "t5-small", *flags.split())
    assert done.returncode == 0, done.stderr
    for name in ("seq_reranker", "topn"):
        done = script(f"{name}.py", *common, "--limit_users", "50")
        assert done.returncode == 0, done.stderr
        assert "HR@10" in done.stdout
