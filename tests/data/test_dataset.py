"""Reading the four files; what each kind of bad input is told; the two protocols."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modules.data.protocols import item_numbers, train_view
from modules.data.reader import load_dataset
from modules.runs.run import tasks_of
from tests.conftest import HISTORIES
from utils.errors import UserError


def test_reads_what_is_there(dataset):
    assert (dataset.n_users, dataset.n_items) == (4, 12)
    for user, items in HISTORIES.items():
        assert dataset.history(user).tolist() == items
    assert dataset.test_items.tolist() == [5, 6, 3, 9]
    assert dataset.valid_items.tolist() == [2, 3, 2, 10]
    assert dataset.items.dtype == np.int32
    assert dataset.user_names[2] == "U2"
    assert dataset.item_names[12] == "I12"
    assert dataset.negatives.shape == (4, 5)
    assert dataset.explanations["val"].texts == ("item 3 is nice and warm",)


def test_lines_may_come_in_any_order_with_crlf_bom_and_blanks(folder):
    path = folder / "sequential.txt"
    lines = path.read_text().splitlines()
    text = "\ufeff" + "  \r\n".join(reversed(lines)) + "\r\n"
    path.write_bytes(text.encode())
    dataset = load_dataset(folder)
    for user, items in HISTORIES.items():
        assert dataset.history(user).tolist() == items


def test_optional_files_may_be_missing(folder):
    (folder / "negative.txt").unlink()
    (folder / "explanation.json").unlink()
    dataset = load_dataset(folder)
    assert dataset.negatives is None
    assert dataset.explanations is None
    assert len(tasks_of(dataset, ["sequential", "direct"])) == 2
    with pytest.raises(UserError, match="--tasks sequential,direct"):
        tasks_of(dataset, ["explanation", "sequential"])


def replace_line(number, line):
    def damage(path):
        lines = path.read_text().splitlines()
        lines[number - 1] = line
        path.write_text("\n".join(lines) + "\n")

    return damage


def write(text):
    return lambda path: path.write_text(text)


def in_json(change):
    def damage(path):
        table = json.loads(path.read_text())
        change(table)
        path.write_text(json.dumps(table))

    return damage


def set_record(key, value):
    def change(table):
        table["train"][1][key] = value

    return in_json(change)


def drop_record(key):
    return in_json(lambda table: table["train"][1].pop(key))


BAD = [
    ("sequential.txt", lambda p: p.unlink(), r"sequential\.txt: no such file"),
    ("datamaps.json", lambda p: p.unlink(), r"datamaps\.json: no such file"),
    ("sequential.txt", write(""), r"sequential\.txt: the file is empty"),
    ("sequential.txt", replace_line(2, ""), r"line 2: the line is blank"),
    ("sequential.txt", replace_line(2, "1 2 3 4 5"), r"line 2: user 1 is already on line 1"),
    ("sequential.txt", replace_line(3, "3 7 x8 9 1"), r"line 3: 'x8' is not an id"),
    ("sequential.txt", replace_line(3, "3 7 -8 9 1"), r"line 3: '-8' is not an id"),
    ("sequential.txt", replace_line(3, "3 7 1_0 9 1"), r"line 3: '1_0' is not an id"),
    ("sequential.txt", replace_line(3, "3 7 8.0 9 1"), r"line 3: '8\.0' is not an id"),
    ("sequential.txt", replace_line(3, "3 7 ٣ 9 1"), r"line 3: '٣' is not an id"),
    ("sequential.txt", replace_line(3, "3 7 " + "9" * 30 + " 9 1"), r"line 3: .* is not an id"),
    ("sequential.txt", replace_line(3, "3 7 0 9 1"), r"line 3: item 0 is not in datamaps"),
    ("sequential.txt", replace_line(3, "3 7 13 9 1"), r"line 3: item 13 .* items 1 to 12"),
    ("sequential.txt", replace_line(3, "5 7 8 9 1"), r"line 3: user 5 .* users 1 to 4"),
    ("sequential.txt", replace_line(3, "0 7 8 9 1"), r"line 3: user 0 "),
    ("sequential.txt", replace_line(3, "3 7 8 9"), r"line 3: user 3 has 3 items, fewer than 4"),
    ("sequential.txt", write("1 3 1 4 2 5\n"), r"user 2 of datamaps\.json has no line"),
    ("negative.txt", write(""), r"negative\.txt: the file is empty"),
    ("negative.txt", replace_line(1, "1 6 7 8 9 5"), r"line 1: negative 5 is an item that user 1"),
    ("negative.txt", replace_line(2, "2 4 5"), r"line 2: user 2 has 2 negatives"),
    ("negative.txt", replace_line(2, "2 4 5 7 8 99"), r"line 2: item 99 "),
    ("datamaps.json", write("{"), r"datamaps\.json, line 1, column 2: broken JSON"),
    ("datamaps.json", write("[]"), r"datamaps\.json: key 'id2user'"),
    ("datamaps.json", in_json(lambda t: t["id2item"].pop("3")), r"id2item has 11 .*'3' is None"),
    ("datamaps.json", in_json(lambda t: t["id2user"].update({"1": 7})), r"'1' is 7"),
    ("explanation.json", lambda p: p.write_text(p.read_text()[:60]), r"line 1, .*broken JSON"),
    ("explanation.json", lambda p: p.write_bytes(b'{"a": "\xff"}'), r"byte 7 is not UTF-8"),
    ("explanation.json", in_json(lambda t: t.pop("val")), r"the lists 'train', 'val' and 'test'"),
    ("explanation.json", in_json(lambda t: t["val"].clear()), r"val: the list is empty"),
    ("explanation.json", in_json(lambda t: t["train"].append(3)), r"train\[5\]: 3 is not a record"),
    ("explanation.json", drop_record("user"), r"train\[1\]: 'user' is None"),
    ("explanation.json", drop_record("item"), r"train\[1\]: 'item' is None"),
    ("explanation.json", drop_record("explanation"), r"train\[1\]: 'explanation' is None"),
    ("explanation.json", set_record("user", 5), r"train\[1\]: 'user' is 5; .* from 1 to 4"),
    ("explanation.json", set_record("user", True), r"train\[1\]: 'user' is True"),
    ("explanation.json", set_record("item", "3"), r"train\[1\]: 'item' is '3'"),
    ("explanation.json", set_record("explanation", None), r"train\[1\]: 'explanation' is None"),
    (
        "explanation.json",
        in_json(lambda t: t["val"][0].update(explanation=" ")),
        r"val: each of the 1 records has a blank explanation",
    ),
    ("explanation.json", set_record("feature", 1), r"train\[1\]: 'feature' is 1"),
]


@pytest.mark.parametrize(("file", "damage", "message"), BAD, ids=[b[2][:40] for b in BAD])
def test_bad_input_is_named(folder, file, damage, message):
    damage(folder / file)
    with pytest.raises(UserError, match=message):
        load_dataset(folder)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data folder .*nowhere.* does not exist"):
        load_dataset(tmp_path / "nowhere")


def test_a_negative_that_is_given_twice_is_read_and_counted_once(folder, capsys):
    path = folder / "negative.txt"
    replace_line(1, "1 6 7 8 9 6")(path)
    replace_line(3, "3 4 4 4 5 5")(path)
    dataset = load_dataset(folder)
    assert dataset.negatives[[0, 2]].tolist() == [[6, 7, 8, 9, 6], [4, 4, 4, 5, 5]]
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{path}: 2 of 4 lines hold an item twice, line 1 first" in line


def test_the_line_of_a_repeated_negative_is_that_of_the_file(folder, capsys):
    path = folder / "negative.txt"
    replace_line(1, "1 6 7 8 9 6")(path)
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    load_dataset(folder)
    assert "1 of 4 lines hold an item twice, line 4 first" in capsys.readouterr().out


def test_nothing_is_said_of_negatives_without_repeats(folder, capsys):
    load_dataset(folder)
    assert capsys.readouterr().out == ""


def test_records_with_blank_texts_are_left_out_and_counted(folder, capsys):
    path = folder / "explanation.json"
    table = json.loads(path.read_text())
    for number, record in enumerate(table["train"]):
        record.update(explanation=f"text {number}", feature=f"feature {number}")
    kept = {split: [tuple(r.values()) for r in records] for split, records in table.items()}
    for place, text in ((5, "\u00a0\n"), (2, " \t "), (0, "")):
        blank = {"user": 3, "item": 8, "explanation": text, "feature": "lost"}
        table["train"].insert(place, blank)
    table["test"].append({"user": 1, "item": 3, "explanation": ""})
    path.write_text(json.dumps(table))
    for split, found in load_dataset(folder).explanations.items():
        assert list(zip(*found)) == kept[split]
    first, second = capsys.readouterr().out.splitlines()
    assert f"{path}, train: 3 of 8 records have a blank explanation" in first
    assert f"{path}, test: 1 of 2 records have a blank explanation" in second


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("user", 5, "'user' is 5"), ("item", 0, "'item' is 0"), ("feature", 1, "'feature' is 1")],
)
def test_a_record_with_a_blank_text_is_checked_as_all_are(folder, key, value, message):
    change = in_json(lambda t: t["train"][1].update({"explanation": "", key: value}))
    change(folder / "explanation.json")
    with pytest.raises(UserError, match=rf"train\[1\]: {message}"):
        load_dataset(folder)


@pytest.mark.parametrize("typed", ["toys", "toys/", "./toys", "toys/../toys/.", "beside/../toys"])
def test_a_folder_has_the_name_that_was_typed(folder, tmp_path, monkeypatch, typed):
    (tmp_path / "toys").symlink_to(folder)
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_dataset(typed).name == "toys"
    monkeypatch.chdir(folder)
    assert load_dataset(".").name == "few"


# -------------------------------------------------------------------------------- protocols


def pairs(edges):
    return set(map(tuple, edges.T.tolist()))


def test_clean_sees_nothing_held_out(dataset):
    view = train_view(dataset, "clean")
    assert pairs(view.edges) == {(u, i) for u, row in HISTORIES.items() for i in row[:-2]}
    # Record (1, 5) is of user 1's test item.
    assert list(zip(view.explanations.users, view.explanations.items)) == [
        (1, 3),
        (2, 1),
        (3, 7),
        (4, 12),
    ]
    assert (view.held_out_edges, view.held_out_records, view.dropped_records) == (0, 0, 1)


def test_paper_sees_the_train_records(dataset):
    view = train_view(dataset, "paper")
    assert pairs(view.edges) == {(1, 3), (1, 5), (2, 1), (3, 7), (4, 12)}
    assert len(view.explanations.users) == 5
    assert (view.held_out_edges, view.held_out_records) == (1, 1)


def test_paper_without_explanations_takes_train_interactions(folder):
    (folder / "explanation.json").unlink()
    dataset = load_dataset(folder)
    assert pairs(train_view(dataset, "paper").edges) == pairs(train_view(dataset, "clean").edges)


def test_item_numbers():
    published = item_numbers("published", 50, np.random.default_rng(0))
    assert published.tolist() == list(range(51))
    random = item_numbers("random", 50, np.random.default_rng(0))
    assert random[0] == 0
    assert sorted(random[1:]) == list(range(1, 51))
    assert random.tolist() != published.tolist()
    assert random.tolist() == item_numbers("random", 50, np.random.default_rng(0)).tolist()


def test_a_simulated_leak_holds_its_share_of_all_pairs(dataset):
    view = train_view(dataset, "paper", np.random.default_rng(0))
    keys = set((view.edges[0] * 13 + view.edges[1]).tolist())
    assert len(keys) == view.edges.shape[1] == round(0.53 * 19)
    assert keys <= set(dataset.pair_keys().tolist())
    held_out = {u * 13 + i for u, row in HISTORIES.items() for i in row[-2:]}
    assert view.held_out_edges == len(keys & held_out) > 0


@pytest.mark.parametrize(("name", "edges"), [("toys", 9), ("Toys", 9), ("beauty", 10), ("x", 10)])
def test_a_simulated_leak_is_as_large_as_the_published_one(dataset, name, edges):
    """49 % of Toys' 19 pairs, 53 % of those of all others."""
    view = train_view(replace(dataset, name=name), "paper", np.random.default_rng(0))
    assert view.edges.shape[1] == edges


def test_a_data_set_of_one_user(tmp_path):
    """The smallest there is: one line of four items, no negatives."""
    (tmp_path / "sequential.txt").write_text("1 4 2 3 1\n")
    maps = {"id2user": {"1": "a"}, "id2item": {str(i): f"i{i}" for i in range(1, 5)}}
    (tmp_path / "datamaps.json").write_text(json.dumps(maps))
    dataset = load_dataset(tmp_path)
    assert dataset.items.tolist() == [4, 2, 3, 1]
    assert dataset.offsets.tolist() == [0, 4]
    (tmp_path / "negative.txt").write_text("1\n")
    with pytest.raises(UserError, match=r"negative\.txt"):
        load_dataset(tmp_path)
