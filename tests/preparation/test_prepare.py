"""prepare.py as a user runs it: one data set in every format, what it refuses, real reviews."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from modules.data.reader import load_dataset
from modules.preparation.folder import FILES, Options, prepare_folder
from modules.preparation.formats import Asked
from modules.preparation.rows import open_raw
from tests.conftest import ROOT
from tests.test_scripts import script
from utils.errors import UserError

DATA_FILES = FILES[:4]  # and items.json, where titles are asked for
NAMES = ("reviewerID", "asin", "unixReviewTime", "overall", "reviewText", "summary")
THINGS = ("scent", "price", "bottle", "lid", "colour", "taste")
FLAGS = ["--core", "4", "--negative_num", "5"]
OPTIONS = Options(
    core=4,
    min_rating=None,
    numbering="random",
    negative_num=5,
    explanation="sentence",
    strict=True,
    seed=0,
)


def reviews():
    """Rows as in NAMES; ids with leading zeros, texts with all that quoting must survive."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        for item in rng.choice(30, rng.integers(4, 9), replace=False).tolist():
            thing = THINGS[int(rng.integers(len(THINGS)))]
            text = f'Bought it, "again".\nThe {thing} of it is nice\tand – well – good, é.'
            time, stars = int(rng.integers(10**9, 10**9 + 20)), int(rng.integers(2, 6))
            rows.append((f"{user:04d}", f"B{item:03d}", time, stars, text, f"A {thing}, twice"))
    rows += rows[::40]  # repeated pairs
    return [rows[k] for k in rng.permutation(len(rows))]


