"""The files of a result belong together, whenever the writing ends, and to the folder's run."""

import json
import os
import re
from pathlib import Path

import pytest

from modules.runs.kinds import RankedRow
from modules.runs.record import read_record
from modules.runs.results import owner_of, read_all_results, read_result, read_rows, same_data
from modules.runs.writing import check_result_name, write_results
from tests.reports.conftest import FINGERPRINTS, change, record, result, rows
from utils.errors import UserError
from utils.json_files import write_json

METRICS = {"HR@1": 0.25}


@pytest.fixture
def folder(tmp_path):
    """A run's folder with a result of four users, its rankings for other tools, and a card."""
    write_json(tmp_path / "run.json", record(run_id="one"))
    write_results(tmp_path, "direct", result(METRICS, run_id="one"), rows(), trec=True)
    return tmp_path


def other_rows():
    return [row | {"user": row["user"] + 100} for row in rows()[:3]]


class KilledError(Exception):
    """In place of a signal that cannot be caught."""


def test_after_a_kill_at_any_point_no_pair_is_mixed(folder, monkeypatch):
    """Each renaming and each removal in turn is the one that does not happen any more."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    replace, unlink = os.replace, Path.unlink
    seen = set()
    for last in range(20):
        for name, content in before.items():
            (folder / name).write_bytes(content)
        done = 0

        def step(at, done_by, *args, **how):
            nonlocal done
            if not str(args[0]).endswith(".tmp") or done_by is replace:  # not the tidying up
                done += 1
                if done > at:
                    raise KilledError
            return done_by(*args, **how)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", lambda *a, at=last, **k: step(at, replace, *a, **k))
            patch.setattr(Path, "unlink", lambda *a, at=last, **k: step(at, unlink, *a, **k))
            try:
                write_results(folder, "direct", result(METRICS, users=3), other_rows(), trec=True)
                killed = False
            except KilledError:
                killed = True
        found = read_result(folder, "direct")
        if found is not None:
            kept = read_rows(folder, "direct", found)
            assert next(row.user for row in kept) == (1 if found.users == 4 else 101)
        seen.add((killed, found and found.users))
    assert seen == {(True, 4), (True, None), (True, 3), (False, 3)}


def test_files_that_were_not_written_together_are_refused(folder):
    found = read_result(folder, "direct")
    assert set(found.files) == {f"direct.{end}" for end in ("jsonl", "run.trec", "qrels.trec")}
    assert [type(row) for row in read_rows(folder, "direct", found)] == [RankedRow] * 4
    path = folder / "direct.jsonl"
    path.write_text(path.read_text().replace("-2.0", "-2.5"))
    with pytest.raises(UserError, match=r"direct\.jsonl: not the rows that were written with"):
        read_rows(folder, "direct", found)
    change(folder / "direct.json", files={})  # as older versions wrote it
    assert len(read_rows(folder, "direct", read_result(folder, "direct"))) == 4
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(UserError, match=r"direct\.jsonl: 3 lines; direct\.json beside it is of 4"):
        read_rows(folder, "direct", read_result(folder, "direct"))


def test_what_an_earlier_evaluation_left_is_removed(folder):
    assert (folder / "direct.run.trec").is_file()
    (folder / "direct.notes").write_text("mine")
    write_results(folder, "direct", result(METRICS, users=3), other_rows())
    left = {path.name for path in folder.iterdir()}
    assert left == {"run.json", "README.md", "direct.json", "direct.jsonl", "direct.notes"}


def test_results_of_another_run(folder, capsys):
    change(folder / "run.json", run_id="two")
    owner = owner_of(folder)
    with pytest.raises(UserError, match=r"direct\.json: a result of another run \(run_id 'one'\)"):
        read_all_results(folder, owner)
    assert read_all_results(folder, owner, strict=False) == {}
    assert "warning: left out" in capsys.readouterr().out
    for same in ({"run_id": ""}, {"run_id": "one"}):  # not known; the same
        change(folder / "run.json", **same)
        assert set(read_all_results(folder, owner_of(folder))) == {"direct"}


def test_data_are_the_same_where_histories_and_ids_are():
    other = FINGERPRINTS | {"sequential.txt": "c" * 64}
    assert same_data(FINGERPRINTS, FINGERPRINTS | {"negative.txt": "d" * 64}) is True
    assert same_data(FINGERPRINTS, other) is False
    assert same_data(FINGERPRINTS, {}) is same_data({}, {}) is None


# ------------------------------------------------------------------------------------- the card


def test_the_card_shows_texts_of_others_as_they_are(tmp_path):
    nasty = "a|b<script>\n# x`[y](z)\x1b[31m"
    write_json(tmp_path / "run.json", record(dataset=nasty, command=nasty, commit=nasty))
    write_results(tmp_path, "direct", result(METRICS, command=nasty), rows())
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    text = re.sub(r"^    .*$", "", card, flags=re.MULTILINE)  # in code, all is shown as it is
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[y|\x1b", text)
    assert not re.search(r"^# x", text, flags=re.MULTILINE)
    assert r"a\|b\<script> # x\`\[y](z)\\x1b\[31m" in text
    assert card.count("\n    a|b<script> # x`[y](z)") == 2


def test_another_readme_is_left_alone(tmp_path, capsys):
    write_json(tmp_path / "run.json", record())
    for make in (
        lambda path: path.write_text("# My thesis\n"),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("elsewhere"),
    ):
        card = tmp_path / "README.md"
        make(card)
        before = os.lstat(card).st_mtime_ns
        write_results(tmp_path, "direct", result(METRICS), rows())
        assert os.lstat(card).st_mtime_ns == before
        assert "README.md: left as it is" in capsys.readouterr().out
        card.rmdir() if card.is_dir() else card.unlink()
    write_results(tmp_path, "direct", result(METRICS), rows())
    ours = card.read_text()
    assert "## direct, 4 rows" in ours
    write_results(tmp_path, "direct", result({"HR@1": 0.5}), rows())
    new = ours.replace("0.2500", "0.5000").replace("value: 0.25\n", "value: 0.5\n")
    expected = new.splitlines()[:-1]  # but the seal
    assert card.read_text().splitlines()[:-1] == expected
    card.write_text(card.read_text().replace("A model of", "My model of"))
    write_results(tmp_path, "direct", result(METRICS), rows())
    assert "My model of" in card.read_text()


def test_what_is_written_is_read_with_every_entry(folder):
    """All of a record comes back: nothing that the writers know is lost by the reader's type."""
    assert read_record(folder).as_json() == json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, True),
        ({"mine.pdf": "mine"}, True),
        ({"mine.txt": "mine"}, False),
        ({"mine.json": "{}"}, False),
        ({"mine.json": json.dumps(result(METRICS))}, True),
        ({"mine.jsonl": '{"user": 1}\n'}, False),
        ({"mine.jsonl": '{"user": 1, "item": 2, "reference": "", "text": ""}\n'}, True),
    ],
)
def test_a_name_of_results_is_free_or_holds_results(tmp_path, files, free):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    if free:
        check_result_name(tmp_path, "mine", "--outf")
        return
    with pytest.raises(UserError, match="--outf mine: would replace a file that no evaluation"):
        check_result_name(tmp_path, "mine", "--outf")
