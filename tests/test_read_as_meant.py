"""What is no fault, and is read as it was meant; and warnings beside results."""

import json
import os
from importlib.metadata import version
from itertools import chain

from modules.data.reader import load_dataset
from tests.conftest import HISTORIES, script
from tests.faults import change, entry, swap, table

SEQUENTIAL, MAPS = "data/sequential.txt", "data/datamaps.json"
NEGATIVE, TEXTS, RUN = "data/negative.txt", "data/explanation.json", "run/run.json"

HARMLESS = [
    ("CRLF", change(SEQUENTIAL, lambda b: b.replace(b"\n", b"\r\n"))),
    ("CR alone", change(SEQUENTIAL, lambda b: b.replace(b"\n", b"\r"))),
    ("byte order mark", change(SEQUENTIAL, lambda b: b"\xef\xbb\xbf" + b)),
    ("trailing blanks", change(SEQUENTIAL, lambda b: b.replace(b"\n", b" \t \n"))),
    ("tabs", change(SEQUENTIAL, lambda b: b.replace(b" ", b"\t"))),
    ("leading blanks", change(SEQUENTIAL, lambda b: b" " + b.replace(b"\n", b"\n  "))),
    ("blank lines at the end", change(SEQUENTIAL, lambda b: b + b"\n \r\n\n")),
    ("no line end at the end", change(SEQUENTIAL, bytes.rstrip)),
    ("leading zeros", swap(SEQUENTIAL, "3 7 8 9", "03 007 8 9")),
    ("CRLF in negatives", change(NEGATIVE, lambda b: b.replace(b"\n", b"\r\n"))),
    ("byte order mark in maps", change(MAPS, lambda b: b"\xef\xbb\xbf" + b)),
    ("CRLF in maps", change(MAPS, lambda b: b.replace(b",", b",\r\n") + b"\r\n")),
    ("byte order mark in texts", change(TEXTS, lambda b: b"\xef\xbb\xbf" + b)),
    ("escaped pairs", swap(TEXTS, "nice", "\\ud83d\\ude00")),
]


@table(HARMLESS)
def test_read_as_it_was_meant(row, place):
    clean = load_dataset(place.data)
    row[1](place)
    read = load_dataset(place.data)
    assert read.items.tolist() == clean.items.tolist() == list(chain(*HISTORIES.values()))
    assert read.offsets.tolist() == clean.offsets.tolist()
    assert read.negatives.tolist() == clean.negatives.tolist()
    assert (read.user_names, read.item_names) == (clean.user_names, clean.item_names)
    texts = [text.replace("\U0001f600", "nice") for text in read.explanations["train"].texts]
    assert tuple(texts) == clean.explanations["train"].texts


def test_a_history_of_a_million_items(place):
    swap(SEQUENTIAL, "3 7 8 9", "3 7" + " 8 9" * 500_000)(place)
    history = load_dataset(place.data).history(3)
    assert len(history) == 1_000_004
    assert history[-3:].tolist() == [1, 2, 3]


def done(place, name, *flags):
    """What a script on both folders prints."""
    ended = script(f"{name}.py", place.data, "--checkpoint", place.run, *flags)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_record_with_a_byte_order_mark(place):
    change(RUN, lambda b: b"\xef\xbb\xbf" + b.replace(b"\n", b"\r\n"))(place)
    assert "HR@10" in done(place, "topn")


def test_what_a_script_does_not_read_may_change(place):
    swap(NEGATIVE, "1 6", "1 12")(place)
    swap(TEXTS, "nice", "fine")(place)
    done(place, "seq_reranker", "--top_n", "2147483647")
    os.remove(place.data / "negative.txt")
    assert "drawn with seed 0" in done(place, "topn")


def test_another_library_version_is_a_warning_with_both(place):
    entry(RUN, "versions", "torch", value="1.13.1")(place)
    installed = version("torch")  # torch.__version__ may name CUDA's version, too
    warning = f"warning: trained with torch '1.13.1'; this is torch '{installed}'"
    assert warning in done(place, "topn")
    entry(RUN, "versions", "torch", value=installed)(place)
    assert "warning" not in done(place, "topn")


def test_names_of_files_that_are_not_utf8(place):
    data = place.data.rename(place.data.with_name(os.fsdecode(b"f\xff\xe9w")))
    done(place._replace(data=data), "topn")
    result = json.loads((place.run / "direct.json").read_text(encoding="utf-8"))
    assert result["dataset"] == data.name
