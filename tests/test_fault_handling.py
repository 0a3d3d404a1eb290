"""Faults that the scripts meet: flags, changed data, backbones, folders that take no file, full
disks. Faults of the files themselves are in tests/test_faults.py.
"""

import errno
import json
import os
import shutil
import subprocess
from hashlib import sha256

import numpy as np
import pytest
import torch

from modules.data.reader import load_dataset
from modules.loader.tokenizer import train_tokenizer
from modules.model.backbone import build_backbone
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.runs.run import open_run
from modules.runs.writing import write_results
from tests.conftest import TINY, process, random_t5, script
from tests.faults import (
    change,
    check,
    cut,
    entry,
    failing,
    instead,
    put,
    swap,
    table,
    tensors,
)
from utils import cli
from utils.errors import UserError
from utils.provenance import provenance
from utils.runtime import Machine

SEQUENTIAL, MAPS = "data/sequential.txt", "data/datamaps.json"
NEGATIVE, TEXTS = "data/negative.txt", "data/explanation.json"
CONFIG, WEIGHTS = "run/config.json", "run/model.safetensors"
NORM = "encoder.final_layer_norm.weight"


def none(place):
    """No fault in a file."""


# ------------------------------------------------------------------------------------ refused


def run(name, *flags):
    """A script on both folders."""
    return lambda place: script(f"{name}.py", place.data, "--checkpoint", place.run, *flags)


MANY = "1" + "0" * 29
FLAGS = [
    ("topn --top_n 10^29", "--top_n: '1000", "must be a whole number from 1 to 2147483647"),
    ("topn --top_n 0", "--top_n: '0' must be a whole number from 1"),
    ("topn --batch_size -2", "--batch_size: '-2' must be a whole number"),
    ("topn --limit_users 1.5", "--limit_users: '1.5' must be a whole number"),
    ("topn --length_penalty 1e30", "--length_penalty: '1e30' must be a number from -10 to 10"),
    ("topn --length_penalty nan", "--length_penalty: 'nan' must be a number"),
    ("topn --precision fp16", "--precision: invalid choice: 'fp16'"),
    ("topn --negative_num 6", "negative.txt holds 5 negatives a user"),
    ("seq_reranker --N -1", "--N: '-1' must be a whole number from 0"),
    ("exp --outf run", "--outf: 'run'"),
    ("exp --outf ../out", "--outf: '../out'"),
    ("exp --outf model", "--outf: 'model'"),
    ("exp --num_beams x", "--num_beams: 'x' must be a whole number"),
    ("exp --diversity_penalty inf", "--diversity_penalty: 'inf' must be a number from 0 up"),
    ("pretrain --seed 10^29", "--seed: '1000", "must be a whole number from 0 to 2147483647"),
    ("pretrain --L 1000000000", "--L: '1000000000' must be a whole number from 0 to 100"),
    ("pretrain --prompt_num 1000000000", "--prompt_num: '1000000000' must be a whole number"),
    ("pretrain --sigma 1e999", "--sigma: '1e999' must be a number from 0 up"),
]


@table(FLAGS)
def test_flags(row, place):
    check((row[0], none, *row[1:]), run(*row[0].replace("10^29", MANY).split()), place)


CHANGED = [
    ("topn: other negatives", swap(NEGATIVE, "1 6", "1 12"), "whose negative.txt is not what lies"),
    ("topn: other sequences", swap(SEQUENTIAL, "4 2 5", "4 5 2"), "whose sequential.txt is not"),
    ("exp: other texts", swap(TEXTS, "nice", "fine"), "whose explanation.json is not what lies"),
    (
        "exp: no texts now",
        lambda place: os.remove(place.data / "explanation.json"),
        "no explanation",
    ),
    ("seq_reranker: other names", swap(MAPS, "I3", "J3"), "whose datamaps.json is not what lies"),
]


@table(CHANGED)
def test_data_changed_since_training(row, place):
    check(row, run(row[0].split(":")[0]), place)


