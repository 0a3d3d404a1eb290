"""compare.py sweep: the file is read strictly, what is done is not done again, one failure ends no
other run. The scripts are stand-ins of a few lines, but for one test of the whole way."""

import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import pytest

import compare
from modules.sweeps import running
from tests.conftest import ROOT, script, start, write_folder
from utils.json_files import read_json, write_json

# What a script does here: it notes how it was called, and leaves the file that says it is done.
STAND_IN = """
import json, os, sys, time
from pathlib import Path
words = sys.argv[1:]
name = Path(sys.argv[0]).stem
folder = Path(words[words.index("--checkpoint") + 1])
if name == "compare":
    folder = folder / "few-popularity-0"
with open(os.environ["CALLS"], "a") as out:
    out.write(json.dumps([name, words, os.environ.get("CUDA_VISIBLE_DEVICES")]) + chr(10))
if "SLEEP" in os.environ:
    time.sleep(float(os.environ["SLEEP"]))
if os.environ.get("FAIL") and os.environ["FAIL"] in f"{name} {folder.name}":
    print("it went wrong")
    sys.exit(3)
folder.mkdir(parents=True, exist_ok=True)
leaves = {"pretrain": "model.safetensors", "compare": "baseline.json", "topn": "direct.json"}
(folder / leaves.get(name, "sequential.json")).write_text("{}")
"""
BOTH = """
data: {data}
seeds: [0, 1]
common: {{preset: readme, backbone: tiny, batch_size: 2}}
runs:
  a: {{lr: 0.1}}
  b: {{method: pod, causal: false}}
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Stand-ins in place of the scripts; the calls that were made, when asked."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    for name in ("pretrain", "seq_reranker", "topn", "exp", "compare"):
        (folder / f"{name}.py").write_text(STAND_IN)
    monkeypatch.setattr(running, "_ROOT", folder)
    monkeypatch.setattr(compare.reports, "entries", lambda folders: [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def made():
        path = tmp_path / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    return made


@pytest.fixture
def sweep(tmp_path):
    """Run a sweep of a file's text."""
    data = write_folder(tmp_path / "few")

    def run(text, *flags):
        (tmp_path / "try.yaml").write_text(text.format(data=data))
        where = ["--checkpoint", tmp_path / "ck"]
        return script("compare.py", "sweep", tmp_path / "try.yaml", *where, *flags)

    return run


def test_every_combination_in_its_own_folder_and_not_twice(sweep, calls, tmp_path):
    done = sweep(BOTH)
    assert done.returncode == 0, done.stderr
    made = calls()
    trained = [words for name, words, _ in made if name == "pretrain"]
    root = tmp_path / "ck" / "sweep-try"
    folders = [root / f"few-{name}-{seed}" for seed in (0, 1) for name in "ab"]
    assert [words[words.index("--checkpoint") + 1] for words in trained] == list(map(str, folders))
    assert {"--backbone=tiny", "--batch_size=2", "--lr=0.1"} <= set(trained[0])
    assert "--method=pod" in trained[1]
    assert [name for name, *_ in made] == ["pretrain", "seq_reranker", "topn"] * 4
    for name, words, _ in made:
        assert shlex.join(["python", f"{name}.py", *words]) in done.stdout
    assert (root / "table.md").exists()
    assert (root / "table.csv").exists()
    assert (root / "table.tex").exists()
    assert sweep(BOTH).returncode == 0
    assert calls() == []
    (folders[0] / "direct.json").unlink()
    assert sweep(BOTH).returncode == 0
    assert [name for name, *_ in calls()] == ["topn"]