def write_as(path, rows):
    """The rows in the format of the path's ending, under names that people use there."""
    if path.suffix == ".json":
        path.write_text("".join(json.dumps(dict(zip(NAMES, row))) + "\n" for row in rows))
    elif path.suffix == ".jsonl":
        names = ("user_id", "parent_asin", "timestamp", "rating", "text", "title")
        path.write_text("".join(json.dumps(dict(zip(names, row))) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        names = ("userId", "itemId", "timestamp", "rating", "review", "title")
        parquet.write_table(pa.table(dict(zip(names, map(list, zip(*rows))))), path)
    else:
        types = ("user_id:token", "item_id:token", "timestamp:float", "rating:float")
        types += ("review:token_seq", "summary:token_seq")
        header = types if path.suffix == ".inter" else ("User", "Item", "Time", *NAMES[3:])
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t").writerows(
                [header, *rows]
            )
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder that JSON lines give."""
    base = tmp_path_factory.mktemp("prepared")
    raw = write_as(base / "raw.json", reviews())
    done = script("prepare.py", raw, "--out", base / "out", *FLAGS)
    assert done.returncode == 0, done.stderr
    return base, done.stdout


@pytest.mark.parametrize("ending", ["csv", "tsv", "inter", "parquet", "jsonl"])
def test_every_format_gives_the_same_bytes(prepared, tmp_path, ending):
    """The four files byte for byte. stats.json names the raw file's checksum and the command,
    which differ; its statistics do not."""
    raw = write_as(tmp_path / f"raw.{ending}", reviews())
    asked = Asked(quoted="yes") if ending in ("tsv", "inter") else None
    prepare_folder(open_raw(raw, None, None, {}, asked), tmp_path / "out", OPTIONS, {})
    for name in DATA_FILES:
        assert (tmp_path / "out" / name).read_bytes() == (prepared[0] / "out" / name).read_bytes()
    ours, theirs = (
        json.loads((folder / "out" / "stats.json").read_text())
        for folder in (tmp_path, prepared[0])
    )
    assert ours.pop("raw_sha256") != theirs["raw_sha256"]
    assert ours.items() <= theirs.items()


def test_the_folder_holds_what_the_file_held(prepared):
    base, _ = prepared
    assert {p.name for p in (base / "out").iterdir()} == {*DATA_FILES, "stats.json"}
    dataset = load_dataset(base / "out")
    pairs = {(row[0], row[1]) for row in reviews()}
    texts = {}
    for user, item, _, _, text, _ in reviews():
        texts.setdefault((user, item), text)
    for user in range(1, dataset.n_users + 1):
        for item in dataset.history(user):
            assert (dataset.user_names[user], dataset.item_names[item]) in pairs
    for records in dataset.explanations.values():
        for user, item, text, feature in zip(*records):
            own = dataset.user_names[user], dataset.item_names[item]
            assert text in " ".join(texts[own].split())
            assert feature in text
            assert feature in THINGS
    assert dataset.negatives.shape == (dataset.n_users, 5)


def test_the_log_adds_up(prepared):
    base, printed = prepared
    stats = json.loads((base / "out" / "stats.json").read_text())
    dataset = load_dataset(base / "out")
    assert (stats["users"], stats["items"]) == (dataset.n_users, dataset.n_items)
    assert stats["interactions"] == stats["rows"]["kept"] == len(dataset.items)
    assert stats["density"] == pytest.approx(len(dataset.items) / dataset.n_users / dataset.n_items)
    assert stats["seed"] == 0
    assert "prepare.py" in stats["command"]
    total, *parts = stats["rows"].values()
    assert total == sum(parts) == len(reviews())
    assert sum(stats["explanations"].values()) == stats["interactions"]
    records = {name: len(part.texts) for name, part in dataset.explanations.items()}
    assert records.items() <= stats["explanations"].items()
    assert stats["explanation_coverage"] == sum(records.values()) / len(dataset.items)
    assert f"{total:,} read = 0 bad + " in printed
    assert "user = reviewerID, item = asin, time = unixReviewTime" in printed


def test_seed_and_numbering(prepared, tmp_path):
    base, _ = prepared
    raw = open_raw(base / "raw.json", None, None, {})
    files = {}
    for name, numbering, seed in (("a", "random", 0), ("b", "random", 1), ("c", "first_seen", 1)):
        options = replace(OPTIONS, numbering=numbering, explanation="none", seed=seed)
        prepare_folder(raw, tmp_path / name, options, {})
        files[name] = [(tmp_path / name / file).read_bytes() for file in FILES[:3]]
        assert not (tmp_path / name / "explanation.json").exists()
    assert files["a"] == [(base / "out" / file).read_bytes() for file in FILES[:3]]
    assert all(one != other for one, other in zip(files["a"], files["b"]))
    first = files["c"][0].split(b"\n")[0].split()
    assert first == [b"%d" % k for k in (1, *range(1, len(first)))]


def test_titles_as_explanations_and_a_low_core(prepared, tmp_path):
    base, _ = prepared
    arguments = ["--core", "2", "--min_rating", "3", "--negative_num", "5"]
    out = tmp_path / "out"
    done = script(
        "prepare.py", base / "raw.json", "--out", out, *arguments, "--explanation", "summary"
    )
    assert done.returncode == 0, done.stderr
    assert "--core 2: users with fewer than 4 items are left out too" in done.stdout
    dataset = load_dataset(out)
    assert dataset.lengths.min() >= 4
    for records in dataset.explanations.values():
        for text, feature in zip(records.texts, records.features):
            assert text == f"A {feature}, twice"


def test_without_texts_and_times(tmp_path):
    rows = [("user", "item")] + [row[:2] for row in reviews()]
    raw = tmp_path / "pairs.csv"
    raw.write_text("".join(",".join(row) + "\n" for row in rows) + "odd\n")
    done = script("prepare.py", raw, "--out", tmp_path / "out", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "no time column: the rows are taken to be in the order of time" in done.stdout
    assert "no explanation.json (there are no texts)" in done.stdout
    assert f"bad: {raw}, line {len(rows) + 1}: 1 field(s), must be 2" in done.stdout
    dataset = load_dataset(tmp_path / "out")
    first = dataset.user_names[1]
    expected = list(dict.fromkeys(item for user, item in rows if user == first))
    assert [dataset.item_names[i] for i in dataset.history(1)] == expected


def test_ratings_that_are_asked_for_and_not_there(tmp_path):
    (raw := tmp_path / "pairs.csv").write_text("user,item\na,b\n")
    for flag in ("--min_rating", "--explain_from_rating"):
        done = script("prepare.py", raw, "--out", tmp_path / "out", flag, "4")
        assert done.returncode == 2
        assert f"{flag} 4: {raw} has no rating column" in done.stderr
        assert "--rating" in done.stderr


@pytest.mark.parametrize(
    ("package", "ending", "message"),
    [
        ("pyarrow", "parquet", "Parquet files need the package pyarrow, which is not installed"),
        ("textblob", "tsv", "Explanations need the package textblob.* --explanation none"),
        ("py3langid", "tsv", "Explanations in English only need the package py3langid.* --lang"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, ending, message):
    raw = write_as(tmp_path / f"raw.{ending}", reviews())
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for mode in ("sentence", "summary"):
        options = replace(OPTIONS, explanation=mode)
        with pytest.raises(UserError, match=message) as error:
            prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})
        assert "Run `pip install -r requirements-data.txt`." in str(error.value)
    assert not (tmp_path / "out").exists()


def test_tables_without_explanations_need_neither(tmp_path, monkeypatch):
    for package in ("pyarrow", "textblob", "py3langid"):
        monkeypatch.setitem(sys.modules, package, None)
    raw = write_as(tmp_path / "raw.csv", reviews())
    options = replace(OPTIONS, explanation="none")
    prepare_folder(open_raw(raw, None, None, {}), tmp_path / "out", options, {})
    load_dataset(tmp_path / "out")


@pytest.mark.parametrize("name", ["prepare", "modules.preparation.download"])
def test_nothing_heavy_is_imported_before_it_is_needed(name):
    heavy = {"torch", "transformers", "pyarrow", "scipy", "textblob", "py3langid"}
    code = f"import sys, {name}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


REFUSED = [
    (["--negative_num", "99"], "between 1 and 2"),
    (["--core", "50"], "--core 50: of"),
    (["--user", "nobody"], "--user nobody"),
    (["--core", "0"], "'0' must be a whole number from 1"),
    (["--format", "csv"], "which column is the user?"),
    (["--columns", "a,b"], "--columns: for csv, tsv and inter files only"),
    (["--language", "de"], "invalid choice: 'de'"),
    (["--explain_from_rating", "nan"], "--explain_from_rating"),
    (["--explain_from_rating", "4", "--explanation", "none"], "no explanations are made"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refused(prepared, tmp_path, arguments, message):
    base, _ = prepared
    out = tmp_path / "out"
    done = script("prepare.py", base / "raw.json", "--out", out, *FLAGS, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_strict_and_overwrite(prepared, tmp_path):
    base, _ = prepared
    raw, out = tmp_path / "raw.json", tmp_path / "out"
    raw.write_text((base / "raw.json").read_text() + "{broken\n")
    done = script("prepare.py", raw, "--out", out, *FLAGS, "--strict")
    assert done.returncode == 2
    assert f"line {len(reviews()) + 1}: not a JSON object" in done.stderr
    assert script("prepare.py", raw, "--out", out, *FLAGS).returncode == 0
    done = script("prepare.py", raw, "--out", out, *FLAGS)
    assert done.returncode == 2
    assert "add --overwrite" in done.stderr
    done = script("prepare.py", raw, "--out", out, *FLAGS, "--overwrite", "--explanation", "none")
    assert done.returncode == 0
    assert not (out / "explanation.json").exists()  # the old one is not of these histories


def test_real_reviews(shared, tmp_path):
    raw = open_raw(shared / "data" / "raw" / "All_Beauty_5.json.gz", None, None, {})
    stats = prepare_folder(raw, tmp_path / "all", replace(OPTIONS, negative_num=30), {})
    assert (stats["users"], stats["items"], stats["interactions"]) == (919, 48, 3864)
    dataset = load_dataset(tmp_path / "all")
    held = {
        (user, item)
        for targets in (dataset.valid_items, dataset.test_items)
        for user, item in enumerate(targets.tolist(), start=1)
    }
    train = dataset.explanations["train"]
    assert not held & set(zip(train.users.tolist(), train.items.tolist()))
