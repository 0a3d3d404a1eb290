"""A made-up shop as a CSV file: 3,000 customers, items with titles, ISO dates, reviews.

    python -m benchmarks.shop shop.csv --seed 0
    python prepare.py shop.csv --out data/shop

What somebody takes next: with .45 one of three items that go on from the last one (a fixed list an
item), with .35 an item of one of their own departments, else any item; within each, popular items
more often (Zipf). So order counts, and company counts, and no rule finds everything.
"""

import argparse
import csv
from datetime import datetime, timedelta

import numpy as np

DEPARTMENTS = ("tea", "lamp", "boot", "soap", "knife", "novel", "drum", "plant", "chair", "kite")
PARTS = {"flavour": "fresh", "light": "warm", "sole": "dry", "scent": "mild", "blade": "sharp"}
FIRST_DAY = datetime(2024, 1, 1)


def histories(seed: int, users: int = 3000, items: int = 600) -> list[list[int]]:
    """Items 0.. of each user, oldest first; no item twice."""
    rng = np.random.default_rng(seed)
    department = np.arange(items) % len(DEPARTMENTS)
    weight = 1 / (1 + rng.permutation(items)) ** 0.7
    follows = rng.integers(items, size=(items, 3))
    made = []
    for _ in range(users):
        own = rng.choice(len(DEPARTMENTS), 2, replace=False)
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


def write_shop(path: str, seed: int) -> None:
    """The CSV file: user_id, item_id, time, title, review."""
    rng = np.random.default_rng(seed + 1)
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["user_id", "item_id", "time", "title", "review"])
        for user, row in enumerate(histories(seed), start=1):
            day = FIRST_DAY + timedelta(days=int(rng.integers(200)))
            for item in row:
                day += timedelta(hours=int(rng.integers(5, 200)))
                kind = DEPARTMENTS[item % len(DEPARTMENTS)]
                part, word = list(PARTS.items())[int(rng.integers(len(PARTS)))]
                text = f"The {part} of this {kind} is {word}, i would take it again."
                time = day.isoformat(timespec="seconds")
                table.writerow([f"C{user}", f"P{item}", time, f"{kind} no. {item}", text])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_shop(args.out, args.seed)
