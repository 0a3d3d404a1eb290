"""The map of a report: the model's own propagation, principal components, and damaged files."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from modules.reports.embeddings import project, read_map
from modules.tasks import WholeWords
from utils.errors import UserError


def test_embeddings_are_the_models_own(run_folder, model, monkeypatch):
    monkeypatch.setattr("modules.reports.embeddings._COLUMNS_AT_A_TIME", 3)
    found = read_map(run_folder, seed=0)
    with torch.no_grad():
        tables = model.nodes.weight.numpy(), model.whole_word_table(WholeWords.GRAPH).numpy()
    n = model.config.n_users + model.config.n_items
    assert found.nodes == len(found.degrees) == n  # few enough that all are shown
    for table, view in zip(tables, (found.before, found.after)):
        centred = table[1:] - table[1:].mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        assert view.shares == pytest.approx(values[:-3:-1] / values.sum(), rel=1e-4)
        expected = centred @ vectors[:, :-3:-1]
        assert np.abs(view.points) == pytest.approx(np.abs(expected), abs=1e-4)
    crow = model.graph_crow.numpy()
    assert found.degrees.tolist() == np.diff(crow)[1:].tolist()
    assert found.is_item.sum() == model.config.n_items


def test_axes_have_a_direction():
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    assert project(vectors).points == pytest.approx(project(vectors.copy()).points)
    assert project(-vectors).points == pytest.approx(-project(vectors).points)


def test_a_sample_of_many_nodes(monkeypatch, run_folder):
    monkeypatch.setattr("modules.reports.embeddings.SAMPLE", 3)
    found = read_map(run_folder, seed=0)
    assert found.is_item.tolist() == [False] * 3 + [True] * 3
    other = read_map(run_folder, seed=1)
    assert not np.array_equal(found.before.points, other.before.points)


def test_damaged_weights_are_named(run_folder):
    path = run_folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged or cut short"):
        read_map(run_folder, seed=0)
    for name, value, message in (
        ("graph_col", torch.full_like(load(whole)["elmrec.graph_col"], 10**6), "graph is damaged"),
        ("nodes.weight", torch.zeros(3, 2), "3 node vectors"),
    ):
        path.write_bytes(save(load(whole) | {f"elmrec.{name}": value}))
        with pytest.raises(UserError, match=message):
            read_map(run_folder, seed=0)


def test_folders_without_a_graph_have_no_map(tmp_path):
    assert read_map(tmp_path, seed=0) is None
