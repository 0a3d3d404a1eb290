"""compare.py table: seeds as one row, and the table as a file of each kind."""

import csv
import io
import json
from statistics import mean, stdev

import pytest

from modules.reports import plots
from modules.reports.entries import by_settings, entries
from modules.reports.table_files import as_text, training_curves
from tests.conftest import script
from tests.reports.conftest import FINGERPRINTS, NASTY, result
from tests.reports.test_tables_and_tests import write_run
from utils.json_files import write_json, write_jsonl

RANKS = [[0, 3, -1, 9], [0, 0, -1, 9], [0, 3, -1, -1]]
HR10 = [0.75, 0.75, 0.5]  # by hand


def seed_run(folder, seed, ranks=(0, 3, -1, 9), **arguments):
    """A run of one seed, evaluated in the direct task."""
    training = {"arguments": {"method": "pod", "lr": 0.1, "seed": seed, "checkpoint": str(folder)}}
    training["arguments"] |= arguments
    more = {"training": training, "fingerprints": FINGERPRINTS, "seed": seed}
    more["arguments"] = {"top_n": 10, "checkpoint": str(folder), "data_dir": f"d{seed}"}
    return write_run(folder, list(ranks), dataset="few", candidates=f"c{seed}", **more)


@pytest.fixture
def seeds(tmp_path):
    return [seed_run(tmp_path / f"a-{seed}", seed, RANKS[seed]) for seed in range(3)]


def test_runs_of_other_seeds_are_one_row(seeds, tmp_path):
    other = seed_run(tmp_path / "b", 0, lr=0.2)
    rows = by_settings(entries([*seeds, other]))
    assert [row.seed for row in rows] == ["0, 1, 2", "0"]
    assert rows[0].source == f"{tmp_path}/a-{{0,1,2}}"
    assert rows[0].metrics["HR@10"] == pytest.approx(mean(HR10))
    text = as_text(".md", rows, [])
    cells = [cell.strip() for cell in text.splitlines()[4].split("|")]
    assert f"{mean(HR10):.4f} ± {stdev(HR10):.4f} (3)" in cells  # 0.6667 ± 0.1443
    assert "0.7500" in [cell.strip() for cell in text.splitlines()[5].split("|")]
    assert "Mean ± standard deviation over seeds" in text


APART = {
    "a setting": lambda run: {"training": {"arguments": {"method": "pod", "lr": 0.2}}},
    "the method": lambda run: {"training": {"arguments": {"method": "p5", "lr": 0.1}}},
    "the protocol": lambda run: {"protocol": "paper"},
    "item numbers": lambda run: {"item_ids": "own"},
    "the data": lambda run: {"fingerprints": FINGERPRINTS | {"sequential.txt": "c" * 64}},
    "the name of the data": lambda run: {"dataset": "many"},
    "how it was ranked": lambda run: {"arguments": run["arguments"] | {"linear": 1.0}},
    "who was asked": lambda run: {"arguments": run["arguments"] | {"limit_users": 4}},
    "the search": lambda run: {"decode": "beam"},
}


@pytest.mark.parametrize("change", APART.values(), ids=APART)
def test_what_differs_in_more_is_a_row_of_its_own(change, seeds):
    path = seeds[2] / "direct.json"
    own = json.loads(path.read_text())
    write_json(path, own | change(own))
    assert [row.seed for row in by_settings(entries(seeds))] == ["0, 1", "2"]


def test_old_results_that_do_not_know_their_data_are_not_joined(tmp_path):
    runs = [write_run(tmp_path / str(n), [0, 3], dataset="few", seed=n) for n in range(2)]
    assert len(by_settings(entries(runs))) == 2


def test_a_seed_that_is_there_twice_is_said(seeds):
    text = as_text(".md", by_settings(entries([*seeds, seeds[0]])), [])
    assert "a seed is there twice" in text


def test_a_metric_that_some_runs_lack_says_of_how_many_it_is(seeds):
    path = seeds[0] / "direct.json"
    own = json.loads(path.read_text())
    del own["metrics"]["HR@10"]
    write_json(path, own)
    (row,) = by_settings(entries(seeds))
    assert (row.counts["HR@10"], row.counts["HR@5"]) == (2, 3)


def test_catalogues_are_means(seeds):
    for seed, folder in enumerate(seeds):
        groups = [{"low": 0, "high": None, "users": 4, "hr": seed / 2, "ndcg": 0.5}]
        catalogue = {"metrics": {"HR@1": seed / 2}, "coverage@10": 0.5, "by_history_length": groups}
        own = json.loads((folder / "direct.json").read_text())
        write_json(folder / "direct.json", own | {"catalogue": catalogue})
    (row,) = by_settings(entries(seeds))
    assert row.catalogue["metrics"] == {"HR@1": 0.5}
    (group,) = row.catalogue["by_history_length"]
    assert (group.users, group.hr, group.ndcg) == (4, 0.5, 0.5)


def test_csv_has_a_figure_a_line(seeds):
    lines = csv.DictReader(io.StringIO(as_text(".csv", by_settings(entries(seeds)), [])))
    (line,) = [line for line in lines if line["figure"] == "HR@10"]
    assert float(line["value"]) == pytest.approx(mean(HR10))
    assert float(line["sd"]) == pytest.approx(stdev(HR10))
    assert line["runs"] == "3"
    lines = csv.DictReader(io.StringIO(as_text(".csv", entries(seeds), [])))
    assert {line["runs"] for line in lines} == {""}


def test_the_page_shows_tables_and_curves(run_folder):
    write_json(run_folder / "sequential.json", result({"HR@1": 0.5}, item_ids=NASTY))
    log = [
        {"step": 6 * n, "epoch": n, "valid": {"sequential": 4.0 - n}, "valid_mean": 4.0 - n}
        | {"metrics": {"sequential NDCG@10": n / 10}}
        for n in (1, 2)
    ]
    write_jsonl(run_folder / "train_log.jsonl", log)
    curves = training_curves([run_folder, run_folder.parent / "few-item_knn"])
    assert [plot.alt.partition("; ")[0] for plot in curves] == [
        "sequential: validation loss, by epoch",
        "sequential: validation NDCG@10, by epoch",
    ]
    assert "mine 3.0000 to 2.0000" in curves[0].alt
    text = as_text(".html", entries([run_folder]), [run_folder])
    assert text.count("<img") == 2
    assert "<script" not in text
    assert "://" not in text


def test_lines_are_drawn_of_many_runs_and_odd_names():
    runs = {f"_{n}" + "x" * 60: [(1, 0.1), (2, 0.2)] for n in range(12)}
    assert plots.lines("t", runs).src.startswith("data:image/svg+xml;base64,")


def test_the_command_writes_every_kind_and_replaces_none(seeds, tmp_path):
    outs = [
        word for end in ("md", "csv", "tex", "html") for word in ("--out", tmp_path / f"t.{end}")
    ]
    done = script("compare.py", "table", *seeds, *outs)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.md").read_text() in done.stdout + "\n"
    assert r"0.6667 $\pm$ 0.1443 (3)" in (tmp_path / "t.tex").read_text()
    assert "0.6667 ± 0.1443 (3)" in (tmp_path / "t.html").read_text()
    before = (tmp_path / "t.tex").read_bytes()
    (tmp_path / "t.html").unlink()
    done = script("compare.py", "table", *seeds, *outs[6:], *outs[4:6])
    assert done.returncode == 2
    assert not (tmp_path / "t.html").exists()
    assert (tmp_path / "t.tex").read_bytes() == before
    done = script("compare.py", "table", *seeds, "--each")
    assert "±" not in done.stdout
