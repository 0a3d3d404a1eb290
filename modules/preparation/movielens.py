"""MovieLens' zip archives -> ``ratings.inter`` and ``ratings.item``, as RecBole has them.

An archive is a stranger's. Only the two entries that are asked for are read, none is unpacked under
its own name, and what an entry says of its size counts only as far as it fits the limit.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError, limit
from utils.files import write_text

ADDRESS = "https://files.grouplens.org/datasets/movielens"
RATINGS, MOVIES = "ratings.inter", "ratings.item"  # the files that are written
MOST_OF_ARCHIVE = 16 << 20  # bytes; the larger of the two has 6 MB
MOST_OF_ENTRY = 64 << 20  # bytes; the largest that is read has 25 MB

_RATINGS_HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
_MOVIES_HEADER = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)  # fmt: skip  the flags of u.item, in their order
_ID = re.compile(r"[0-9]{1,9}")
_STARS = re.compile(r"[1-5]")
_SECONDS = re.compile(r"[0-9]{1,12}")
_TITLE = re.compile(r"(.*\S) \(([0-9]{4})\)")
_ELSEWHERE = "Get the archive from another source, and give its folder with --from."
# What zipfile raises of bytes that are no archive, or of one that is damaged.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError,
            ValueError, OverflowError)  # fmt: skip


class MovieLens(NamedTuple):
    """A MovieLens set: its sizes, and where its archive has what."""

    users: int
    items: int  # that are rated
    interactions: int
    movies: int  # that have a title
    archive: str
    ratings_entry: str
    movies_entry: str
    split: str  # what separates the fields of a rating
    movie: Callable[[str], tuple[str, ...]]  # a line -> id, title, genres; () where it is none


def _movie_of_flags(line: str) -> tuple[str, ...]:
    """``1|Toy Story (1995)|01-Jan-1995||http://...|0|0|...``: a flag a genre."""
    fields = line.split("|")
    flags = fields[5:]
    if len(flags) != len(_GENRES) or not set(flags) <= {"0", "1"}:
        return ()
    return fields[0], fields[1], " ".join(g for g, flag in zip(_GENRES, flags) if flag == "1")


def _movie_of_names(line: str) -> tuple[str, ...]:
    """``1::Toy Story (1995)::Animation|Children's|Comedy``."""
    fields = line.split("::")
    return (fields[0], fields[1], fields[2].replace("|", " ")) if len(fields) == 3 else ()


SETS = {
    "movielens-100k": MovieLens(
        943, 1_682, 100_000, 1_682,
        "ml-100k.zip", "ml-100k/u.data", "ml-100k/u.item", "\t", _movie_of_flags,
    ),
    "movielens-1m": MovieLens(
        6_040, 3_706, 1_000_209, 3_883,
        "ml-1m.zip", "ml-1m/ratings.dat", "ml-1m/movies.dat", "::", _movie_of_names,
    ),
}  # fmt: skip


def convert(archive: Path, kind: MovieLens) -> tuple[int, int, int, int]:
    """Write the ratings and the movies of an archive beside it, as RATINGS and MOVIES.

    Returns:
        How many users, rated items, ratings and movies there are, as the fields of ``kind``.

    Raises:
        UserError: naming the archive, entry and line, where it is damaged, or holds something else
            than ratings and movies.
    """
    with _opened(archive) as file:
        ratings = _read(archive, file, kind.ratings_entry)
        movies = _read(archive, file, kind.movies_entry)
    titles = _titles(f"{archive.name}, {kind.movies_entry}", movies, kind)
    where = f"{archive.name}, {kind.ratings_entry}"
    rows = [_RATINGS_HEADER]
    users, items = set(), set()
    for number, line in _lines(ratings):
        fields = line.split(kind.split)
        if len(fields) != 4 or not all(
            pattern.fullmatch(field) for pattern, field in zip((_ID, _ID, _STARS, _SECONDS), fields)
        ):
            raise _wrong_line(where, number, line, "a user, an item, a rating of 1 to 5, a time")
        if fields[1] not in titles:
            raise UserError(
                f"{where}, line {number}: item {fields[1]} is not in {kind.movies_entry}. "
                f"{_ELSEWHERE}"
            )
        users.add(fields[0])
        items.add(fields[1])
        rows.append("\t".join(fields))
    write_text(archive.with_name(RATINGS), "\n".join(rows) + "\n")
    write_text(archive.with_name(MOVIES), "\n".join([_MOVIES_HEADER, *titles.values()]) + "\n")
    return len(users), len(items), len(rows) - 1, len(titles)


def _wrong_line(where: str, number: int, line: str, expected: str) -> UserError:
    return UserError(f"{where}, line {number}: {limit(line)}; it must be {expected}. {_ELSEWHERE}")


def _titles(where: str, text: str, kind: MovieLens) -> dict[str, str]:
    """Item -> its line of ``ratings.item``."""
    found: dict[str, str] = {}
    for number, line in _lines(text):
        movie = kind.movie(line)
        if not movie or not _ID.fullmatch(movie[0]) or not movie[1].strip():
            raise _wrong_line(where, number, line, "an item, its title, its genres")
        if movie[0] in found:
            raise _wrong_line(where, number, line, "of an item that no line before it has")
        item, title, genres = (" ".join(field.split()) for field in movie)  # no tabs in them
        dated = _TITLE.fullmatch(title)
        found[item] = "\t".join([item, *(dated.groups() if dated else (title, "")), genres])
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines. Not ``splitlines``: in Latin-1 a title may hold what it takes for an end."""
    for number, line in enumerate(io.StringIO(text), start=1):
        yield number, line.rstrip("\r\n")


# ---------------------------------------------------------------------------------- archives


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; UserError where it is none, or reading it fails."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except _DAMAGED as error:
        raise UserError(
            f"{path.name}: is no zip archive, or is damaged ({limit(str(error), 200)}). "
            f"{_ELSEWHERE}"
        ) from error


def _read(path: Path, file: zipfile.ZipFile, name: str) -> str:
    """An entry's text; UserError where it is not there, or not what can be read safely."""
    where = f"{path.name}, {name}"
    entry = next((entry for entry in file.infolist() if entry.filename == name), None)
    if entry is None:
        raise UserError(f"{path.name}: has no {name}. {_ELSEWHERE}")
    if entry.flag_bits & 1:
        raise UserError(f"{where}: is encrypted; it must not be. {_ELSEWHERE}")
    # The packings whose reader can be told to stop.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(
            f"{where}: is packed by method {entry.compress_type}; it must be stored or deflated. "
            f"{_ELSEWHERE}"
        )
    if entry.file_size > MOST_OF_ENTRY:
        raise UserError(
            f"{where}: has {entry.file_size:,} bytes, more than the {MOST_OF_ENTRY:,} that it can "
            f"have. {_ELSEWHERE}"
        )
    with file.open(entry) as stream:
        # With a size, or all that is packed there is unpacked, whatever size the entry gives.
        content = stream.read(entry.file_size)
    if len(content) != entry.file_size:
        raise UserError(
            f"{where}: gives its size as {entry.file_size:,} bytes and has {len(content):,}. "
            f"{_ELSEWHERE}"
        )
    return content.decode("latin-1")
