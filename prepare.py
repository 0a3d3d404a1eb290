"""From reviews or interactions as people have them to a data folder that trains.

    python prepare.py reviews_Beauty_5.json.gz --out data/beauty
    python prepare.py ratings.csv --out data/movies --user uid --item movie --core 10

Reads Amazon's review dumps (2014, 2018, 2023), JSON lines, CSV, TSV, Parquet and RecBole's .inter.
Writes sequential.txt, datamaps.json, negative.txt, explanation.json (where there are texts) and
stats.json. The rules are in data/README.md.
"""

import argparse
from pathlib import Path

from modules.preparation.explanations import MODES
from modules.preparation.filters import NUMBERINGS
from modules.preparation.folder import FILES, Options, prepare_folder
from modules.preparation.formats import KINDS
from modules.preparation.rows import GUESSES, RawFile, open_raw
from utils import cli, flag_types
from utils.console import say
from utils.errors import UserError
from utils.provenance import provenance


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    group = parser.add_argument_group("data")
    group.add_argument("raw", metavar="RAW", help="file of reviews or interactions")
    group.add_argument("--out", required=True, help="data folder to write")
    group.add_argument("--overwrite", action="store_true", help="replace a data folder's files")
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--format", choices=dict.fromkeys(KINDS.values()), help="default: by the file's ending"
    )
    for role, names in GUESSES.items():
        group.add_argument(
            f"--{role}", metavar="NAME", help=f"column of the {role}; default: {', '.join(names)}"
        )
    group.add_argument(
        "--columns",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="names by commas, for a table without a header line",
    )
    group.add_argument("--strict", action="store_true", help="stop at the first bad line")
    group = parser.add_argument_group("filters and numbering")
    group.add_argument(
        "--core",
        type=flag_types.positive_int,
        default=5,
        help="interactions of a user, an item at least",
    )
    group.add_argument("--min_rating", type=float, help="leave out what is rated below")
    group.add_argument(
        "--numbering",
        choices=NUMBERINGS,
        default="random",
        help="first_seen: as in the published sets, where an item's number gives hints",
    )
    group = parser.add_argument_group("negatives and explanations")
    group.add_argument(
        "--negative_num", type=flag_types.positive_int, default=99, help="negatives a user"
    )
    group.add_argument(
        "--explanation",
        choices=(*MODES, "none"),
        default="sentence",
        help="sentence: of the text, one that mentions a feature; summary: the title",
    )
    group.add_argument("--seed", type=flag_types.natural, default=0, help="seed of all draws")
    return parser.parse_args()


def open_files(args: argparse.Namespace) -> RawFile:
    """The raw file, understood; UserError where it, or the output folder, will not do."""
    given = {role: getattr(args, role) for role in GUESSES}
    raw = open_raw(args.raw, args.format, args.columns, given)
    columns = ", ".join(f"{role} = {name or '-'}" for role, name in raw.roles._asdict().items())
    say(f"{args.raw} is read as {raw.kind}; columns: {columns}")
    if raw.roles.time is None:
        say("no column of times: what comes later in the file counts as later")
    if args.min_rating is not None and raw.roles.rating is None:
        raise UserError(f"--min_rating {args.min_rating:g}: no column of ratings; see --rating.")
    if args.explanation == "summary" and raw.roles.title is None:
        raise UserError("--explanation summary: no column of titles; see --title.")
    there = [name for name in FILES if (Path(args.out) / name).exists()]
    if there and not args.overwrite:
        raise UserError(
            f"--out {args.out}: holds {', '.join(there)}. Name another folder, or add --overwrite."
        )
    return raw


def main() -> None:
    """Read, write, say what came out."""
    args = parse_args()
    raw = open_files(args)
    options = {name: getattr(args, name) for name in Options.__annotations__}
    record = provenance(vars(args))
    stats = prepare_folder(raw, Path(args.out), Options(**options), record)
    say(
        f"{args.out}: {stats['users']:,} users, {stats['items']:,} items, "
        f"{stats['interactions']:,} interactions, density {stats['density']:.5f}, "
        f"explanations for {stats['explanation_coverage']:.0%}"
    )


if __name__ == "__main__":
    cli.run(main)
