"""A baseline's folder: whose it is, before anything is tuned or written."""

import json
import shutil

import pytest
from filelock import FileLock

from modules.baselines.folder import check_baseline_folder
from modules.runs.kinds import BaselineRecord
from modules.runs.results import owner_of, read_all_results
from tests.conftest import script, write_folder
from tests.reports.conftest import record
from utils.errors import UserError
from utils.locks import LOCK_FILE

SMALL = ["--negative_num", 5, "--methods", "popularity"]


def content_of(folder):
    """Every byte in a folder, by path."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def data(tmp_path):
    return write_folder(tmp_path / "few")


def baselines(data, root, *more):
    return script("compare.py", "baselines", data, "--checkpoint", root, *SMALL, *more)


def test_the_record_says_whose_folder_it_is(data, tmp_path):
    assert baselines(data, tmp_path / "ck", "--trec").returncode == 0
    folder = tmp_path / "ck" / "few-popularity"
    owner = owner_of(folder)
    assert isinstance(owner, BaselineRecord)
    results = read_all_results(folder, owner)
    assert set(results) == {"sequential", "direct"}
    for result in results.values():
        assert (result.run_id, result.fingerprints) == (owner.run_id, owner.fingerprints)
        assert result.method == owner.method == "popularity"
    assert set(owner.fingerprints) >= {"sequential.txt", "datamaps.json", "negative.txt"}
    assert not (folder / LOCK_FILE).exists()
    # Once more: the same baseline is replaced, its rankings for other tools go.
    (folder / "notes.txt").write_text("mine")
    assert baselines(data, tmp_path / "ck").returncode == 0
    assert not list(folder.glob("*.trec"))
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_of_an_older_version_is_known_by_its_results(data, tmp_path):
    assert baselines(data, tmp_path / "ck").returncode == 0
    folder = tmp_path / "ck" / "few-popularity"
    (folder / "baseline.json").unlink()
    check_baseline_folder(folder, "popularity")
    with pytest.raises(UserError, match="holds other files than the results of the baseline ease"):
        check_baseline_folder(folder, "ease")
    assert baselines(data, tmp_path / "ck").returncode == 0
    assert (folder / "baseline.json").is_file()


def test_a_kill_before_the_first_new_result_leaves_none(data, tmp_path, monkeypatch):
    assert baselines(data, tmp_path / "ck").returncode == 0
    folder = tmp_path / "ck" / "few-popularity"
    before = owner_of(folder).run_id

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("modules.baselines.folder.remove_result", stop)
    assert baselines(data, tmp_path / "ck", "--seed", 1).returncode == 130
    owner = owner_of(folder)
    assert owner.run_id != before
    assert read_all_results(folder, owner, strict=False) == {}
    check_baseline_folder(folder, "popularity")


OTHERS = {
    "notes": {"notes.txt": "mine"},
    "a result of one's own": {"sequential.json": '{"metrics": {}}'},
    "a record of one's own": {"baseline.json": '{"method": "popularity"}'},
    "a run": {"run.json": json.dumps(record())},
    "a run and a baseline's record": {"run.json": "{}", "baseline.json": "{}"},
    "data": {"sequential.txt": "1 2 3\n", "explanation.json": "{}"},
    "a report": {"report.html": "<html>mine</html>"},
}


@pytest.mark.parametrize("files", OTHERS.values(), ids=[n.replace(" ", "_") for n in OTHERS])
def test_a_folder_of_somebody_else_is_left_as_it_is(data, tmp_path, files):
    folder = tmp_path / "ck" / "few-popularity"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    before = content_of(folder)
    done = baselines(data, tmp_path / "ck")
    assert done.returncode == 2, done
    assert str(folder) in done.stderr
    assert "tuning" not in done.stdout
    assert content_of(folder) == before


def test_no_baseline_is_tuned_where_the_last_has_no_place(data, tmp_path):
    (tmp_path / "ck" / "few-item_knn").mkdir(parents=True)
    (tmp_path / "ck" / "few-item_knn" / "notes.txt").write_text("mine")
    done = baselines(data, tmp_path / "ck", "--methods", "popularity,item_knn")
    assert done.returncode == 2, done
    assert "tuning" not in done.stdout
    assert not (tmp_path / "ck" / "few-popularity").exists()


def test_where_nothing_can_be_written_is_told_first(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    done = baselines(data, tmp_path / "file" / "below")
    assert done.returncode == 2, done
    assert "is a file. Name another folder" in done.stderr

    def refuse(**how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write anywhere
    done = baselines(data, tmp_path / "ck")
    assert done.returncode == 2, done
    assert "cannot be written there (Permission denied)" in done.stderr
    assert "tuning" not in done.stdout


def test_two_at_once_are_one_too_many(data, tmp_path):
    folder = tmp_path / "ck" / "few-popularity"
    folder.mkdir(parents=True)
    with FileLock(folder / LOCK_FILE):  # as another process has it
        done = baselines(data, tmp_path / "ck")
    assert done.returncode == 2, done
    assert "writes there" in done.stderr


def test_baselines_of_other_data_of_the_same_name_are_left_out(tmp_path):
    """A run of first/few beside a baseline of second/few, which has the same name."""
    data, other = write_folder(tmp_path / "first" / "few"), tmp_path / "second" / "few"
    shutil.copytree(data, other)
    lines = (other / "sequential.txt").read_text().replace("1 3 1 4 2 5", "1 1 3 4 2 5")
    (other / "sequential.txt").write_text(lines)
    root = tmp_path / "ck"
    assert baselines(data, root).returncode == 0
    (root / "few-popularity").rename(root / "mine")
    assert baselines(other, root).returncode == 0
    page = script("-m", "modules.reports.page", root / "mine", report=True)
    assert page.returncode == 0, page.stderr
    assert "left out of the report" in page.stdout
    assert "of other data of the name 'few'" in page.stdout
    assert (root / "mine" / "report.html").read_text().count("<th>popularity") == 2  # this run's
    named = script(
        "-m", "modules.reports.page", root / "mine", "--baselines", root / "few-popularity"
    )
    assert named.returncode == 2
    assert "of other data of the name 'few'" in named.stderr
    test = script("compare.py", "test", root / "mine", root / "few-popularity", "--resamples", 9)
    assert test.returncode == 2
    assert "are of different data, though both are called 'few'" in test.stderr
    table = script("compare.py", "table", root / "mine", root / "few-popularity").stdout
    assert table.count("Not all of these are of one data folder") == 2
    assert (
        len({line.partition("(data ")[2] for line in table.splitlines() if "(data " in line}) == 2
    )


def test_readers_change_nothing_in_a_folder_of_somebody_else(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("run.json", "sequential.json", "config.json", "baseline.json"):
        (mine / name).write_text('{"of": "another program"}')
    for name in ("report.html", "README.md", "sequential.jsonl", "notes"):
        (mine / name).write_text("mine\n")
    before = content_of(mine)
    for command in (
        ["compare.py", "table", mine],
        ["compare.py", "test", mine, mine],
        ["-m", "modules.reports.page", mine],
        ["compare.py", "table", mine, "--out", mine / "report.md"],
    ):
        done = script(*command, report=True)
        assert done.returncode == 2, done
        assert "run.json: object missing required field" in done.stderr
        assert content_of(mine) == before
