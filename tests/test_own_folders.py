"""A folder of somebody's own, with files of all the names that the scripts use: each script is
pointed at it in every way, and no byte of it changes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, script
from tests.conftest import write_folder as write_data

NAMES = """
    run.json config.json model.safetensors item_numbers.json train_log.jsonl README.md report.html
    tokenizer.json tokenizer_config.json spiece.model special_tokens_map.json baseline.json
    library.safetensors
    sequential.json sequential.jsonl sequential.run.trec sequential.qrels.trec direct.json
    direct.jsonl direct.run.trec direct.qrels.trec explanation.json explanation.jsonl generated.json
    generated.jsonl negative.txt sequential.txt datamaps.json stats.json audit.json audit.html
    table.md table.csv state/step-00000002/state.json state/step-00000002/state.safetensors
    state/thesis.txt tensorboard/events.out.tfevents.1.host tensorboard/x .elmrec.lock .hidden
    wandb/x thesis.txt reviews_Beauty_5.json.gz
""".split()  # noqa: SIM905  forty of them are read more easily so
TINY = [
    *TINY,
    "--max_steps",
    1,
]


def fill(folder: Path, names: list[str], content: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def snapshot(folder: Path) -> dict[str, object]:
    """Every file's bytes and times, and every folder."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Data, a raw file, and a run with results on the data."""
    base = tmp_path_factory.mktemp("base")
    write_data(base / "few")
    rows = [f"u{u},i{i},{i}" for u in range(6) for i in range(8)]
    (base / "raw.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    for command in (
        ["pretrain.py", base / "few", *TINY, "--checkpoint", base / "run"],
        ["seq_reranker.py", base / "few", "--checkpoint", base / "run"],
    ):
        done = script(*command)
        assert done.returncode == 0, done.stderr
    return base


def ways(base: Path, mine: Path) -> list[list[object]]:
    """The commands, by all flags that name a folder."""
    few, run = base / "few", base / "run"
    train = ["pretrain.py", few, *TINY, "--checkpoint"]
    prepare = ["prepare.py", base / "raw.csv", "--core", 1, "--negative_num", 1, "--out"]
    audit = ["-m", "modules.data.audit", few, "--out", mine]
    table = ["compare.py", "table", run, "--out"]
    found = [[*train, mine, *flags] for flags in ([], ["--overwrite"], ["--resume"])]
    found += [[*train, mine, "--resume", 2], [*train, mine / "thesis.txt"]]
    found += [["pretrain.py", mine, *TINY, "--checkpoint", base / "new"]]
    for name in ("seq_reranker.py", "topn.py", "exp.py"):
        found += [[name, few, "--checkpoint", mine], [name, mine, "--checkpoint", run]]
        found += [[name, few, "--checkpoint", mine / "state"]]
    found += [["exp.py", few, "--checkpoint", mine, "--outf", "thesis"]]
    found += [["recommend.py", few, "--checkpoint", mine, "--user", "U1"]]
    found += [[*prepare, mine], [*prepare, mine, "--overwrite"], [*prepare, mine / "thesis.txt"]]
    raw = ["prepare.py", mine / "sequential.txt", "--format", "sequences", "--out", mine]
    found += [raw, [*raw, "--overwrite"]]
    found += [["compare.py", "table", mine], ["compare.py", "test", mine, run]]
    found += [[*table, mine / "table.md"], [*table, mine / "thesis.md" / ".." / "table.csv"]]
    found += [["compare.py", "table", mine, "--out", mine / "new.md"]]
    found += [["-m", "modules.reports.page", mine]]
    found += [["-m", "modules.reports.page", run, "--baselines", mine]]
    found += [audit, ["-m", "modules.data.audit", mine]]
    found += [["-m", "modules.data.demo", mine]]
    found += [
        ["-m", "modules.preparation.download", "beauty", "--from", few, "--out", mine],
        ["-m", "modules.preparation.download", "beauty", "--raw", "--from", few, "--out", mine],
    ]
    imported = ["-m", "modules.released.import_checkpoint", mine / "thesis.txt", "--data_dir", few]
    return [*found, [*imported, "--out", mine]]


