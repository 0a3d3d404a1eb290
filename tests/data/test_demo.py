"""The committed demo set is what its generator writes, and it leaks as the published sets do."""

import pytest

from modules.data.demo import make_demo
from modules.data.protocols import train_view
from modules.data.reader import load_dataset
from tests.conftest import ROOT, script


@pytest.mark.parametrize("name", sorted(make_demo(0)))
def test_committed_files_are_the_generators(name):
    assert (ROOT / "data" / "demo" / name).read_text() == make_demo(0)[name]


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
    assert len(list(tmp_path.iterdir())) == 4
