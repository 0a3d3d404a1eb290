"""Turn a raw file of reviews or interactions into a data folder to train on.

    python prepare.py reviews_Beauty_5.json.gz --out data/beauty
    python prepare.py ratings.csv --out data/movies --user uid --item movie --core 10

Reads Amazon's review dumps (2014, 2018, 2023), JSON lines, CSV, TSV, Parquet and RecBole's .inter.
Writes sequential.txt, datamaps.json, negative.txt, explanation.json (where there are texts) and
stats.json. The rules are in data/README.md. Explanations and Parquet need the packages of
requirements-data.txt.
"""

import argparse
from dataclasses import fields
from pathlib import Path

from modules.preparation.explanations import MODES
from modules.preparation.filters import NUMBERINGS
from modules.preparation.folder import FILES, Options, prepare_folder
from modules.preparation.formats import KINDS
from modules.preparation.language import LANGUAGES
from modules.preparation.rows import GUESSES, RawFile, open_raw
from utils import cli
from utils.console import say
from utils.errors import UserError
from utils.flag_types import natural, positive_int, real
from utils.provenance import provenance


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    group = parser.add_argument_group("data")
    group.add_argument("raw", metavar="RAW", help="file of reviews or interactions")
    group.add_argument("--out", required=True, help="data folder to write")
    group.add_argument("--overwrite", action="store_true", help="replace the files in --out")
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--format", choices=dict.fromkeys(KINDS.values()), help="of RAW; default: by its ending"
    )
    for role, names in GUESSES.items():
        group.add_argument(
            f"--{role}", metavar="NAME", help=f"column of the {role}; default: {', '.join(names)}"
        )
    group.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="names of all columns, by commas, for a table without a header line",
    )
    group.add_argument("--strict", action="store_true", help="stop at a bad line; default: skip it")
    group = parser.add_argument_group("filters and numbering")
    group.add_argument(
        "--core", type=positive_int, default=5, help="fewest interactions of a user and of an item"
    )
    group.add_argument("--min_rating", type=real, help="leave out interactions rated lower")
    group.add_argument(
        "--numbering",
        choices=NUMBERINGS,
        default="random",
        help="of users and items. first_seen: as in the published sets, where an item's number "
        "gives hints about what comes next",
    )
    group = parser.add_argument_group("negatives and explanations")
    group.add_argument("--negative_num", type=positive_int, default=99, help="negatives per user")
    group.add_argument(
        "--explanation",
        choices=(*MODES, "none"),
        default="sentence",
        help="sentence: the first of the text that mentions a feature; summary: the title",
    )
    group.add_argument(
        "--language", choices=LANGUAGES, default="en", help="of explanations; en: English only"
    )
    group.add_argument(
        "--explain_from_rating",
        type=real,
        metavar="RATING",
        help="make explanations only of reviews rated so or higher; default: of all",
    )
    group.add_argument("--seed", type=natural, default=0, help="seed of all random draws")
    return parser.parse_args()


def open_files(args: argparse.Namespace) -> RawFile:
    """The raw file and its columns; UserError where it, or --out, cannot be used."""
    given = {role: getattr(args, role) for role in GUESSES}
    raw = open_raw(args.raw, args.format, args.columns, given)
    columns = ", ".join(f"{role} = {name or '-'}" for role, name in raw.roles._asdict().items())
    say(f"{args.raw} is read as {raw.kind}; columns: {columns}")
    if raw.roles.time is None:
        say("no time column: the rows are taken to be in the order of time")
    for flag in ("min_rating", "explain_from_rating"):
        if (least := getattr(args, flag)) is not None and raw.roles.rating is None:
            raise UserError(
                f"--{flag} {least:g}: {args.raw} has no rating column that is known. Name it with "
                "--rating."
            )
    if args.explain_from_rating is not None and args.explanation == "none":
        raise UserError(
            f"--explain_from_rating {args.explain_from_rating:g}: no explanations are made "
            "(--explanation none). Leave out one of the two."
        )
    if args.explanation == "summary" and raw.roles.title is None:
        raise UserError(
            f"--explanation summary: {args.raw} has no title column that is known. Name it with "
            "--title."
        )
    there = [name for name in FILES if (Path(args.out) / name).exists()]
    if there and not args.overwrite:
        raise UserError(
            f"--out {args.out}: already holds {', '.join(there)}. Name another folder, or add "
            "--overwrite."
        )
    return raw


def main() -> None:
    """Find the columns; filter, number and write; say what came out."""
    args = parse_args()
    raw = open_files(args)
    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    stats = prepare_folder(raw, Path(args.out), options, provenance(vars(args)))
    say(
        f"{args.out}: {stats['users']:,} users, {stats['items']:,} items, "
        f"{stats['interactions']:,} interactions, density {stats['density']:.5f}, "
        f"explanations for {stats['explanation_coverage']:.0%}"
    )


if __name__ == "__main__":
    cli.run(main)