CONTENTS = {
    "text": "mine",
    "JSON": '{"mine": 1}',
    "nothing": "",
    "a list": "[1, 2]",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_no_byte_changes(content, base, tmp_path) -> None:
    mine = tmp_path / "mine"
    fill(mine, NAMES, content)
    before = snapshot(mine)
    for command in ways(base, mine):
        done = script(*command)
        assert "Traceback" not in done.stderr, (command, done.stderr[-2000:])
        assert done.returncode == 2, command
        assert snapshot(mine) == before, command
    assert not (base / "new").exists()


def test_baselines_do_not_take_a_folder_of_their_name(base, tmp_path) -> None:
    mine = tmp_path / "few-popularity"
    fill(mine, NAMES, "mine")
    before = snapshot(mine)
    command = ["compare.py", "baselines", base / "few", "--negative_num", 5, "--methods"]
    done = script(*command, "popularity", "--checkpoint", tmp_path)
    assert done.returncode == 2, done.stderr
    assert snapshot(mine) == before


def test_overwrite_removes_what_the_run_wrote_and_nothing_else(base, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    done = script("seq_reranker.py", base / "few", "--checkpoint", run, "--trec")
    assert done.returncode == 0, done.stderr
    theirs = ["thesis.txt", "notes/a.json", "state/step-00000001.bak/state.json", "tensorboard/x"]
    theirs += ["wandb/x", "wandb/run-1-x/files"]
    theirs += ["mine.json", "sub/run.json", "generated.json", "direct.txt", ".hidden"]
    fill(run, theirs, '{"mine": 1}')
    (run / "README.md").write_text("# My model\n")
    before = snapshot(run)
    done = script(
        "pretrain.py", base / "few", *TINY, "--seed", 3, "--checkpoint", run, "--overwrite"
    )
    assert done.returncode == 0, done.stderr
    after = snapshot(run)
    assert all(after[name] == before[name] for name in [*theirs, "README.md"])
    gone = {name for name in before if name not in after and before[name] != "folder"}
    assert gone == {f"sequential.{e}" for e in ("json", "jsonl", "run.trec", "qrels.trec")}
    assert json.loads((run / "run.json").read_text())["arguments"]["seed"] == 3


RESULTS = ("sequential.json", "sequential.jsonl", "sequential.run.trec", "sequential.qrels.trec")


@pytest.mark.parametrize("name", RESULTS)
def test_results_of_others_are_not_replaced(name, base, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(base / "run", run)
    for own in RESULTS:
        (run / own).unlink(missing_ok=True)
    (run / name).write_text("mine")
    before = snapshot(run)
    done = script("seq_reranker.py", base / "few", "--checkpoint", run, "--trec")
    assert done.returncode == 2
    assert "would replace a file that no evaluation wrote" in done.stderr
    assert snapshot(run) == before


def test_a_hard_link_as_lock_is_not_written_to(base, tmp_path) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(base / "run", run)
    victim.write_text("theirs")
    os.link(victim, run / ".elmrec.lock")
    done = script("seq_reranker.py", base / "few", "--checkpoint", run)
    assert done.returncode == 2
    assert victim.read_text() == "theirs"


def test_links_in_a_runs_folder_are_not_followed(base, tmp_path) -> None:
    """A page that is a link is left; what it points at stays."""
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(base / "run", run)
    victim.write_text("theirs")
    for name in ("report.html", "README.md", "train_log.jsonl"):
        (run / name).unlink()
        (run / name).symlink_to(victim)
    done = script("seq_reranker.py", base / "few", "--checkpoint", run)
    assert "Traceback" not in done.stderr
    assert victim.read_text() == "theirs"
    script("pretrain.py", base / "few", *TINY, "--checkpoint", run, "--overwrite")
    assert victim.read_text() == "theirs"
    assert not os.path.lexists(run / "state" / "victim")
