"""Who is asked for: original ids in which anything may stand, from flags and from files."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.data.reader import load_dataset
from modules.people import Name, known, newcomer, read_names, split_history
from tests.conftest import HISTORIES, N_ITEMS, write_folder
from tests.fuzz import examples
from utils.errors import UserError

EXAMPLES = examples(150)
ODD = [
    "a,b",
    "a",
    "c",
    "-0Ji0nOyFe",
    '"10 inch" pan',
    '5" disk',
    " blank before",
    "blank after ",
    "two\nlines",
    "next\x85line",
    "\u202eright to left",
    "--user",
]


def odd_items(tmp_path, names=ODD):
    """The four users' data set, its items called so."""
    folder = write_folder(tmp_path / "few")
    maps = json.loads((folder / "datamaps.json").read_text())
    maps["id2item"] = {str(n): name for n, name in enumerate(names, start=1)}
    (folder / "datamaps.json").write_text(json.dumps(maps))
    return load_dataset(folder)


def items_of(dataset, text):
    person = newcomer(dataset, split_history(dataset, text))
    return [dataset.item_names[item] for item in person.history]


def as_csv(names):
    """By Python's own writer, every id quoted."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow(names)
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a,b",c', ["a,b", "c"]),
        ('c, "a,b" ', None),
        ('c, "a,b"', ["c", "a,b"]),
        ("a,c", ["a", "c"]),
        (" a , c ", ["a", "c"]),
        ("a,b", ["a,b"]),  # b is no item: it can only be the one
        ("-0Ji0nOyFe,a", ["-0Ji0nOyFe", "a"]),
        ('5" disk,a', ['5" disk', "a"]),
        ('"10 inch" pan', ['"10 inch" pan']),
        ('"""10 inch"" pan",c', ['"10 inch" pan', "c"]),
        ('" blank before",blank after ', [" blank before", "blank after "]),
        ('"two\nlines"', ["two\nlines"]),
    ],
)
def test_a_history_on_the_command_line(tmp_path, text, expected):
    dataset = odd_items(tmp_path)
    if expected is None:
        with pytest.raises(UserError, match="quoted as in CSV"):
            items_of(dataset, text)
    else:
        assert items_of(dataset, text) == expected


def test_an_id_that_others_are_parts_of_must_be_quoted(tmp_path):
    dataset = odd_items(tmp_path, ["a,c", "a", "c", *ODD[3:]])
    assert items_of(dataset, "a,c") == ["a", "c"]
    assert items_of(dataset, '"a,c"') == ["a,c"]


@pytest.mark.parametrize("text", ['"a,b', '"a"b', '"'])
def test_quotation_marks_that_do_not_match(tmp_path, text):
    with pytest.raises(UserError, match=r"--history .*quoted as in CSV.*--history_file"):
        items_of(odd_items(tmp_path), text)


def test_unknown_items(tmp_path):
    dataset = odd_items(tmp_path)
    with pytest.raises(UserError, match=r"--history: item 'XYZ' is not in the data.*none is sim"):
        items_of(dataset, "a,XYZ")
    for text in ("a,", "", ",a"):
        with pytest.raises(UserError, match="--history: blank"):
            items_of(dataset, text)


def test_unknown_users(dataset):
    with pytest.raises(UserError) as caught:
        known(dataset, [Name("--user", "UU2")], 0)
    message = str(caught.value)
    assert "--user: user 'UU2' is not in the data" in message
    assert "datamaps.json lists all 4 under id2user; closest: 'U2'" in message
    names = [Name("line 1", "U2"), Name("line 2", "U9"), Name("line 3", " U1 "), Name("4", "")]
    with pytest.raises(UserError, match="line 2: user 'U9'"):
        known(dataset, names, 0)
    people, unknown = known(dataset, names, 2, strict=False)
    assert [(p.user, p.name) for p in people] == [(2, "U2"), (1, "U1")]
    assert people[0].history.tolist() == HISTORIES[2][:-2]
    assert unknown == [names[1], names[3]]
    with pytest.raises(UserError, match="line 2: user 'U9'"):
        known(dataset, [names[1], names[3]], 0, strict=False)
    with pytest.raises(UserError, match="4: blank"):
        known(dataset, [names[3]], 0, strict=False)


def test_names_in_a_file(tmp_path):
    path = tmp_path / "names.txt"
    with pytest.raises(UserError, match=r"--users_file .*names.txt: cannot be read"):
        read_names("--users_file", path)
    for content in ("", "\n", "\ufeff", " \r\n\t\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=r"names.txt: the file is empty"):
            read_names("--users_file", path)
    path.write_bytes("\ufeffU1 \r\nU,2\r\n\r\nU\x0b\u20283\r\n\r\n  \r\n".encode())
    names = read_names("--users_file", path)
    assert [name.text for name in names] == ["U1 ", "U,2", "", "U\x0b\u20283"]
    assert names[2].where == f"{path}, line 3"
    path.write_bytes(b"U\xff")
    with pytest.raises(UserError, match="cannot be read"):
        read_names("--users_file", path)


IDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r\n\ufeff"), min_size=1, max_size=6
).filter(str.strip)


@settings(max_examples=EXAMPLES, deadline=None)
@given(names=st.lists(IDS, min_size=N_ITEMS, max_size=N_ITEMS, unique=True), data=st.data())
def test_every_id_can_be_written(tmp_path_factory, names, data):
    """Quoted on the command line, or as it is in a file."""
    folder = tmp_path_factory.mktemp("ids")
    dataset = odd_items(folder, names)
    wanted = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=5))
    assert items_of(dataset, as_csv(wanted)) == wanted
    (folder / "h.txt").write_bytes("".join(f"{name}\n" for name in wanted).encode())
    person = newcomer(dataset, read_names("--history_file", folder / "h.txt"))
    assert [dataset.item_names[item] for item in person.history] == wanted
