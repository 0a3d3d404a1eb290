"""The demo set: a few hundred users of a made-up shop, with all files of a folder, from a seed.

    python -m modules.data.demo data/demo --seed 0 --overwrite

Items come in groups (teas, lamps, ...). A user keeps to two groups and, within one, takes its
items round and round in a fixed order with some noise: a pattern that can be learned and that
the items' numbers do not give away. Explanations and titles speak in the words of the item's group.
"""

import argparse
import json

import numpy as np

from modules.data.titles import ITEMS_FILE, items_json
from utils import cli, flag_types
from utils.console import printable
from utils.own_files import check_out, write_out

GROUPS = {
    "tea": ("flavour", ["fresh", "smooth", "rich"], "a cup after lunch"),
    "lamp": ("light", ["warm", "soft", "bright"], "reading in the evening"),
    "boot": ("sole", ["sturdy", "dry", "light"], "walking in the rain"),
    "soap": ("scent", ["mild", "clean", "gentle"], "washing dry hands"),
    "knife": ("blade", ["sharp", "thin", "strong"], "cutting vegetables"),
    "novel": ("story", ["gripping", "clever", "sad"], "a long train ride"),
    "drum": ("sound", ["deep", "loud", "clear"], "playing with friends"),
    "plant": ("leaves", ["green", "glossy", "large"], "a shady window"),
}
ITEMS_A_GROUP = 15
USERS = 400
RECORDS_A_USER = 4
SPLITS = ("train", "val", "test")


def _history(rng: np.random.Generator, order: np.ndarray) -> list[int]:
    """Items of one user: two groups, each walked in its cyclic order; no item is repeated."""
    pair = rng.choice(len(order), size=2, replace=False)
    at = rng.integers(ITEMS_A_GROUP, size=2)
    items: list[int] = []
    for _ in range(int(rng.integers(6, 13))):
        which = int(rng.random() < 0.3)
        item = order[pair[which], at[which] % ITEMS_A_GROUP]
        at[which] += 1 if rng.random() < 0.9 else 2
        if item not in items:
            items.append(int(item))
    return items


def sentence(rng: np.random.Generator, group: str) -> tuple[str, str]:
    """A made-up sentence on an item of a group, and the feature that it names."""
    feature, words, use = GROUPS[group]
    word = words[int(rng.integers(len(words)))]
    forms = (
        f"the {feature} of this {group} is {word} and good for {use}",
        f"a {word} {feature} makes this {group} right for {use}",
        f"i like the {word} {feature} when it comes to {use}",
    )
    return forms[int(rng.integers(len(forms)))], feature


def made_up_sentence(rng: np.random.Generator) -> str:
    """An explanation of an item of some group."""
    return sentence(rng, list(GROUPS)[int(rng.integers(len(GROUPS)))])[0]


def _titles(item_names: dict[str, str], seed: int) -> dict[int, str]:
    """``smooth tea no. 4``, of each item. item_names: ``tea-04``, by the item's id."""
    rng = np.random.default_rng([seed, 1])  # its own: the other files need not know of titles
    titles = {}
    for item, name in item_names.items():
        group, place = name.split("-")
        words = GROUPS[group][1]
        titles[int(item)] = f"{words[int(rng.integers(len(words)))]} {group} no. {int(place)}"
    return titles


def make_demo(seed: int) -> dict[str, str]:
    """The files of the demo set, by name."""
    rng = np.random.default_rng(seed)
    names = list(GROUPS)
    n_items = len(names) * ITEMS_A_GROUP
    # Row g: the items of group g in the order in which users take them.
    order = rng.permutation(np.arange(1, n_items + 1)).reshape(len(names), ITEMS_A_GROUP)
    group_of = {int(item): names[g] for g, row in enumerate(order) for item in row}
    histories = [_history(rng, order) for _ in range(USERS)]
    negatives, records = [], {"train": [], "val": [], "test": []}
    for user, items in enumerate(histories, start=1):
        free = np.setdiff1d(np.arange(1, n_items + 1), items)
        negatives.append([user, *rng.choice(free, size=99, replace=False).tolist()])
        # Split at random, apart from leave-one-out, as the published sets are: so that the
        # protocols differ here too.
        for item in rng.choice(items, size=RECORDS_A_USER, replace=False):
            split = SPLITS[int(rng.choice(3, p=(0.8, 0.1, 0.1)))]
            text, feature = sentence(rng, group_of[int(item)])
            records[split].append(
                {"user": user, "item": int(item), "explanation": text, "feature": feature}
            )
    maps = {
        "id2user": {str(u): f"demo-user-{u:03d}" for u in range(1, USERS + 1)},
        "id2item": {
            str(i): f"{group_of[i]}-{int(np.argwhere(order == i)[0, 1]) + 1:02d}"
            for i in range(1, n_items + 1)
        },
    }
    lines = [[user, *items] for user, items in enumerate(histories, start=1)]
    return {
        "sequential.txt": "".join(" ".join(map(str, line)) + "\n" for line in lines),
        "negative.txt": "".join(" ".join(map(str, line)) + "\n" for line in negatives),
        "datamaps.json": json.dumps(maps, indent=0) + "\n",
        "explanation.json": json.dumps(records, indent=0) + "\n",
        ITEMS_FILE: items_json(_titles(maps["id2item"], seed)),
    }


def main() -> None:
    """Write the demo set to a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=flag_types.path, help="folder to write the files to")
    parser.add_argument("--seed", type=flag_types.natural, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace these files")
    args = parser.parse_args()
    files = make_demo(args.seed)
    for name in files:
        check_out(args.folder / name, args.overwrite, "FOLDER")
    for name, text in files.items():
        write_out(args.folder / name, text)
    print(printable(f"demo set written to {args.folder}"))


if __name__ == "__main__":
    cli.run(main)
