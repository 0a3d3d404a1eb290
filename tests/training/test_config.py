"""--config: a file gives the defaults of pretrain.py's flags, and is read strictly."""

import json
import sys

import pytest

from modules.training.flags import parse_settings
from tests.conftest import script
from utils.errors import UserError
from utils.json_files import read_json


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Settings of a file's text and further flags."""

    def read(text, *flags, name="a.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.setattr(sys, "argv", ["pretrain.py", "--config", str(path), *flags])
        return parse_settings(None)

    return read


def test_values_are_defaults_and_flags_win(settings):
    text = "data_dir: here\nlr: 1e-3\nseed: 012\nbackbone: no\ntasks: [direct, sequential]\n"
    read = settings(text, "--lr", "0.5")
    assert (read.data_dir, read.lr, read.seed, read.backbone) == ("here", 0.5, 12, "no")
    assert read.tasks == ["sequential", "direct"]
    assert settings(text, "there").data_dir == "there"
    assert settings(text, "--data_dir", "there").data_dir == "there"


def test_maps_switches_and_nothing(settings):
    text = "data_dir: a\nwhole_words: {direct: position}\nfrom_scratch: true\nlr:\nresume: null\n"
    read = settings(text)
    assert read.whole_words == {"direct": "position"}
    assert read.from_scratch
    assert (read.lr, read.resume) == (2e-2, None)  # Adafactor's, from scratch


def test_a_file_goes_before_the_preset_that_it_or_a_flag_names(settings):
    text = "data_dir: a\npreset: item_tokens\ndropout: 0.2\ncausal: false\n"
    read = settings(text)
    assert (read.backbone, read.dropout, read.causal) == ("shallow", 0.2, False)
    assert settings("data_dir: a\ndropout: 0.2\n", "--preset", "item_tokens").dropout == 0.2


def test_json_is_read_as_yaml_is(settings):
    read = settings('{"data_dir": "a", "lr": 0.001, "cuda": true}', name="a.json")
    assert (read.lr, read.cuda) == (0.001, True)


WRONG = {
    "lr: -1": r"key 'lr': '-1' must be a number above 0",
    "learning_rate: 1": "unknown key 'learning_rate'",
    "batchsize: 1": "closest: batch_size",
    "config: b.yaml": "key 'config': a file cannot name another",
    "task_num: 3": "unknown key 'task_num'",
    "help: true": "unknown key 'help'",
    "method: sasrec": "key 'method': invalid choice",
    "cuda: 1": "key 'cuda': '1' must be true or false",
    "seed: true": "key 'seed': must be a value",
    "seed: [1, 2]": "key 'seed'",
    "backbone: [a, b]": "key 'backbone': must be one value",
    "tasks: [direct, [a]]": "key 'tasks': must be one value",
    "tasks: []": "key 'tasks': must be one value",
    "seed: 1\nseed: 2": "line 2: key 'seed' is given twice",
    "a: &x 1\nseed: *x": "line 2: \\*x stands for another part",
    "? [a]\n: 1": "line 1: a key must be one word",
    "seed: [1": "line 1, column 9: broken YAML",
    "- 1": "must be a map of settings",
    "": "must be a map of settings",
    "a: " + "[" * 3000: "nested too deep|broken YAML",
    b"a: \xff": "byte 3 is not UTF-8",
    "a: \0": "broken YAML",
}


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=[repr(t)[:20] for t in WRONG])
def test_what_is_wrong_is_said_with_its_file_and_key(text, words, settings):
    with pytest.raises(UserError, match=words) as caught:
        settings(text, "data")
    assert "a.yaml" in str(caught.value)


def test_no_object_is_made(settings, tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(UserError, match="must be one value"):
        settings(f"backbone: !!python/object/apply:os.mkdir ['{mark}']", "data")
    assert not mark.exists()


@pytest.mark.parametrize("flags", ["--method pod", "--method elmrec --L 2"])
def test_the_record_of_a_run_trains_it_again(flags, folder, tmp_path):
    small = f"--max_steps 1 --batch_size 2 --negative_num 5 --preset corrected {flags}".split()
    where = ["--backbone", "tiny", "--checkpoint"]
    done = script("pretrain.py", folder, *small, *where, tmp_path / "a")
    assert done.returncode == 0, done.stderr
    again = ["--config", tmp_path / "a" / "run.json", "--checkpoint", tmp_path / "b"]
    done = script("pretrain.py", *again)
    assert done.returncode == 0, done.stderr
    records = [read_json(tmp_path / name / "run.json") for name in "ab"]
    for record in records:
        record["arguments"].pop("checkpoint")
    assert records[0]["arguments"] == records[1]["arguments"]


def test_a_record_with_a_model_version_does_not_contradict_itself(settings):
    arguments = {"model_version": 1, "backbone": "t5-base", "data_dir": "a", "checkpoint": "b"}
    text = json.dumps({"command": "python", "arguments": arguments})
    read = settings(text, name="run.json")
    assert (read.backbone, read.model_version) == ("t5-base", None)
    assert read.checkpoint == "./checkpoint/elmrec/"
