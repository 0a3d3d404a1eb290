"""A made-up shop as a CSV file: 3,000 customers, items with titles, ISO dates, reviews.

    python -m modules.data.shop shop.csv --seed 0
    python prepare.py shop.csv --item_title title --out data/shop

What somebody takes next: with .45 one of three items that go on from the last one (a fixed list an
item), with .35 an item of one of their own two departments, else any item; within each, popular
items more often (Zipf). So order counts, and company counts, and no rule finds everything. A review
speaks in the words of its item's department.
"""

import argparse
import csv
import io
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from modules.data.demo import GROUPS, sentence
from utils import cli
from utils.console import say
from utils.errors import UserError
from utils.files import write_text
from utils.flag_types import natural, path_name

USERS, ITEMS = 3000, 600
COLUMNS = ("user_id", "item_id", "time", "title", "review")
FIRST_DAY = datetime(2024, 1, 1)


def histories(seed: int, users: int = USERS, items: int = ITEMS) -> list[list[int]]:
    """Items 0.. of each user, oldest first; no item twice."""
    rng = np.random.default_rng(seed)
    department = np.arange(items) % len(GROUPS)
    weight = 1 / (1 + rng.permutation(items)) ** 0.7
    follows = rng.integers(items, size=(items, 3))
    made = []
    for _ in range(users):
        own = rng.choice(len(GROUPS), 2, replace=False)
        inside = np.where(np.isin(department, own), weight, 0)
        row: list[int] = []
        for _ in range(int(rng.integers(5, 22))):
            draw = rng.random()
            if row and draw < 0.45:
                item = rng.choice(follows[row[-1]], p=(0.6, 0.3, 0.1))
            else:
                chances = inside if draw < 0.8 else weight
                item = rng.choice(items, p=chances / chances.sum())
            if item not in row:
                row.append(int(item))
        if len(row) >= 4:
            made.append(row)
    return made


def shop_csv(seed: int) -> str:
    """The file: a line for each purchase, those of a user in their order."""
    rng = np.random.default_rng([seed, 1])
    names = list(GROUPS)
    words = [GROUPS[names[item % len(names)]][1] for item in range(ITEMS)]
    titles = [
        f"{rng.choice(words[item])} {names[item % len(names)]} no. {item // len(names) + 1}"
        for item in range(ITEMS)
    ]
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for user, row in enumerate(histories(seed), start=1):
        day = FIRST_DAY + timedelta(days=int(rng.integers(200)))
        for item in row:
            day += timedelta(hours=int(rng.integers(5, 200)))
            time = day.isoformat(timespec="seconds")
            text, _ = sentence(rng, names[item % len(names)])
            table.writerow([f"C{user}", f"P{item}", time, titles[item], text])
    return out.getvalue()


def main() -> None:
    """Write the file."""
    parser = cli.new_parser(__doc__)
    parser.add_argument("out", type=path_name, metavar="FILE.csv", help="file to write")
    parser.add_argument("--seed", type=natural, default=0, help="another seed is another shop")
    parser.add_argument("--overwrite", action="store_true", help="replace a shop that is there")
    args: argparse.Namespace = parser.parse_args()
    path = Path(args.out)
    if path.exists():
        ours = path.is_file() and path.open(encoding="utf-8").readline().strip() == ",".join(
            COLUMNS
        )
        if not (ours and args.overwrite):
            raise UserError(
                f"{path}: is there. Name another file, or give --overwrite to replace a shop."
            )
    write_text(path, shop_csv(args.seed))
    say(f"{path}: a made-up shop, seed {args.seed}")


if __name__ == "__main__":
    cli.run(main)
