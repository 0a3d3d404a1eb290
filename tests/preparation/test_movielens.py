"""MovieLens: archives of four users, good ones and hostile ones, from a server on this machine."""

import csv
import hashlib
import io
import os
import shlex
import struct
import tracemalloc
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.data.reader import load_dataset
from modules.preparation import download, movielens
from modules.preparation.movielens import SETS, convert
from tests.test_scripts import script
from utils.errors import UserError

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", 150))
# User, item, rating, time: each of four users rated five of six movies; nobody the seventh.
ROWS = [
    (str(u), str(i), str(1 + (u + i) % 5), str(874_000_000 + 10 * u + i))
    for u in range(1, 5)
    for i in range(1, 7)
    if i != u
]
TITLES = {  # as they are published, and as RecBole's files have title and year
    "1": ("Toy Story (1995)", "Toy Story", "1995"),
    "2": ("Misérables, Les (1995)", "Misérables, Les", "1995"),
    "3": ("Land Before Time III (1995) (V)", "Land Before Time III (1995) (V)", ""),
    "4": ("unknown", "unknown", ""),
    "5": ("A\tB \x85C  (1971)", "A B C", "1971"),
    "6": ("Se7en (1995)", "Se7en", "1995"),
    "7": ("Nobody's (2000)", "Nobody's", "2000"),
}
KINDS = ("movielens-100k", "movielens-1m")
PUBLISHED = dict(SETS)
SIZES = (4, 6, len(ROWS))


def texts_of(name, rows=ROWS, titles=TITLES):
    """What the two entries of an archive hold."""
    ratings = "".join(SETS[name].split.join(row) + "\n" for row in rows)
    if name == "movielens-100k":  # Animation, Children's, Comedy
        flags = "|".join("1" if k in (3, 4, 5) else "0" for k in range(19))
        movies = "".join(f"{i}|{t[0]}|01-Jan-1995||http://x|{flags}\n" for i, t in titles.items())
    else:
        movies = "".join(f"{i}::{t[0]}::Animation|Children's|Comedy\n" for i, t in titles.items())
    return {
        SETS[name].ratings_entry: ratings.encode("latin-1"),
        SETS[name].movies_entry: movies.encode("latin-1"),
    }


