"""The committed demo set is what its generator writes, and it leaks as the published sets do."""

import hashlib

import pytest

from modules.data.demo import GROUPS, make_demo
from modules.data.protocols import train_view
from modules.data.reader import load_dataset
from tests.conftest import ROOT, script

BEFORE_TITLES = "d66045336618b1dd74aa495f040d6178410857cf5986940e01fafebf1ee09ffb"  # of seed 0


@pytest.mark.parametrize("name", sorted(make_demo(0)))
def test_committed_files_are_the_generators(name):
    assert (ROOT / "data" / "demo" / name).read_text() == make_demo(0)[name]


def test_titles_are_in_the_words_of_the_group_and_change_no_other_file():
    dataset = load_dataset(ROOT / "data" / "demo")
    assert all(dataset.titles[1:])
    assert len(set(dataset.titles[1:])) == dataset.n_items
    for name, title in zip(dataset.item_names[1:], dataset.titles[1:]):
        group, place = name.split("-")
        word, *rest = title.split()
        assert word in GROUPS[group][1]
        assert rest == [group, "no.", str(int(place))]
    assert make_demo(1)["items.json"] != make_demo(0)["items.json"]
    others = "".join(text for name, text in make_demo(0).items() if name != "items.json")
    assert hashlib.sha256(others.encode()).hexdigest() == BEFORE_TITLES


def test_protocols_differ_on_it():
    dataset = load_dataset(ROOT / "data" / "demo")
    clean, paper = train_view(dataset, "clean"), train_view(dataset, "paper")
    assert clean.held_out_edges == clean.held_out_records == 0
    assert clean.dropped_records == paper.held_out_records > 0


def test_files_that_are_there_are_replaced_only_where_a_flag_says_so(tmp_path):
    (tmp_path / "negative.txt").write_text("mine")
    done = script("-m", "modules.data.demo", tmp_path)
    assert done.returncode == 2, done
    assert "negative.txt: is there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["negative.txt"]
    assert (tmp_path / "negative.txt").read_text() == "mine"
    assert script("-m", "modules.data.demo", tmp_path, "--overwrite").returncode == 0
    assert len(list(tmp_path.iterdir())) == 5
