"""What large catalogues and logs take, with all bounds so low that four users are a large log."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from scipy import sparse

from modules.baselines.quick import quick_ranks
from modules.baselines.ranking import batches_of_users
from modules.baselines.simple import BASELINES, item_knn
from modules.baselines.tuning import that_fit
from modules.data.dataset import HeldOut
from modules.data.histories import train_matrix
from modules.data.protocols import train_view
from modules.evaluation.seen import DROP
from modules.loader.batches import BatchSize
from modules.loader.ragged import recent_histories
from modules.model.elmrec import ELMRec
from modules.training.fitted import fitted
from modules.training.settings import Settings
from modules.training.validation import Validation
from tests.conftest import script, write_folder
from utils import memory
from utils.errors import UserError

BOUNDS = {
    "modules.data.item_graph.MAX_ITEMS": 5,
    "modules.data.item_graph.MOST_PATHS": 10,
    "modules.data.cooccurrence.MANY": 5,
    "modules.training.fitted.MOST_SCORED": 5,
    "modules.training.fitted.DRAWN": 3,
    "modules.training.build.DRAWN": 3,
    "modules.model.loss._WIDE": 5,
    "modules.model.loss._ITEMS": 4,
    "modules.model.loss._CHUNK": 16,
    "modules.loader.prompts._SCORES": 24,
    "modules.baselines.ranking._SCORES": 24,
    "modules.baselines.quick.MOST_EASE_ITEMS": 5,
    "modules.training.validation.SCORED": 24,
}


@pytest.fixture
def low(monkeypatch):
    for name, bound in BOUNDS.items():
        set_bound(monkeypatch, name, bound)


def set_bound(monkeypatch, name, bound):
    module, _, constant = name.rpartition(".")
    monkeypatch.setattr(import_module(module), constant, bound)


def test_the_preset_from_training_to_lists(low, tmp_path):
    data, run = write_folder(tmp_path / "few"), tmp_path / "run"
    flags = ("--preset", "elmrec_clean", "--tasks", "sequential", "--epochs", "2")
    done = script("pretrain.py", data, *flags, "--batch_size", 2, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    for said in (
        "--softmax sampled: of 12 items, a training step scores its own targets and 3",
        "12 items: the linear model weighs the near ones of each alone",
        "co-occurrence vectors of 12 items, roughly",
        "validated on 2 samples a task",
        "EASE is not compared: it takes minutes with more than 5 items",
    ):
        assert said in done.stdout
    assert json.loads((run / "run.json").read_text())["arguments"]["softmax"] == "sampled"
    model = ELMRec.from_pretrained(run)
    assert model.config.through_users
    assert model._kept("paths_graph").scipy(model.config.graph_columns("paths")).shape == (13, 5)
    for words in (["seq_reranker.py", data], ["recommend.py", data, "--user", "U1"]):
        done = script(*words, "--checkpoint", run)
        assert done.returncode == 0, done.stderr
    assert len((run / "sequential.jsonl").read_text().splitlines()) == 4


def test_a_sampled_softmax_is_for_many_items_that_are_tokens(dataset, monkeypatch, capsys):
    view = train_view(dataset, "clean")
    tokens = Settings(item_ids="own", loss="continuations", batch_size=2).resolved()
    assert fitted(tokens, dataset, view).softmax == "full"
    set_bound(monkeypatch, "modules.training.fitted.MOST_SCORED", 11)
    assert fitted(tokens, dataset, view).softmax == "sampled"
    assert "--softmax full scores all" in capsys.readouterr().out
    assert fitted(replace(tokens, softmax="full"), dataset, view).softmax == "full"
    assert fitted(replace(tokens, loss="tokens"), dataset, view).softmax == "full"


def test_batches_of_a_ranking_hold_so_many_scores(dataset, prompts, monkeypatch):
    monkeypatch.setattr("modules.loader.prompts._SCORES", 24)
    users, held_out = dataset.users, HeldOut.TEST
    histories = recent_histories(dataset, users, held_out)
    asked = users, histories, dataset.test_items
    assert max(len(rows) for rows, _ in prompts.sequential(*asked, BatchSize(4))) == 2
    in_order = BatchSize(4, in_order=True)  # the published search's batches are as they are
    assert [len(rows) for rows, _ in prompts.sequential(*asked, in_order)] == [4]


def test_a_validation_takes_so_many_scores(run, monkeypatch):
    monkeypatch.setattr("modules.training.validation.SCORED", 3 * 12)
    settings = Settings(negative_num=4, batch_size=3, tasks=["sequential"])
    assert Validation.of(run, settings)(1000, lambda: False).sampled == 3
    given = replace(settings, valid_samples=4)
    assert Validation.of(run, given)(1000, lambda: False).sampled is None


@pytest.mark.parametrize("neighbours", [None, 2])
def test_neighbours_are_the_same_by_blocks(neighbours, monkeypatch):
    rng = np.random.default_rng(0)
    train = sparse.csr_matrix(rng.random((40, 15)) < 0.3, dtype=np.float32)
    whole = item_knn(train, seed=0, neighbours=neighbours)(train, None)
    monkeypatch.setattr("modules.baselines.simple._PAIRS", 60)
    np.testing.assert_array_equal(
        item_knn(train, seed=0, neighbours=neighbours)(train, None), whole
    )


def test_the_scores_of_a_large_catalogue_are_made_for_fewer_users():
    catalogues = (10, 12_101, 1 << 16, 1 << 20, 1 << 30)
    first = [next(batches_of_users(10_000, n)) for n in catalogues]
    assert first == [slice(0, size) for size in (512, 512, 512, 32, 1)]
    rows = np.arange(1000)
    assert np.concatenate([rows[batch] for batch in batches_of_users(1000, 10)]).tolist() == [*rows]


def test_baselines_without_memory_are_left_out_and_said(dataset, monkeypatch, capsys):
    train = train_matrix(dataset)
    chosen = {name: BASELINES[name] for name in ("popularity", "item_knn", "ease", "linear")}
    assert that_fit(chosen, train) == chosen
    monkeypatch.setattr(memory, "free_memory", lambda: 500)
    found = that_fit(chosen, train)
    assert list(found) == ["popularity", "item_knn"][: len(found)]
    said = capsys.readouterr().out
    assert "left out: ease ('l2', 100.0) needs 0.0 GB of memory, and 0.0 GB are free" in said
    assert "linear" in said
    with pytest.raises(UserError, match=r"--methods ease: ease .* GB are free. Name others"):
        that_fit({"ease": BASELINES["ease"]}, train)
    assert next(iter(quick_ranks(dataset, dataset.users, DROP, 0))) == "popularity"
    assert "EASE is not compared: it needs" in capsys.readouterr().out


def test_free_memory_is_what_the_system_or_the_container_leaves(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    (tmp_path / "most").write_text("4000\n")
    (tmp_path / "used").write_text("1000\n")
    monkeypatch.setattr(memory, "_FREE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_LIMITS", [(tmp_path / "most", tmp_path / "used")])
    assert memory.free_memory() == 3000
    (tmp_path / "most").write_text("max\n")
    assert memory.free_memory() == 5 * 1024
    assert memory.lack_of_memory(5 * 1024) is None
    assert memory.lack_of_memory(5 * 1024 + 1).startswith("needs 0.0 GB")
    monkeypatch.setattr(memory, "_FREE", tmp_path / "nothing")
    assert memory.free_memory() is None
    assert memory.lack_of_memory(10**15) is None
