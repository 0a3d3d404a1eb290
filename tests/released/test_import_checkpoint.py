"""The command, as a user runs it: a released file in, an ordinary checkpoint folder out."""

import json
import os
import sys

import pytest
from safetensors.torch import load_file

from modules.released import import_checkpoint
from tests.conftest import write_folder
from tests.released.test_convert import TRAIN
from tests.released.test_reader import Hostile
from tests.solomon import add_graph, authors_module, new_solomon, save_on_gpu
from tests.test_scripts import script
from utils.errors import UserError


@pytest.fixture(scope="module")
def files(tmp_path_factory, tokenizer):
    """A data folder, a tokenizer's folder, and both kinds of model file."""
    base = tmp_path_factory.mktemp("released")
    write_folder(base / "few")
    tokenizer.save_pretrained(base / "tokenizer")
    with authors_module("model.module") as solomon:
        model = new_solomon(solomon, len(tokenizer) + 28)  # T5 too has more rows than tokens
        add_graph(model, TRAIN, 4, 12)
        save_on_gpu(model, base / "elmrec.pt")
        model.note = {"a": [Hostile(os.system, f"touch {base / 'marker'}")]}
        save_on_gpu(model, base / "hostile.pt")
    with authors_module("module") as solomon:
        save_on_gpu(new_solomon(solomon, len(tokenizer)), base / "pod.pt")
    whole = (base / "elmrec.pt").read_bytes()
    (base / "short.pt").write_bytes(whole[: len(whole) // 2])
    return base


def command(base, model, out, *more, data="few", tokenizer="tokenizer"):
    return [
        *("modules.released.import_checkpoint", base / model, "--data_dir", base / data),
        *("--out", out, "--tokenizer", base / tokenizer, *more),
    ]


def evaluated(base, out, name, stem, *more):
    done = script(f"{name}.py", base / "few", "--checkpoint", out, *more)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / f"{stem}.json").read_text())
    assert (result["protocol"], result["item_ids"]) == ("paper", "published")
    assert (result["seed"], result["held_out_edges_seen"]) == (5, 1)
    return [json.loads(line) for line in (out / f"{stem}.jsonl").read_text().splitlines()]


def test_the_whole_way(files, tmp_path):
    out = tmp_path / "run"
    done = script("-m", *command(files, "elmrec.pt", out, "--seed", "5"))
    assert done.returncode == 0, done.stderr
    for part in ("left out: ", "prompt_offset", "method elmrec", "HELD-OUT PAIRS SEEN: 1"):
        assert part in done.stdout
    run = json.loads((out / "run.json").read_text())
    assert (run["arguments"]["protocol"], run["arguments"]["alpha"]) == ("paper", 3)
    assert json.loads((out / "item_numbers.json").read_text()) == list(range(1, 13))
    rows = evaluated(files, out, "seq_reranker", "sequential")
    assert [row["user"] for row in rows] == [1, 2, 3, 4]
    rows = evaluated(files, out, "topn", "direct", "--negative_num", "5")
    assert all(len(row["items"]) == 6 for row in rows)
    assert len(evaluated(files, out, "exp", "explanation")) == 1


def test_pods_way(files, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", list(map(str, command(files, "pod.pt", out, "--seed", "5"))))
    import_checkpoint.main()
    assert "module.Solomon, method pod" in capsys.readouterr().out
    assert "elmrec.nodes.weight" not in load_file(out / "model.safetensors")
    assert len(evaluated(files, out, "topn", "direct", "--negative_num", "5")) == 4


def test_what_cannot_be_imported(files, tmp_path, monkeypatch):
    def refused(message, *args, left=(), **kinds):
        out = tmp_path / "run"
        argv = list(map(str, command(files, args[0], out, *args[1:], **kinds)))
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(UserError, match=message):
            import_checkpoint.main()
        assert [path.name for path in out.glob("*")] == list(left)

    refused(r"hostile\.pt: refused, and nothing of it was run.*posix\.system", "hostile.pt")
    assert not (files / "marker").exists()
    refused(r"short\.pt: damaged, cut short", "short.pt")
    refused(r"nothing\.pt: no such file", "nothing.pt")
    os.mkfifo(files / "pipe")
    refused("pipe: a folder or a device", "pipe")
    refused("--tokenizer .*pipe: is not a folder", "elmrec.pt", tokenizer="pipe")
    refused("data folder", "elmrec.pt", data="nowhere")
    (files / "empty").mkdir()
    refused("--tokenizer .*empty: the folder has no", "elmrec.pt", tokenizer="empty")
    refused("--tokenizer .*nowhere: neither a folder", "elmrec.pt", tokenizer="nowhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    refused("holds a run already", "elmrec.pt", left=["run.json"])
    (tmp_path / "run" / "run.json").rename(tmp_path / "run" / "config.json")
    refused("--out .*run: is not empty", "elmrec.pt", left=["config.json"])


def test_a_tokenizer_with_more_tokens_than_the_model(shared, files, tmp_path, monkeypatch):
    argv = command(files, "pod.pt", tmp_path / "run", tokenizer=shared / "t5-small")
    monkeypatch.setattr(sys, "argv", list(map(str, argv)))
    with pytest.raises(UserError, match="32,100 tokens, but the model knows"):
        import_checkpoint.main()
