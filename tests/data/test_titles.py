"""items.json: what it may hold, what each kind of bad entry is told; no run depends on it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.data.reader import load_dataset
from modules.data.titles import ITEMS_FILE, items_json, parse_titles
from modules.runs.folder import check_data
from modules.runs.record import RunRecord
from tests.fuzz import examples
from utils.errors import UserError

WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@settings(max_examples=examples(50), deadline=None)
@given(st.dictionaries(st.integers(1, 9), WORDS))
def test_what_is_written_is_read(titles):
    text = items_json(titles)
    assert {int(k): v["title"] for k, v in json.loads(text).items()} == titles
    expected = tuple(titles.get(item, "") for item in range(10))
    assert parse_titles(ITEMS_FILE, text.encode(), 9) == expected


def test_titles_of_a_folder(folder):
    assert load_dataset(folder).titles is None
    (folder / ITEMS_FILE).write_text('{"12": {"title": "A lamp", "size": 7}, "3": {"title": "é"}}')
    titles = load_dataset(folder).titles
    assert len(titles) == 13
    assert {item: title for item, title in enumerate(titles) if title} == {3: "é", 12: "A lamp"}
    (folder / ITEMS_FILE).write_text("{}")
    assert load_dataset(folder).titles == ("",) * 13


BAD = [
    ("", r"line 1, column 1: broken JSON"),
    ("[]", r"is \[\]; it must be a map"),
    ('{"1": {"title": "a"}, "1": {"title": "b"}}', r"key '1' is given twice"),
    ('{"13": {"title": "a"}}', r"key '13' is no item of datamaps\.json, which has items 1 to 12"),
    ('{"0": {"title": "a"}}', r"key '0' is no item"),
    ('{"01": {"title": "a"}}', r"key '01' is no item"),
    ('{"I3": {"title": "a"}}', r"key 'I3' is no item"),
    ('{"٣": {"title": "a"}}', r"key '٣' is no item"),
    ('{"3": "a lamp"}', r"key '3': 'a lamp'; it must be"),
    ('{"3": null}', r"key '3': None; it must be"),
    ('{"3": {}}', r"key '3': its 'title' is None"),
    ('{"3": {"name": "a"}}', r"key '3': its 'title' is None"),
    ('{"3": {"title": 7}}', r"key '3': its 'title' is 7"),
    ('{"3": {"title": ["a"]}}', r"key '3': its 'title' is \['a'\]"),
    ('{"3": {"title": " \\n"}}', r"key '3': its 'title' is ' \\n'"),
    (json.dumps({"3": {"title": "a" * 1001}}), r"key '3': its 'title' is .*at most 1000 char"),
    ('{"3": {"title": "\\ud800"}}', r"key '3': its 'title' is"),
    ('{"3": {"title": "a", "price": NaN}}', r"NaN is not a number"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text[:30] for text, _ in BAD])
def test_bad_entries_are_named(folder, text, message):
    (folder / ITEMS_FILE).write_text(text)
    with pytest.raises(UserError, match=rf"items\.json.*{message}"):
        load_dataset(folder)


def test_what_has_its_name_is_meant_to_be_read(folder):
    (folder / ITEMS_FILE).symlink_to("nowhere")
    with pytest.raises(UserError, match=r"items\.json: .*leads nowhere"):
        load_dataset(folder)
    (folder / ITEMS_FILE).unlink()
    (folder / ITEMS_FILE).write_bytes(b'{"3": {"title": "\xff"}}')
    with pytest.raises(UserError, match=r"items\.json: byte 17 is not UTF-8"):
        load_dataset(folder)


def test_no_run_depends_on_titles(folder, dataset):
    """A run from before the file was there, or with another one, is of the same data."""
    before = RunRecord.now({"seed": 0}, dataset, 0, 0)
    for title in ("a", "b"):
        (folder / ITEMS_FILE).write_text(items_json({3: title}))
        now = load_dataset(folder)
        assert now.fingerprints == dataset.fingerprints
        check_data(folder, before, now, tuple(before.fingerprints))
        after = RunRecord.now({"seed": 0}, now, 0, 0)
        assert after.run_id == before.run_id
        check_data(folder, after, dataset, (*after.fingerprints, ITEMS_FILE))
