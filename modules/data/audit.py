"""What a data folder gives away of its test items, and what it is like: an audit in figures.

    python -m modules.data.audit data/beauty
    python -m modules.data.audit data/beauty --out checkpoint/audit-beauty

Prints the figures; with --out, writes audit.json and a page, audit.html, there (never into the
data folder, which holds input files only). The two leaks are explained in docs/protocols.md. No
torch.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.data.dataset import HeldOut, RecDataset
from modules.data.reader import load_dataset
from utils import cli, flag_types
from utils.console import printable
from utils.errors import UserError
from utils.json_files import to_json
from utils.metrics.ranking import NOT_RANKED, hit_rate, ndcg
from utils.own_files import check_out, write_out
from utils.pages import render

CUTOFFS = (1, 5, 10)
LENGTHS = (4, 5, 6, 8, 11, 16, 21, 51)  # where the classes of the histogram begin
TOP_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the items, for the popularity curve
BARS = (
    "users by number of interactions",
    "share of interactions",
)  # sections with bars on the page
BAR_LENGTH = 20  # em, of the longest
_JSON, _PAGE = "audit.json", "audit.html"
_TEMPLATE = Path(__file__).parent / "templates" / "audit.html"


def rule_ranks(dataset: RecDataset) -> np.ndarray:
    """(U,) rank of each test item in a list that a rule makes of numbers alone; or NOT_RANKED.

    The list: the largest number so far + 1, then each history item + 1, latest first. Each item
    is in it once; what the user already had, and numbers that are not items, are left out.
    """
    ranks = np.full(dataset.n_users, NOT_RANKED)
    for user, target in enumerate(dataset.test_items.tolist(), start=1):
        history = dataset.history(user)[: -HeldOut.TEST].tolist()
        follow = [max(history) + 1, *(item + 1 for item in reversed(history))]
        if target in follow:
            had = set(history)
            listed = [i for i in dict.fromkeys(follow) if i not in had and i <= dataset.n_items]
            ranks[user - 1] = listed.index(target) if target in listed else NOT_RANKED
    return ranks


def number_leak(dataset: RecDataset) -> dict[str, float]:
    """How well the test item can be predicted from the numbers alone."""
    ranks = rule_ranks(dataset)
    figures = {
        "test item is last + 1": float((dataset.test_items == dataset.valid_items + 1).mean())
    }
    for k in CUTOFFS:
        figures[f"rule HR@{k}"] = hit_rate(ranks, k)
        figures[f"rule NDCG@{k}"] = ndcg(ranks, k)
    return figures


def edge_leak(dataset: RecDataset) -> dict[str, float] | None:
    """Share of users whose held-out pair is in the explanation train part; None without one."""
    if dataset.explanations is None:
        return None
    train = dataset.explanations["train"]
    seen = dataset.pair_key(train.users, train.items)
    return {
        f"{name} pair is a train record": float(
            np.isin(dataset.pair_key(dataset.users, items), seen).mean()
        )
        for name, items in (("test", dataset.test_items), ("validation", dataset.valid_items))
    }


def shape(dataset: RecDataset) -> dict[str, float]:
    """Sizes, repeats, cold items."""
    train_items = np.unique(dataset.train_pairs()[1])
    distinct = np.bincount(dataset.pairs_of(dataset.pair_keys())[0])[1:]
    return {
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": len(dataset.items),
        "density": len(dataset.items) / (dataset.n_users * dataset.n_items),
        "users with a repeated item": float((distinct < dataset.lengths).mean()),
        "interactions that repeat": 1 - float(distinct.sum()) / len(dataset.items),
        # Lists without what a user had can never hold these: docs/protocols.md.
        "users whose test item is a repeat": _repeats(dataset, HeldOut.TEST),
        "users whose validation item is a repeat": _repeats(dataset, HeldOut.VALIDATION),
        # Cold: in no user's train part.
        "users whose test item is cold": float(np.mean(~np.isin(dataset.test_items, train_items))),
        "items in no train part": 1 - len(train_items) / dataset.n_items,
    }


def _repeats(dataset: RecDataset, held_out: HeldOut) -> float:
    return float(dataset.target_had(dataset.users, held_out).mean())


def length_histogram(dataset: RecDataset) -> dict[str, int]:
    """Users by number of interactions."""
    ends = (*(start - 1 for start in LENGTHS[1:]), None)
    names = [
        f"{start}" if start == end else f"{start}-{end}" if end else f"{start}+"
        for start, end in zip(LENGTHS, ends)
    ]
    classes = np.searchsorted(LENGTHS, dataset.lengths, side="right") - 1
    return dict(zip(names, np.bincount(classes, minlength=len(names)).tolist()))


def popularity_curve(dataset: RecDataset) -> dict[str, float]:
    """Share of the interactions that the most popular items have."""
    counts = np.sort(np.bincount(dataset.items, minlength=dataset.n_items + 1)[1:])[::-1]
    running = np.cumsum(counts) / counts.sum()
    return {
        f"top {share:.0%}": float(running[max(round(share * len(counts)), 1) - 1])
        for share in TOP_SHARES
    }


def audit(dataset: RecDataset) -> dict[str, Mapping[str, Any] | None]:
    """All figures, by section. Shares are fractions."""
    return {
        "shape": shape(dataset),
        "leak by numbers": number_leak(dataset),
        "leak by edges": edge_leak(dataset),
        "users by number of interactions": length_histogram(dataset),
        "share of interactions": popularity_curve(dataset),
    }


# -------------------------------------------------------------------------------------- output


def _shown(name: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if name == "density" or name.startswith("rule "):
        return f"{value:.4f}"
    return f"{100 * value:.1f} %"


def as_text(figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The figures for the terminal."""
    lines = []
    for section, rows in figures.items():
        lines.append(section)
        for name, value in (rows or {"no explanation.json": ""}).items():
            lines.append(f"    {name:<40} {_shown(name, value) if rows else ''}".rstrip())
    return "\n".join(lines)


