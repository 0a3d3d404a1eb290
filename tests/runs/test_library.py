"""library.safetensors of a run's folder: what is written is read; anything else is refused."""

import json
import os
import re

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from modules.data.reader import load_dataset
from modules.runs import run as runs
from modules.runs.library import LIBRARY_FILE, library_bytes, read_library
from modules.runs.record import read_record
from tests.conftest import N_ITEMS
from tests.faults import change, check, cut, entry, instead, put, stamped, table
from utils.errors import UserError
from utils.files import sha256
from utils.json_files import read_json, write_json
from utils.runtime import Machine

CPU = Machine(torch.device("cpu"), "fp32")
LIBRARY, RUN = f"run/{LIBRARY_FILE}", "run/run.json"


def arrays(how):
    """Change the file's arrays: ``how(arrays)``, in place."""

    def make(content):
        found = {name: array.copy() for name, array in load(content).items()}
        how(found)
        return save(found)

    return change(LIBRARY, make)


def array(name, value, kind=None):
    """Put other values in an array's place."""

    def how(found):
        found[name] = np.asarray(value, dtype=kind or found[name].dtype)

    return arrays(how)


def says(how):
    """Change what ``names`` says: ``how(names)``, in place."""

    def make(found):
        names = json.loads(found["names"].tobytes())
        how(names)
        found["names"] = np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)

    return arrays(make)


def opened(place):
    return runs.open_run(place.run, None, CPU, writes=False)


NEVER_RIGHT = [
    ("no safetensors", put(LIBRARY, "{}"), "cannot be read"),
    ("a pickle", put(LIBRARY, b"\x80\x04N."), "cannot be read"),
    ("a header of 2^60 bytes", change(LIBRARY, lambda old: b"\x10" * 8 + old[8:]), "cannot be"),
    ("cut", cut(LIBRARY, 0.9), "cannot be read"),
    ("no names", arrays(lambda found: found.pop("names")), "does not hold the arrays names"),
    ("one array more", array("more", [1], np.int32), "does not hold the arrays names, items"),
    ("no items", arrays(lambda found: found.pop("items")), "does not hold the arrays"),
    ("items of 64 bits", array("items", [1] * 19, np.int64), "each in its type"),
    ("items as halves", array("items", [1.5] * 19, np.float16), "each in its type"),
    ("items in two dimensions", array("items", [[1] * 19]), "each in its type"),
    ("names no JSON", array("names", [123]), "broken JSON"),
    ("names no map", array("names", [49, 50]), "library.safetensors"),
    ("names not UTF-8", array("names", [255] * 9), "not UTF-8"),
    ("item 0", array("items", [0] * 19), "an item that is none from 1 to 12"),
    ("item 13", array("items", [13] * 19), "an item that is none from 1 to 12"),
    ("a user too few", array("offsets", [0, 5, 9, 19]), "does not cut 4 histories"),
    ("not from 0", array("offsets", [1, 5, 9, 15, 19]), "does not cut 4 histories"),
    ("past the end", array("offsets", [0, 5, 9, 15, 20]), "does not cut 4 histories"),
    ("backwards", array("offsets", [0, 9, 5, 15, 19]), "does not cut 4 histories"),
    ("so large that it wraps", array("offsets", [0, 2**62, -(2**62), 15, 19]), "does not cut"),
    ("a history of one", array("offsets", [0, 1, 9, 15, 19]), "does not cut 4 histories"),
    ("an id less", says(lambda names: names["users"].pop()), "holds 3 user ids; the model needs 4"),
    ("items less", says(lambda names: names["items"].pop()), "holds 11 item ids; the model needs"),
    ("ids alike", says(lambda names: names.update(items=["I1"] * 12)), "must differ"),
    ("a blank id", says(lambda names: names["users"].__setitem__(1, " ")), "which is blank"),
    ("an id a number", says(lambda names: names["items"].__setitem__(1, 7)), "items[1] is 7"),
    ("half a letter", says(lambda names: names["items"].__setitem__(1, "\ud800")), "no text"),
    ("titles less", says(lambda names: names.update(titles=["a"])), "holds 1 titles; the model"),
    ("a long title", says(lambda names: names.update(titles=["a" * 1001] * 12)), "titles"),
    ("ids, no histories", says(lambda names: names.update(users=None)), "without user ids"),
]


@table(NEVER_RIGHT)
def test_a_file_that_was_never_right(row, place):
    name, fault, *words = row
    check((name, stamped(LIBRARY_FILE, fault), "library.safetensors", *words), opened, place)


@table(
    [
        ("changed", arrays(lambda found: found["items"].sort()), "not the ids and histories"),
        ("cut", cut(LIBRARY, 0.5), "not the ids and histories that this model was trained with"),
        ("gone", lambda place: os.remove(place.file(LIBRARY)), "Pass the data folder"),
        ("of an older version", entry(RUN, "files", LIBRARY_FILE), "Pass the data folder"),
        ("a folder", instead(LIBRARY, "folder"), "library.safetensors: a folder"),
    ]
)
def test_a_file_that_is_not_the_runs(row, place):
    check(row, opened, place)


def test_a_folder_without_it_is_evaluated_with_the_data_folder(place):
    os.remove(place.file(LIBRARY))
    assert runs.open_run(place.run, place.data, CPU).dataset.n_users == 4
    record = read_json(place.run / "run.json")  # and no tokenizer takes its place
    record["files"] = {name: record["files"][name] for name in ("item_numbers.json", LIBRARY_FILE)}
    write_json(place.run / "run.json", record)
    with pytest.raises(UserError, match="and the tokenizer"):
        runs.open_run(place.run, place.data, CPU)


def test_what_is_written_is_read(place):
    (place.data / "items.json").write_text('{"2": {"title": "warm lamp"}}')
    told = load_dataset(place.data)
    path = place.run / LIBRARY_FILE
    assert sha256(path) == read_record(place.run).files[LIBRARY_FILE]
    for histories in (True, False):
        path.write_bytes(library_bytes(told, histories))
        found = read_library(place.run, read_record(place.run), 4, N_ITEMS)
        assert found.item_names == told.item_names
        assert found.titles == told.titles
        assert (found.n_users, found.n_items) == (4, N_ITEMS)
        content = path.read_bytes()
        if histories:
            assert found.user_names == told.user_names
            for user in told.users:
                assert found.history(user).tolist() == told.history(user).tolist()
        else:
            assert not re.search(rb"U[1-4]", content)  # nobody is named
            assert set(found.user_names) == {""}
            assert set(load(content)) == {"names"}


def test_a_data_set_that_is_too_large(dataset, monkeypatch):
    monkeypatch.setattr("modules.runs.library.MAX_LIBRARY", 100)
    with pytest.raises(UserError, match="Give --no_histories"):
        library_bytes(dataset, True)
