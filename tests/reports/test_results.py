"""The results of a report: tables, baselines, published figures."""

import json
import shutil

import pytest

from modules.reports.sources import read_results
from tests.reports.conftest import change, page_of
from utils.errors import UserError
from utils.json_files import write_jsonl


def test_the_table_of_results(run_folder):
    cells = page_of(run_folder).cells
    own = ["ELMRec (this run)", ".2500", ".5000", ".5000", ".3467", ".3467"]
    assert cells.count(own) == 2  # sequential and direct
    assert ["item-kNN", ".2500", ".5000", ".7500", ".3467", ".3467"] in cells
    assert ["BLEU-1", "12.34"] in cells


def test_baselines_by_hand_and_of_other_candidates(run_folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(run_folder.parent / "few-item_knn", elsewhere)
    change(elsewhere / "sequential.json", candidates="d")
    cells = page_of(run_folder, [elsewhere]).cells
    assert [c[0] for c in cells if c and c[0].startswith("item-kNN")] == ["item-kNN*"]
    assert [c[0] for c in page_of(run_folder).cells if c and "kNN" in c[0]] == ["item-kNN"]
    with pytest.raises(UserError, match="no results of a baseline on 'few'"):
        read_results(run_folder, [run_folder])
    with pytest.raises(UserError, match="no such folder"):
        read_results(run_folder, [tmp_path / "none"])


def test_baselines_above_the_run_are_named(run_folder):
    path = run_folder.parent / "few-item_knn" / "sequential.json"
    note = "Simple models above this run in NDCG@10: "
    assert note not in page_of(run_folder).text  # as good, and no better
    better = json.loads(path.read_text())["metrics"] | {"NDCG@10": 0.4}
    change(path, item_ids="published", metrics=better)
    assert note + "item-kNN (published numbers)." in page_of(run_folder).text


def test_published_figures_are_marked(run_folder):
    for name in ("run", "sequential", "direct", "explanation"):
        change(run_folder / f"{name}.json", dataset="beauty")
    page = page_of(run_folder)
    (found,) = [c for c in page.cells if c[:1] == ["POD (published)"] and ".0235" in c]
    assert found[1:] == [".0235", ".0537", ".0688", ".0395", ".0443"]
    assert "do not compare with protocol clean" in page.text


@pytest.mark.parametrize(("count", "name"), [(0, "item-kNN"), (2, "item-kNN*")])
def test_baselines_that_keep_what_users_had_are_marked(run_folder, count, name):
    """Where a test item is one that its user had; else it makes no difference."""
    arguments = {"negative_num": 99, "seen": "drop"}
    change(run_folder / "sequential.json", arguments=arguments, target_seen=count)
    other = run_folder.parent / "few-item_knn" / "sequential.json"
    change(other, arguments=arguments | {"seen": "keep"}, target_seen=count)
    assert [c[0] for c in page_of(run_folder).cells if c and "kNN" in c[0]] == [name]


@pytest.mark.usefixtures("no_drawing")
def test_baselines_are_in_the_order_of_their_figures(run_folder):
    first = run_folder.parent / "few-item_knn"
    for name, gain in (("ease", 0.3), ("popularity", 0.5), ("linear", 0.4)):
        shutil.copytree(first, run_folder.parent / f"few-{name}")
        metrics = json.loads((first / "sequential.json").read_text())["metrics"]
        metrics["NDCG@10"] = gain
        path = run_folder.parent / f"few-{name}" / "sequential.json"
        change(path, method=name, title=name, metrics=metrics)
    names = [cells[0] for cells in page_of(run_folder).cells if cells and ".7500" in cells]
    assert names == ["popularity", "linear", "item-kNN", "ease"]


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize(
    ("usr", "users", "words"),
    [
        (0.5, 2, "All 2 texts are the same"),
        (0.001, 1000, "All 1,000 texts are the same"),
        (0.02, 1000, "Of 1,000 texts only 20 differ"),
        (0.4, 1000, None),
        (1.0, 1, None),
    ],
)
def test_a_diversity_of_texts_that_are_one_is_none(run_folder, usr, users, words):
    text = {"user": 1, "item": 5, "reference": "warm", "text": "it is nice"}
    write_jsonl(run_folder / "explanation.jsonl", [text] * users)
    metrics = {"USR": usr, "DIV": 0.0}
    change(run_folder / "explanation.json", users=users, metrics=metrics)
    found = page_of(run_folder).text
    assert ("A low DIV does not show variety here" in found) is (words is not None)
    assert words is None or words in found