class Row(NamedTuple):
    """A line of a section of the page."""

    name: str
    figure: str
    bar: float | None  # its length, in em


class Section(NamedTuple):
    """A section of the page; without rows where there is no explanation.json."""

    title: str
    rows: list[Row]


def as_page(name: str, figures: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The figures as a page of HTML; histogram and curve with bars."""
    sections = []
    for title, values in figures.items():
        values = values or {}
        longest = max(values.values(), default=1) if title in BARS else None
        rows = [
            Row(row, _shown(row, value), BAR_LENGTH * value / longest if longest else None)
            for row, value in values.items()
        ]
        sections.append(Section(title.capitalize(), rows))
    return render(_TEMPLATE, title=f"Data set {name}", sections=sections)


def main() -> None:
    """Read, count, print; write the files with --out."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    parser.add_argument(
        "--out",
        type=flag_types.path_name,
        metavar="FOLDER",
        help="folder for audit.json and audit.html",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace these two files in the folder of --out"
    )
    args = parser.parse_args()
    folder = Path(cli.data_folder(args.data, args.data_dir))
    if args.out and Path(args.out).resolve() == folder.resolve():
        raise UserError(
            f"--out {args.out}: this is the data folder, which holds input files only. "
            "Name another folder."
        )
    for name in (_JSON, _PAGE) if args.out else ():
        check_out(Path(args.out) / name, args.overwrite)
    started = time.perf_counter()
    dataset = load_dataset(folder)
    figures = audit(dataset)
    print(f"{printable(dataset.name)} ({time.perf_counter() - started:.1f} s)\n{as_text(figures)}")
    if args.out:
        record = {"dataset": dataset.name, "fingerprints": dataset.fingerprints, **figures}
        write_out(Path(args.out) / _JSON, to_json(record))
        write_out(Path(args.out) / _PAGE, as_page(dataset.name, figures))
        print(printable(f"written: {args.out}/{_JSON}, {args.out}/{_PAGE}"))


if __name__ == "__main__":
    cli.run(main)