def test_a_failed_run_is_reported_and_the_others_go_on(sweep, calls, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIL", "pretrain few-a-0")
    done = sweep(BOTH)
    assert done.returncode == 1
    made = calls()
    assert len(made) == 1 + 3 * 3  # the failed one is not tested
    log = tmp_path / "ck" / "sweep-try" / "few-a-0.log"
    last = done.stdout.splitlines()[-2]
    assert last.endswith(f"failed: few-a-0: pretrain.py ended with 3; see {log}")
    assert "it went wrong" in log.read_text()
    monkeypatch.delenv("FAIL")
    assert sweep(BOTH).returncode == 0
    assert [name for name, *_ in calls()] == ["pretrain", "seq_reranker", "topn"]


def test_each_runs_on_a_device_of_its_own(sweep, calls, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")
    monkeypatch.setenv("SLEEP", "0.05")
    assert sweep(BOTH).returncode == 0
    assert {device for *_, device in calls()} == {"5", "GPU-7"}


def test_an_interrupted_training_goes_on(sweep, calls, tmp_path):
    folder = tmp_path / "ck" / "sweep-try" / "few-a-0"
    text = BOTH.replace("[0, 1]", "0").replace("  b: {{method: pod, causal: false}}\n", "")
    assert sweep(text).returncode == 0
    trained = script(*[
        "pretrain.py", tmp_path / "few", "--backbone", "tiny", "--batch_size", 2, "--lr", 0.1,
        "--max_steps", 1, "--negative_num", 5, "--preset", "readme",
        "--checkpoint", tmp_path / "made",
    ])  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    (folder / "run.json").write_bytes((tmp_path / "made" / "run.json").read_bytes())
    ledger = tmp_path / "ck" / "sweep-try" / "sweep.json"
    write_json(ledger, {"done": []})
    calls()
    text = text.replace("lr: 0.1", "lr: 0.1, negative_num: 5, max_steps: 1")
    assert sweep(text).returncode == 0
    name, words, _ = calls()[0]
    assert (name, words[-1]) == ("pretrain", "--overwrite")  # begun, but no state was saved
    (folder / "state" / "step-00000001").mkdir(parents=True)
    write_json(ledger, {"done": []})
    assert sweep(text).returncode == 0
    assert calls()[0][1][-1] == "--resume"
    write_json(ledger, {"done": []})
    done = sweep(text.replace("lr: 0.1", "lr: 0.2"))
    assert done.returncode == 1
    assert "holds a run of other settings" in done.stdout
    assert calls() == []


def test_baselines_are_in_folders_of_their_seed(sweep, calls):
    text = "data: {data}\nbaselines: [popularity]\ntest: {{baselines: {{top_n: 5}}}}"
    assert sweep(text).returncode == 0
    ((name, words, _),) = calls()
    assert name == "compare"
    assert {"baselines", "--ending=-0", "--top_n=5"} <= set(words)


WRONG = {
    "model: a": "unknown key 'model'",
    "seeds: [x]": "key 'seeds': 'x' must be a whole number",
    "seeds: [1, 1]": "key 'seeds' must list values, each once",
    "seeds: {{a: 1}}": "key 'seeds'",
    "tasks: [next]": "key 'tasks'",
    "baselines: [magic]": "key 'baselines'",
    "runs: {{a: {{lr: -1}}}}": "runs, a, key 'lr': '-1' must be a number above 0",
    "runs: {{a: {{learning: 1}}}}": "runs, a: unknown key 'learning'",
    "runs: {{a: {{seed: 1}}}}": "runs, a, key 'seed': is given by the sweep",
    "common: {{checkpoint: x}}\nruns: {{a: }}": "common, key 'checkpoint'",
    "runs: {{a: {{method: pod, sigma: 2}}}}": "runs, a: --sigma is of the graph",
    "runs: {{a: 1}}": "runs: key 'a' must be a map",
    "runs: [a]": "key 'runs' must be a map",
    "runs: {{a/b: }}": "key 'runs': 'a/b' must be a name",
    "runs: {{a: {{preset: item_tokens, causal: false}}}}": "key 'causal': false, but the preset",
    "runs: {{a: , b: {{method: pod}}}}": "different ones on",
    "test: {{next: }}": "test: unknown key 'next'",
    "test: {{direct: {{N: 5}}}}": "test, direct: unknown key 'N'",
    "test: {{direct: {{top_n: 0}}}}": "test, direct, key 'top_n'",
    "runs: {{ease: }}\nbaselines: ease": "two runs would share the folder",
    "seeds: 1": "asks for nothing",
}


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=[t[:24] for t in WRONG])
def test_what_is_wrong_is_said_before_anything_runs(text, words, sweep, calls, tmp_path):
    done = sweep("data: {data}\n" + text)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert "try.yaml" in done.stderr
    assert calls() == []
    assert not (tmp_path / "ck").exists()


def test_the_example_of_the_documentation_is_read(sweep, calls):
    text = (ROOT / "docs" / "evaluation.md").read_text().split("## Sweeps")[1]
    text = text.split("```yaml\n")[1].split("```")[0].replace("{", "{{").replace("}", "}}")
    done = sweep(text.replace("[./data/beauty, ./data/toys]", "{data}"))
    assert done.returncode == 0, done.stderr
    made = calls()
    assert len(made) == 3 * (2 * 3 + 2)
    assert "--item_graph=none" in made[3][1]


def test_data_that_are_not_there(sweep):
    assert "nowhere" in sweep("data: nowhere\nruns: {{a: }}").stderr
    assert "must name a data folder" in sweep("runs: {{a: }}").stderr


def test_a_folder_of_somebody_else_stays(sweep, calls, tmp_path):
    folder = tmp_path / "ck" / "sweep-try"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert sweep(BOTH).returncode == 2
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert calls() == []


def test_sigterm_ends_the_running_processes_and_starts_no_other(sweep, calls, monkeypatch):
    monkeypatch.setenv("SLEEP", "60")
    started = time.monotonic()

    def later():
        for _ in range(600):
            time.sleep(0.05)
            path = Path(os.environ["CALLS"])
            if path.exists() and path.stat().st_size:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=later, daemon=True).start()
    done = sweep(BOTH)
    assert done.returncode == 130, (done.stdout, done.stderr)
    assert time.monotonic() - started < 50
    assert len(calls()) == 1


class Forked:
    """A process of ``subprocess``, forked from one with PyTorch imported."""

    def __init__(self, words, *, stdout, **how):
        self._process = start(*words[1:], output=Path(stdout.name).with_suffix(".out"))
        self.pid = self._process.pid

    def wait(self):
        self._process.join()
        return self._process.exitcode


def test_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.setattr(running.subprocess, "Popen", Forked)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    data = write_folder(tmp_path / "few")
    small = "{backbone: tiny, batch_size: 2, negative_num: 5, max_steps: 1}"
    text = f"data: {data}\ncommon: {small}\nruns: {{mine: }}\ntasks: sequential\n"
    text += "baselines: popularity\ntest: {baselines: {negative_num: 5}}\n"
    (tmp_path / "try.yaml").write_text(text)
    done = script("compare.py", "sweep", tmp_path / "try.yaml", "--checkpoint", tmp_path / "ck")
    assert done.returncode == 0, done.stdout + done.stderr
    root = tmp_path / "ck" / "sweep-try"
    assert {"few-mine-0", "few-popularity-0"} <= {path.name for path in root.iterdir()}
    assert len(read_json(root / "sweep.json")["done"]) == 3
    table = (root / "table.md").read_text()
    assert table in done.stdout + "\n"
    assert "| elmrec" in table
    assert "| popularity" in table
