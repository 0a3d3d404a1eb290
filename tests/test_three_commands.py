"""From the CSV file of a shop to a file of recommendations, in three commands; what comes out is
held against the CSV file itself."""

import csv
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet
import pytest

from modules.data.shop import USERS
from tests.conftest import TINY, script
from tests.shop_of_languages import language

TOP_N = 5


def ran(*words: object) -> None:
    done = script(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("users", "core"), [(200, 2), pytest.param(USERS, 5, marks=pytest.mark.slow)]
)
def test_a_shop_of_three_languages(users, core, tmp_path):
    shop, data, run = tmp_path / "shop.csv", tmp_path / "data", tmp_path / "run"
    recs = tmp_path / "recs.parquet"
    ran("-m", "tests.shop_of_languages", "--out", shop, "--seed", 0, "--users", users)
    ran("prepare.py", shop, "--out", data, "--item_title", "title", "--core", core)
    small = (*TINY, "--max_steps", 3, "--no_verdict")
    ran("pretrain.py", data, *small, "--checkpoint", run)
    where = ("--checkpoint", run, "--batch_size", 64)
    ran("recommend.py", data, *where, "--all_users", "--top_n", TOP_N, "--out", recs)

    with shop.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    bought = histories(rows, data)
    assert len(bought) > 0.9 * users  # a few have too little that others had as well
    check_explanations(rows, data, bought)
    check_lists(pyarrow.parquet.read_table(recs).to_pylist(), rows, bought)


def histories(rows: list[dict], data: Path) -> dict[str, list[str]]:
    """What each user of the data had, which is what the shop's dates say, oldest first."""
    maps = json.loads((data / "datamaps.json").read_text())
    kept = set(maps["id2item"].values())
    bought = {}
    for line in (data / "sequential.txt").read_text().splitlines():
        user, *items = line.split()
        bought[maps["id2user"][user]] = [maps["id2item"][item] for item in items]
    dated = {}
    for row in sorted(rows, key=lambda row: row["time"]):
        dated.setdefault(row["user_id"], []).append(row["item_id"])
    assert dated.keys() >= bought.keys()
    for user, items in bought.items():
        assert items == [item for item in dated[user] if item in kept], user
    return bought


def check_explanations(rows: list[dict], data: Path, bought: dict[str, list[str]]) -> None:
    """They are words of English reviews of the pair; all other customers' are counted out."""
    maps = json.loads((data / "datamaps.json").read_text())
    reviews = {(row["user_id"], row["item_id"]): row["review"] for row in rows}
    splits = json.loads((data / "explanation.json").read_text())
    records = [record for split in splits.values() for record in split]
    assert len(records) > len(rows) / 6  # a third is English; held-out ones are left out
    for record in records:
        pair = maps["id2user"][str(record["user"])], maps["id2item"][str(record["item"])]
        assert language(pair[0]) == "en"
        assert record["explanation"].lower() in reviews[pair].lower()
    foreign = sum(len(items) for user, items in bought.items() if language(user) != "en")
    stats = json.loads((data / "stats.json").read_text())
    assert stats["explanations"]["not in English"] == foreign


def check_lists(lists: list[dict], rows: list[dict], bought: dict[str, list[str]]) -> None:
    """Each user has one list of new items, with the titles that the shop has for them."""
    titles = {row["item_id"]: row["title"] for row in rows}
    known = {item for items in bought.values() for item in items}
    assert Counter(row["user"] for row in lists) == dict.fromkeys(bought, TOP_N)
    for place, row in enumerate(lists):
        assert row["rank"] == place % TOP_N + 1
        assert row["title"] == titles[row["item"]]
        assert row["item"] in known - set(bought[row["user"]])
        if row["rank"] > 1:
            assert row["user"] == lists[place - 1]["user"]
            assert 0 <= row["probability"] <= lists[place - 1]["probability"] <= 1
    pairs = {(row["user"], row["item"]) for row in lists}
    assert len(pairs) == len(lists)
