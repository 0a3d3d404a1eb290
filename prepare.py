"""Turn a raw file of reviews or interactions into a data folder to train on.

    python prepare.py reviews_Beauty_5.json.gz --out data/beauty
    python prepare.py ratings.csv --out data/movies --user uid --item movie --core 10
    python prepare.py ml-100k.inter --items ml-100k.item --out data/ml-100k

Reads Amazon's review dumps (2014, 2018, 2023), JSON lines, CSV, TSV, Parquet, RecBole's .inter and
files of histories (user item item ...).
Writes sequential.txt, datamaps.json, negative.txt, explanation.json (where there are texts),
items.json (where a flag says where the titles of items are) and stats.json. The rules are in
data/README.md. Explanations and Parquet need the packages of requirements-data.txt.
"""

import argparse
from dataclasses import fields
from pathlib import Path

from modules.preparation.crew import cores
from modules.preparation.explanations import MODES
from modules.preparation.filters import NUMBERINGS
from modules.preparation.folder import Options, own_folder, prepare_folder
from modules.preparation.formats import FORMATS, Asked
from modules.preparation.language import LANGUAGES
from modules.preparation.roles import GUESSES
from modules.preparation.rows import RawFile, open_raw
from modules.preparation.table_format import QUOTED, SEPARATORS
from modules.preparation.titles import TitleFile, open_titles
from utils import cli
from utils.config_flag import add_config_flag, parse_flags
from utils.console import say
from utils.errors import UserError
from utils.flag_types import natural, path_name, positive_int, real
from utils.provenance import provenance


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    add_config_flag(parser)
    group = parser.add_argument_group("data")
    group.add_argument("raw", type=path_name, metavar="RAW", help="file of reviews or interactions")
    group.add_argument("--out", type=path_name, required=True, help="data folder to write")
    group.add_argument("--overwrite", action="store_true", help="replace the data folder in --out")
    add_reading_flags(parser.add_argument_group("reading"))
    add_title_flags(parser.add_argument_group("titles of items, for people to read"))
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
    group.add_argument(
        "--negative_num",
        type=positive_int,
        help="negatives per user; default: 99, or as many as every user has left",
    )
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
    return parse_flags(parser)


def add_reading_flags(group: argparse._ArgumentGroup) -> None:
    """How the raw file is read."""
    group.add_argument(
        "--format",
        choices=FORMATS,
        help="of RAW. sequences: user item item ..., a line a user; pairs: user item, a line an "
        "interaction; default: by its ending, of a .txt by its first lines",
    )
    for role, names in GUESSES.items():
        group.add_argument(
            f"--{role}", metavar="NAME", help=f"column of the {role}; default: {', '.join(names)}"
        )
    group.add_argument("--no_time", action="store_true", help="the rows stand in the order of time")
    group.add_argument(
        "--columns",
        type=column_names,
        metavar="NAMES",
        help="names of all columns, by commas, for a table without a header line",
    )
    group.add_argument(
        "--sep",
        type=separator,
        help="what separates the fields of a table: tab, blank, or characters such as , or ::; "
        "default: the format's, or else what splits the first line",
    )
    group.add_argument(
        "--quoted",
        choices=QUOTED,
        help="yes: quotation marks enclose fields; lines: also such as hold lines that look like "
        "rows; no: they are characters like others; default: yes for csv, no for tsv and inter",
    )
    group.add_argument(
        "--escape",
        type=escape,
        metavar="CHAR",
        help='the character before a quotation mark inside a field, as in "say \\"hi\\""',
    )
    group.add_argument("--strict", action="store_true", help="stop at a bad line; default: skip it")


def add_title_flags(group: argparse._ArgumentGroup) -> None:
    """Where the titles of items are."""
    group.add_argument(
        "--items",
        type=path_name,
        metavar="FILE",
        help="file of items and their titles, read by its ending: Amazon's meta dumps, RecBole's "
        ".item, JSON lines, CSV, TSV, Parquet",
    )
    group.add_argument(
        "--item_title",
        metavar="NAME",
        help="column of an item's title in FILE, or in RAW without --items; default, of FILE "
        "alone: title, one whose name holds title, or name",
    )


def column_names(text: str) -> list[str]:
    """``a, b`` -> its names, each once."""
    found = [name.strip() for name in text.split(",")]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None or "" in found:
        problem = "an empty name" if "" in found else f"{twice!r} twice"
        raise argparse.ArgumentTypeError(f"{text!r} has {problem}; each column has its own name")
    return found


def separator(text: str) -> str:
    """A separator by its name or by its characters."""
    found = SEPARATORS.get(text, text)
    if not found or any(character in found for character in '"\r\n'):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be tab, blank, or characters without line ends and quotation marks"
        )
    return found


def escape(text: str) -> str:
    """One character."""
    if len(text) != 1 or text in '"\r\n\0':
        raise argparse.ArgumentTypeError(f"{text!r} must be one character, such as \\")
    return text


def open_files(args: argparse.Namespace) -> tuple[RawFile, TitleFile | None]:
    """The raw file, and where titles are; UserError where a file or a column cannot be used."""
    given = {role: getattr(args, role) for role in GUESSES}
    asked = Asked(args.sep, args.quoted, args.escape, args.no_time)
    raw = open_raw(args.raw, args.format, args.columns, given, asked)
    columns = ", ".join(f"{role} = {name or '-'}" for role, name in raw.roles._asdict().items())
    table = f" ({raw.how.table.describe()})" if raw.how.table else ""
    say(f"{args.raw} is read as {raw.how.kind}{table}; columns: {columns}")
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
    titles = open_titles(raw, args.items, args.item_title)
    if titles:
        say(f"titles of items: from {titles.path}, item = {titles.item}, title = {titles.title}")
    return raw, titles


def main() -> None:
    """Find the columns; filter, number and write; say what came out."""
    args = parse_args()
    (raw, titles), out = open_files(args), Path(args.out)
    options = Options(**{field.name: getattr(args, field.name) for field in fields(Options)})
    inputs = [raw.path, titles.path] if titles else [raw.path]
    with own_folder(out, inputs, args.overwrite):
        stats = prepare_folder(raw, out, options, provenance(vars(args)), titles, cores())
    say(
        f"{args.out}: {stats['users']:,} users, {stats['items']:,} items, "
        f"{stats['interactions']:,} interactions, density {stats['density']:.5f}, "
        f"explanations for {stats['explanation_coverage']:.0%}"
    )


if __name__ == "__main__":
    cli.run(main)
