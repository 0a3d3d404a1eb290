"""Whatever stands in the files of a data folder: a data set, or an error that names the file."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.data.reader import load_dataset
from modules.data.titles import ITEMS_FILE, items_json
from tests.conftest import write_folder
from utils.errors import UserError

FILES = ("sequential.txt", "negative.txt", "datamaps.json", "explanation.json", ITEMS_FILE)
AWKWARD = (
    *(b"\xef\xbb\xbf", b"\r\n", b"\r", b"\x00", b"\xff", b"\n\n", b" ", b"\xe2\x80\xa8"),
    *(b"-1", b"9" * 30, b"1e9", b"NaN", b"Infinity", b"null", b"true", b"\\ud800"),
    *(b"{", b"}", b"[" * 50, b'"', b",", b":", b'"user": 1,', b'"id2user"'),
)
PIECES = st.one_of(st.binary(max_size=12), st.sampled_from(AWKWARD))
# An edit: where (as a share of the file), how many bytes go, and what comes in their place.
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=4)


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, gone, new in edits:
        at = int(place * len(content))
        content = content[:at] + new + content[at + gone :]
    return content


def whole(base: str) -> Path:
    """A data folder with all files."""
    folder = write_folder(Path(base) / "few")
    (folder / ITEMS_FILE).write_text(items_json({3: "A lamp", 7: "Tea, <b>green</b>"}))
    return folder


def read(name: str, content: bytes) -> None:
    """Anything but a data set or a ``UserError`` that names the file fails the test."""
    with tempfile.TemporaryDirectory() as base:
        folder = whole(base)
        (folder / name).write_bytes(content)
        said, dataset = "", None
        try:
            dataset = load_dataset(folder)
        except UserError as error:
            said = str(error)
    if dataset is None:
        assert any(file in said for file in FILES)  # one file is held against another: either
    else:
        assert 1 <= dataset.items.min() <= dataset.items.max() <= dataset.n_items


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=150, deadline=None)
@given(edits=EDITS)
def test_a_valid_file_with_edits(name, edits) -> None:
    with tempfile.TemporaryDirectory() as base:
        content = (whole(base) / name).read_bytes()
    read(name, edited(content, edits))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes(name, content) -> None:
    read(name, content)