def other_model(place):
    """The model of another data set in the run's folder."""
    config = ELMRecConfig(5, 12, "pod")
    ELMRec(random_t5(len(train_tokenizer([]))), config, None).save_pretrained(place.run)


WRITING = [
    ("no permission to rename", failing("os.replace", errno.EACCES), "cannot be written (Permiss"),
    (
        "disk full",
        failing("os.fsync", errno.ENOSPC),
        "jsonl: cannot be written (No space left",
    ),
    ("read-only folder", failing("os.open", errno.EROFS), "run: results cannot be written there"),
    ("a folder for results", lambda place: (place.run / "sequential.jsonl").mkdir(), "be a file"),
    ("a model of other data", other_model, "run: a model of 5 users and 12 items", "has 4 and 12"),
]


@table(WRITING)
def test_writing_results(row, place):
    before = {p.name: p.read_bytes() for p in place.run.iterdir() if p.is_file()}
    check(row, run("seq_reranker"), place)
    place.patch.undo()
    after = {path.name for path in place.run.iterdir() if path.is_file()}
    assert after == before.keys()  # nothing half-written, nothing left over
    if "model" not in row[0]:
        assert before == {name: (place.run / name).read_bytes() for name in after}


def test_a_run_is_not_started_where_a_file_is(place):
    tiny = (
        *TINY,
        "--max_steps",
        "1",
    )
    row = ("a file for the run's folder", instead("run", "file"), "is a file. Name a folder")
    check(row, run("pretrain", *tiny), place)


BACKBONES = [
    ("no configuration", lambda p: os.remove(p.run / "config.json"), "has no config.json"),
    ("no weights", lambda p: os.remove(p.run / "model.safetensors"), "has no weights"),
    ("no tokenizer", lambda p: os.remove(p.run / "tokenizer.json"), "no tokenizer.json and no spi"),
    ("tokenizer cut short", cut("run/tokenizer.json", 0.5), "the tokenizer in it: cannot be read"),
    ("weights cut short", cut(WEIGHTS, 0.5), "cannot be read, damaged or cut short"),
    ("configuration cut short", cut(CONFIG, 0.5), "config.json, line", "cut short"),
    ("a configuration of lists", put(CONFIG, "[" * 100_000), "config.json: ", "nested too deep"),
    ("an epsilon below 0", entry(CONFIG, "layer_norm_epsilon", value=-1), "layer_norm_epsilon is"),
    ("a tensor missing", tensors(lambda t: t.pop(NORM)), f"lack 1 tensors, {NORM} among them"),
    ("a wrong shape", tensors(lambda t: t.update({NORM: torch.ones(9)})), "cannot be read"),
    ("a vocabulary of 9", entry(CONFIG, "vocab_size", value=9), "cannot be read"),
]


@table([(f"--backbone: {name}", *rest) for name, *rest in BACKBONES])
def test_backbones(row, place):
    shutil.rmtree(place.run)
    tokenizer = train_tokenizer(["warm"])
    random_t5(len(tokenizer)).save_pretrained(place.run)
    tokenizer.save_pretrained(place.run)
    build_backbone(str(place.run), False, ())
    check(row, lambda place: build_backbone(str(place.run), False, ()), place)


def test_a_backbone_with_more_tokens_than_embeddings(tmp_path):
    tokenizer = train_tokenizer(["warm"])
    random_t5(len(tokenizer) - 1).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"--backbone .* tokens, but the model knows"):
        build_backbone(str(tmp_path), False, ())


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", ""])
def test_names_that_no_folder_can_have(name, place):
    with pytest.raises(UserError, match="data folder"):
        load_dataset(name or "\n")
    with pytest.raises(UserError, match=r"no such folder|run\.json: no such file"):
        open_run(name, place.data, Machine(torch.device("cpu"), "fp32"))