def packed(entries, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def few(server, monkeypatch):
    """The server in the place of GroupLens; sets of four users."""
    for name in KINDS:
        users, items, interactions = SIZES
        few = SETS[name]._replace(
            users=users, items=items, interactions=interactions, movies=len(TITLES)
        )
        monkeypatch.setitem(movielens.SETS, name, few)
    monkeypatch.setattr(movielens, "ADDRESS", server.url)


def get(name, out):
    return download.download(name, None, False, out)


@pytest.mark.parametrize("name", KINDS)
def test_ratings_and_movies(name, tmp_path, server, monkeypatch, capsys):
    server.files[SETS[name].archive] = packed(texts_of(name))
    server.breaks = [200]  # it is resumed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["download", name])
    download.main()
    printed = capsys.readouterr().out
    assert "4 users, 6 items, 20 interactions, 7 movies, as published" in printed
    raw = tmp_path / "data/raw" / name
    assert sorted(path.name for path in raw.iterdir()) == ["ratings.inter", "ratings.item"]
    with (raw / "ratings.inter").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows[0] == ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    assert [tuple(row) for row in rows[1:]] == ROWS
    with (raw / "ratings.item").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert ",".join(rows[0]) == (
        "item_id:token,movie_title:token_seq,release_year:token,class:token_seq"
    )
    assert rows[1:] == [
        [item, title, year, "Animation Children's Comedy"]
        for item, (_, title, year) in TITLES.items()
    ]
    command = shlex.split(printed.partition("next: ")[2].splitlines()[0])
    assert command == [
        "python", "prepare.py", f"data/raw/{name}/ratings.inter",
        "--items", f"data/raw/{name}/ratings.item", "--out", f"data/{name}",
    ]  # fmt: skip
    assert server.asked[1] == (SETS[name].archive, "bytes=200-")


def test_prepare_reads_it(tmp_path, server):
    server.files["ml-1m.zip"] = packed(texts_of("movielens-1m"), zipfile.ZIP_STORED)
    raw = tmp_path / "data/raw/few"
    get("movielens-1m", raw)
    out = tmp_path / "data/few"
    flags = ["--items", raw / "ratings.item", "--out", out, "--core", 1, "--negative_num", 1]
    done = script("prepare.py", raw / "ratings.inter", *flags)
    assert done.returncode == 0, done.stderr
    assert "user = user_id:token, item = item_id:token, time = timestamp:float" in done.stdout
    assert "4 users, 6 items, 20 interactions" in done.stdout
    dataset = load_dataset(out)
    found = dict(zip(dataset.item_names[1:], dataset.titles[1:]))
    assert found == {item: TITLES[item][1] for item in found}


def test_the_published_sizes():
    """As the README files of the two archives give them."""
    assert PUBLISHED["movielens-100k"][:5] == (943, 1_682, 100_000, 1_682, "ml-100k.zip")
    assert PUBLISHED["movielens-1m"][:5] == (6_040, 3_706, 1_000_209, 3_883, "ml-1m.zip")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        (ROWS[:-1], TITLES, "have 19 interactions, the published set 20"),
        ([*ROWS[:-1], ("5", "1", "1", "1")], TITLES, "have 5 users, the published set 4"),
        (ROWS, {**TITLES, "8": ("X (2000)", "X", "2000")}, "have 8 movies, the published set 7"),
        (ROWS, {"1": TITLES["1"]}, r"line 1: item 2 is not in ml-1"),
        ([("1", "1", "6", "1"), *ROWS], TITLES, r"line 1: .*it must be a user, an item, a rating"),
        ([("1", "1", "nan", "1"), *ROWS], TITLES, r"line 1: .*it must be a user, an item, a rat"),
        ([("1", "1", "1"), *ROWS], TITLES, r"line 1: '1.*it must be a user, an item, a rating"),
        ([*ROWS, ("",)], TITLES, r"line 21: ''; it must be a user, an item, a rating"),
        ([("1", "-1", "1", "1"), *ROWS], TITLES, r"line 1: .*it must be a user, an item, a rat"),
        (ROWS, {"one": ("X", "X", "")}, "line 1: .*it must be an item, its title, its genres"),
        (ROWS, {"1": (" ", "", "")}, "line 1: .*it must be an item, its title, its genres"),
        (ROWS, {"1": ("a::b|c", "", "")}, "line 1: .*it must be an item, its title, its genres"),
        (ROWS, {"1": ("a\n1", "", "")}, "line 1: .*it must be an item, its title, its genres"),
    ],
)
def test_another_set_is_refused(tmp_path, server, name, rows, titles, message):
    server.files[SETS[name].archive] = packed(texts_of(name, rows, titles))
    with pytest.raises(UserError, match=message):
        get(name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_movie_twice(tmp_path, server):
    entries = texts_of("movielens-1m")
    entries["ml-1m/movies.dat"] += b"1::Another::Drama\n"
    server.files["ml-1m.zip"] = packed(entries)
    with pytest.raises(UserError, match=r"movies\.dat, line 8: .* an item that no line before"):
        get("movielens-1m", tmp_path / "out")


def test_flags(tmp_path, server):
    with pytest.raises(UserError, match="--raw: movielens-100k is raw ratings in any case"):
        download.download("movielens-100k", None, True, tmp_path / "out")
    with pytest.raises(UserError, match=r"has no ml-100k\.zip"):
        get("movielens-100k", tmp_path / "out")
    (tmp_path / "ml-100k.zip").write_bytes(packed(texts_of("movielens-100k")))
    download.download("movielens-100k", str(tmp_path), False, tmp_path / "out")
    with pytest.raises(UserError, match=r"already holds ratings\.inter, ratings\.item"):
        download.download("movielens-100k", str(tmp_path), False, tmp_path / "out")


# ---------------------------------------------------------------- hostile archives


def changed(content, field, value, entry):
    """An archive with a field of an entry changed in its local and its central header.

    field: offsets in the two headers (section 4.3 of the ZIP specification), and format.
    """
    local, central, form = field
    content = bytearray(content)
    for signature, at, name_at in ((b"PK\x03\x04", local, 30), (b"PK\x01\x02", central, 46)):
        start = content.find(signature)
        while not content.startswith(entry.encode(), start + name_at):
            start = content.index(signature, start + 1)
        struct.pack_into(form, content, start + at, value)
    return bytes(content)


FLAGS, METHOD, SIZE = (6, 8, "<H"), (8, 10, "<H"), (22, 24, "<I")
ENTRIES = texts_of("movielens-100k")
GOOD = packed(ENTRIES)
RATINGS = ENTRIES["ml-100k/u.data"]
HOSTILE = {
    "is no zip archive": b"<html>Please log in</html>",
    r"is no zip archive, or is damaged": b"",
    r"is no zip archive, or is damaged .*\. Get": GOOD[: len(GOOD) // 2],
    r"has no ml-100k/u\.item": packed({"ml-100k/u.data": RATINGS}),
    r"has no ml-100k/u\.data": packed({f"../{name}": text for name, text in ENTRIES.items()}),
    r"u\.data: is encrypted": changed(GOOD, FLAGS, 1, "ml-100k/u.data"),
    r"u\.item: is encrypted": changed(GOOD, FLAGS, 0x41, "ml-100k/u.item"),
    "u.data: is packed by method 12": packed(ENTRIES, zipfile.ZIP_BZIP2),
    "u.data: is packed by method 14": packed(ENTRIES, zipfile.ZIP_LZMA),
    "u.item: is packed by method 99": changed(GOOD, METHOD, 99, "ml-100k/u.item"),
    r"u\.data: has 67,108,865 bytes, more than the 67,108,864 that it": changed(
        GOOD, SIZE, (64 << 20) + 1, "ml-100k/u.data"
    ),
    r"u\.data: has 4,294,967,294 bytes": changed(GOOD, SIZE, 2**32 - 2, "ml-100k/u.data"),
    "damaged .*CRC": changed(GOOD, SIZE, len(RATINGS) - 1, "ml-100k/u.data"),
    r"u\.data: gives its size as 5,000 bytes and has": changed(
        GOOD, SIZE, 5000, "ml-100k/u.data"
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_archive_leaves_nothing(tmp_path, server, message):
    server.files["ml-100k.zip"] = HOSTILE[message]
    with pytest.raises(UserError, match=message) as raised:
        get("movielens-100k", tmp_path / "out")
    assert "--from" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_that_unpacks_to_more_than_it_says(tmp_path):
    """It is not unpacked beyond what it says."""
    bomb = packed({**ENTRIES, "ml-100k/u.data": bytes(100 << 20)})
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(changed(bomb, SIZE, 1000, "ml-100k/u.data"))
    del bomb
    tracemalloc.start()
    with pytest.raises(UserError, match="CRC"):
        convert(path, SETS["movielens-100k"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_names_of_other_entries_lead_nowhere(tmp_path, server):
    outside = tmp_path / "outside"
    strangers = {"../../../outside": b"x", str(outside): b"x", "..\\..\\outside": b"x"}
    server.files["ml-100k.zip"] = packed({**strangers, **ENTRIES})
    get("movielens-100k", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_planted_links_are_not_followed(tmp_path, server):
    """In the folder of unfinished transfers."""
    server.files["ml-100k.zip"] = GOOD
    (victim := tmp_path / "victim").write_text("mine")
    out = tmp_path / "out"
    name = hashlib.sha256(server.url.encode()).hexdigest()[:8]
    (work := out / f".download-{name}").mkdir(parents=True)
    for name in ("ratings.inter", "ratings.item"):
        (work / name).symlink_to(victim)
    get("movielens-100k", out)
    assert victim.read_text() == "mine"
    assert not any(path.is_symlink() for path in out.iterdir())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.dictionaries(
        st.integers(0, len(GOOD) - 1), st.integers(0, 255), min_size=1, max_size=6
    ),
    end=st.none() | st.integers(0, len(GOOD)),
)
def test_any_damage_is_a_clear_error_or_none(tmp_path, changes, end):
    content = bytearray(GOOD)
    for at, byte in changes.items():
        content[at] = byte
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(content[:end])
    said = "ml-100k.zip"
    try:
        assert convert(path, SETS["movielens-100k"]) == (*SIZES, len(TITLES))
    except UserError as error:
        said = str(error)
    assert said.startswith("ml-100k.zip")
    assert "\n" not in said
