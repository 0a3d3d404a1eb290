"""The made-up shop: what its histories are like, and that prepare.py reads it with titles."""

import csv
import json
from collections import Counter
from itertools import pairwise

from modules.data.shop import COLUMNS, histories, shop_csv
from tests.conftest import script


def test_histories_hold_order_and_company():
    made = histories(0, users=800)
    assert all(len(set(row)) == len(row) >= 4 for row in made)
    pairs = Counter((a, b) for row in made for a, b in pairwise(row))
    after = {}
    for (a, b), times in pairs.items():
        after.setdefault(a, Counter())[b] += times
    # Of an item's successors three are far more common than chance, as they are drawn so.
    shares = [sum(n for _, n in c.most_common(3)) / sum(c.values()) for c in after.values()]
    assert sum(shares) / len(shares) > 0.5
    kinds = [Counter(item % 8 for item in row).most_common(2) for row in made]
    in_two = sum(sum(n for _, n in two) for two in kinds) / sum(map(len, made))
    assert in_two > 0.5  # two of eight kinds


def test_the_same_seed_is_the_same_shop():
    made = shop_csv(3)
    assert made == shop_csv(3)
    rows = list(csv.reader(made.splitlines()))
    assert tuple(rows[0]) == COLUMNS
    times = [row[2] for row in rows if row[0] == "C5"]
    assert times == sorted(times)


def test_from_the_command_to_a_data_folder(tmp_path):
    file, out = tmp_path / "shop.csv", tmp_path / "shop"
    assert script("-m", "modules.data.shop", file).returncode == 0
    again = script("-m", "modules.data.shop", file)
    assert again.returncode == 2
    assert "is there. Name another file" in again.stderr
    mine = tmp_path / "mine.csv"
    mine.write_text("user,item\n1,2\n")
    refused = script("-m", "modules.data.shop", mine, "--overwrite")
    assert (refused.returncode, mine.read_text()) == (2, "user,item\n1,2\n")
    done = script(
        "prepare.py", file, "--item_title", "title", "--explanation", "none", "--out", out
    )
    assert done.returncode == 0, done.stderr
    titles = json.loads((out / "items.json").read_text())
    assert len(titles) == 600
    assert {"no."} == {entry["title"].split()[-2] for entry in titles.values()}