# ----------------------------------------------------------------------------------- real systems


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a small file system; skips where that is not permitted."""
    made = []

    def mount(options):
        folder = tmp_path / "mounted"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip("no permission to mount")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "--lazy", folder], check=True)  # weights may be mapped yet


def test_a_disk_that_is_full(mounted, capsys):
    """The older files stay whole; the metrics are printed all the same."""
    disk = mounted("size=64k")
    result = {"protocol": "clean", "item_ids": "random", "metrics": {"BLEU-1": 0.25}, "users": 1}
    result |= {"dataset": "few", "seed": 0, "decode": "beam", "held_out_edges_seen": 0}
    result |= {"held_out_records_seen": 0, "method": "by hand", **provenance({})}
    write_results(disk, "explanation", result, [{"user": 1}])
    with pytest.raises(UserError, match=r"explanation\.jsonl: cannot be written \(No space"):
        write_results(disk, "explanation", result, [{"user": 1, "text": "x" * 10**5}])
    assert (disk / "explanation.jsonl").read_text() == '{"user": 1}\n'
    kept = json.loads((disk / "explanation.json").read_text())
    assert kept == result | {"files": {"explanation.jsonl": sha256(b'{"user": 1}\n').hexdigest()}}
    assert sorted(path.name for path in disk.iterdir()) == ["explanation.json", "explanation.jsonl"]
    assert capsys.readouterr().out.count("0.2500") == 2


def test_a_disk_that_is_read_only(mounted, place):
    folder = mounted("size=8m")
    shutil.copytree(place.run, folder / "run")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    done = run("topn")(place._replace(run=folder / "run"))
    assert done.returncode == 2, done
    assert "run: results cannot be written there (Read-only" in done.stderr


END_TO_END = [
    ("topn.py", cut(WEIGHTS, 0.5), "model.safetensors: cannot be read"),
    ("exp.py", swap(TEXTS, "nice", "fine"), "explanation.json is not what lies in"),
    ("pretrain.py", put(MAPS, '{"a": 1, "a": 2}'), "key 'a'"),
]


@pytest.mark.parametrize(("name", "fault", "word"), END_TO_END)
def test_exit_code_and_no_traceback(name, fault, word, place):
    fault(place)
    flags = (
        ["--preset", "readme", "--backbone", "tiny", "--overwrite"] if name == "pretrain.py" else []
    )
    done = process(name, place.data, "--checkpoint", place.run, *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert word in done.stderr


LOG = "run/train_log.jsonl"
BESIDE = [
    ("a log that a kill cut short", cut(LOG, 0.9), "This last line is left out", True),
    ("NULs after a power loss", change(LOG, lambda b: b + bytes(64)), "left out", True),
    ("a log broken in its midst", change(LOG, lambda b: b"{\n" + b), "without the training", True),
    (
        "a broken result of another task",
        lambda place: (place.run / "direct.json").write_text("{"),
        *("README.md was not", False),
    ),
]


@pytest.mark.parametrize("row", BESIDE, ids=[row[0].replace(" ", "_") for row in BESIDE])
def test_results_do_not_depend_on_what_is_written_beside_them(row, place):
    _, fault, words, page = row
    fault(place)
    done = run("seq_reranker")(place)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert json.loads((place.run / "sequential.json").read_text())["metrics"]
    assert len((place.run / "sequential.jsonl").read_text().splitlines()) == 4
    assert (f"report: {place.run / 'report.html'}" in done.stdout) == page


def test_a_report_that_fails_ends_no_baselines(place):
    beside = place.data.parent / "data-other"
    beside.mkdir()
    (beside / "direct.json").write_text("{")
    flags = ["--negative_num", "5", "--methods", "popularity,item_knn", "--checkpoint"]
    done = script("compare.py", "baselines", place.data, *flags, beside.parent)
    assert done.returncode == 0, done.stderr
    for name in ("data-popularity", "data-item_knn"):
        assert (beside.parent / name / "direct.jsonl").is_file()
    assert done.stdout.count("warning: left out of the report: ") == 4


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**60), lambda: np.empty(2**57)])
def test_out_of_memory_is_one_message(allocate, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.run(allocate)
    assert caught.value.code == 2
    assert "error: out of memory" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="of our own"):
        cli.run(lambda: (_ for _ in ()).throw(RuntimeError("a fault of our own")))
