"""The authors' tables of settings, figure by figure, and that a run takes them."""

import json

import pytest

from modules.presets import PRESETS, published_row
from tests.conftest import script, write_folder
from tests.test_scripts import SMALL

# alpha, sigma, N (items taken before reranking beyond those listed), L (layers of the graph)
README = {
    ("sports", "direct"): (5, 5, 10, 4),
    ("sports", "sequential"): (11, 5, 10, 4),
    ("beauty", "direct"): (9, 6, 15, 4),
    ("beauty", "sequential"): (6, 6, 15, 4),
    ("toys", "direct"): (9, 5, 10, 4),
    ("toys", "sequential"): (5, 5, 10, 4),
}
CORRECTED = README | {
    ("sports", "sequential"): (1, 5, 10, 4),
    ("toys", "direct"): (11, 5, 10, 4),
    ("toys", "sequential"): (9, 5, 10, 4),
}


@pytest.mark.parametrize(("preset", "table"), [("readme", README), ("corrected", CORRECTED)])
def test_every_figure_of_the_authors(preset, table):
    found = {
        (dataset, objective): published_row(preset, dataset, objective)[0]
        for dataset, rows in PRESETS[preset].items()
        for objective in rows
    }
    assert found == table


@pytest.mark.parametrize("preset", ["readme", "corrected"])
def test_names_in_capitals_and_sets_that_are_not_published(preset):
    row, source = published_row(preset, "Beauty", "direct")
    assert row == (9, 6, 15, 4)
    assert f"--preset {preset}" in source
    row, source = published_row(preset, "demo", "direct")
    assert row == (1, 1, 10, 4)
    assert "no published settings for 'demo'" in source


@pytest.mark.parametrize(
    ("flags", "alpha", "sigma"),
    [
        ([], 9, 5),  # readme, direct
        (["--preset", "corrected"], 11, 5),
        (["--preset", "corrected", "--objective", "sequential", "--sigma", "2"], 9, 2),
    ],
)
def test_a_run_takes_them_where_no_flag_is_given(tmp_path, flags, alpha, sigma):
    data, run = write_folder(tmp_path / "toys"), tmp_path / "run"
    done = script("pretrain.py", data, *SMALL, "--max_steps", "1", *flags, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    config = json.loads((run / "config.json").read_text())["elmrec"]
    assert (config["alpha"], config["sigma"], config["graph_layers"]) == (alpha, sigma, 4)
