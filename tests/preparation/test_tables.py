"""Tables: no row is lost to a quotation mark; separators found, given, or refused with a cause."""

import csv
import io

import pytest

from modules.preparation.columns import BadLines
from modules.preparation.formats import Asked
from modules.preparation.rows import open_raw, read_rows
from tests.preparation.test_rows import read, write
from utils.errors import UserError

HEADER = "user,item,time,review\n"
YES, NO, LINES = (Asked(quoted=quoted) for quoted in ("yes", "no", "lines"))


def rows_with(texts: dict[int, str], count: int = 48) -> list[str]:
    """Lines of a table of four columns; in some rows the text is another."""
    return [f"u{k % 7},i{k},{1000 + k},{texts.get(k, 'nice pan')}\n" for k in range(count)]


LONE = '"10 inch pan'
PAIR = {5: LONE, 20: 'pan of 10"'}


@pytest.mark.parametrize("texts", [{5: LONE}, {5: LONE, 20: LONE}, {0: LONE}, {47: LONE}])
def test_a_lone_mark_ends_at_its_line(tmp_path, texts):
    """Python's reader, where it is not strict, takes all that follows for one field."""
    lines = rows_with(texts)
    path = write(tmp_path / "a.csv", HEADER, *lines)
    assert len(list(csv.reader(io.StringIO("".join(lines))))) < 48 or min(texts) == 47
    rows, bad = read(path)
    assert [row[3] for row in rows] == [texts.get(k, "nice pan") for k in range(48)]
    assert bad.count == 0
    (remark,) = bad.remarks
    place = f"{len(texts)} (the first: line {min(texts) + 2})"
    assert (
        remark == f"rows with a quotation mark that encloses nothing, read as they stand: {place}"
    )


def test_a_lone_mark_far_from_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("modules.preparation.lines.BLOCK", 10_000)
    path = write(tmp_path / "a.csv", HEADER, *rows_with({100: LONE}, 30_000))
    assert len(read(path)[0]) == 30_000
    monkeypatch.setattr("modules.preparation.records.MAX_FIELD", 100_000)
    assert len(read(path)[0]) == 30_000


def test_a_lone_mark_with_a_separator_after_it_is_a_bad_row(tmp_path):
    path = write(tmp_path / "a.csv", HEADER, *rows_with({5: '"10 inch, pan', 9: LONE}))
    rows, bad = read(path)
    assert len(rows) == 47
    (message,) = bad.first
    assert message.startswith(f"{path}, line 7: 5 field(s), must be 4. Its quotation marks may not")


@pytest.mark.parametrize(
    "texts",
    [PAIR, {5: LONE, 6: 'pan of 10"'}, {k: text for k, text in zip((0, 47), PAIR.values())}],
)
def test_two_lone_marks_never_make_a_pair(tmp_path, texts):
    path = write(tmp_path / "a.csv", HEADER, *rows_with(texts))
    first, last = (k + 2 for k in texts)
    with pytest.raises(UserError) as error:
        read(path)
    assert f"line {first}: a quotation mark opens a field that ends in line {last}" in str(
        error.value
    )
    assert f"line {first + 1}, inside of it, looks like a row" in str(error.value)
    assert "--quoted no" in str(error.value)
    assert len(read(path, asked=NO)[0]) == 48
    rows, bad = read(path, asked=LINES)
    assert len(rows) == 48 - (last - first)
    (remark,) = bad.remarks
    assert remark.endswith(f"lines: 1 ({last - first + 1} lines; the first: line {first})")


def test_two_lone_marks_that_make_a_row_of_another_width(tmp_path):
    """The second mark ends a field, but what comes out is no row: all lines stay their own."""
    rows, bad = read(write(tmp_path / "a.csv", HEADER, *rows_with({5: LONE, 20: 'a 10", red'})))
    assert [row[1] for row in rows] == [f"i{k}" for k in range(48) if k != 20]
    assert [message.split(": ")[0][-7:] for message in bad.first] == ["line 22"]


def test_a_mark_in_the_header_takes_in_no_row(tmp_path):
    lines = rows_with({20: 'pan of 10"'})
    path = write(tmp_path / "a.csv", 'user,item,time,"review\n', *lines)
    with pytest.raises(
        UserError, match="line 1: a quotation mark opens a name that ends in line 22"
    ):
        read(path)
    assert len(read(path, asked=NO)[0]) == 48
    write(path, 'user,item,time,"review\n', *rows_with({}))  # never closed
    rows, bad = read(path)
    assert (len(rows), bad.count) == (48, 0)
    write(path, 'user,item,time,"review\nin words"\n', *rows_with({}))
    assert len(read(path)[0]) == 48


def test_a_stray_mark_in_a_header_is_no_row(tmp_path):
    for header, names in (('user,item,"note', 3), ('user,item,time,"review', 4), ('"user,item', 2)):
        lines = [",".join(("u", f"i{k}", f"{k}", "k")[:names]) + "\n" for k in range(9)]
        path = write(tmp_path / "a.csv", header, "\n", *lines)
        rows, bad = read(path, user='"user' if names == 2 else None)
        assert (len(rows), bad.count) == (9, 0)


@pytest.mark.parametrize("last", ['c, d"', '10"', '"'])
@pytest.mark.parametrize("commas", [0, 1, 5])
def test_a_mark_that_swallows_rows_with_commas_in_their_texts(tmp_path, last, commas):
    """The lines inside have more fields than the table."""
    texts = {5: '"10 inch', 30: last} | {k: "a" + ", b" * commas for k in range(6, 30)}
    path = write(tmp_path / "a.csv", HEADER, *rows_with(texts))
    with pytest.raises(UserError, match=r"line 7: a quotation mark opens .* line 8, inside of it"):
        read(path)
    rows, bad = read(path, asked=NO)
    assert len(rows) + bad.count == 48


def test_a_mark_that_swallows_much_of_a_file(tmp_path):
    """Lines that look like no row: the times cannot be read."""
    lines = rows_with({5: '"10 inch', 30: '10"'})
    lines = [line.replace(",10", ",at 10") if 5 < k <= 30 else line for k, line in enumerate(lines)]
    path = write(tmp_path / "a.csv", HEADER, *lines)
    with pytest.raises(UserError, match=r"line 7: .* ends in line 32, 26 of the file's 49 lines"):
        read(path)
    assert read(path, asked=LINES)[1].remarks[0].endswith("1 (26 lines; the first: line 7)")
    text = "\n".join(["a long text"] * 25)
    write(path, HEADER, *rows_with({k: f'"{text}"' for k in range(30)}))  # most rows are so
    assert len(read(path)[0]) == 48


def test_a_pair_in_a_table_without_times(tmp_path):
    lines = [f"u{k},i{k},{PAIR.get(k, 'nice, good')}\n".replace(", ", " ") for k in range(30)]
    with pytest.raises(UserError, match="line 8, inside of it, looks like a row"):
        read(write(tmp_path / "a.csv", "user,item,text\n", *lines))


def test_texts_of_several_lines_that_hold_commas(tmp_path):
    """What csv writes is read as it was, with prose that has as many commas as the table."""
    text = "Nice, warm, good.\nBut, and so, one, two\n\n5 stars, ok, 7\r\n"
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("user", "item", "text"), *((f"u{k}", "i", text) for k in range(9))])
    path = write(tmp_path / "a.csv", out.getvalue())
    rows, bad = read(path)
    assert [(row[0], row[3]) for row in rows] == [(f"u{k}", text) for k in range(9)]
    assert bad.remarks == ["rows with a field of several lines: 9 (45 lines; the first: line 2)"]


@pytest.mark.parametrize("block", [7, 50, 1 << 20])
def test_a_row_of_several_lines_over_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr("modules.preparation.lines.BLOCK", block)
    texts = {k: f'"line one {k}\nand ""two"" {k}\n"' for k in range(0, 48, 3)}
    rows, bad = read(write(tmp_path / "a.csv", HEADER, *rows_with(texts)))
    expected = list(csv.reader(io.StringIO("".join(rows_with(texts)))))
    assert [(row[0], row[1], row[3]) for row in rows] == [(u, i, t) for u, i, _, t in expected]
    assert bad.count == 0


def test_a_broken_text_of_several_lines_is_accounted_for_line_by_line(tmp_path):
    path = write(tmp_path / "a.csv", HEADER, *rows_with({5: '"one\ntwo "three"\nfour"'}))
    rows, bad = read(path)
    assert len(rows) == 48  # the row itself, as far as its first line goes
    assert rows[5][3] == '"one'
    assert [message.split(", ")[1][:7] for message in bad.first] == ["line 8:", "line 9:"]


@pytest.mark.parametrize("ending", ["tsv", "inter"])
def test_marks_in_tab_separated_files_are_characters(tmp_path, ending):
    lines = [line.replace(",", "\t") for line in (HEADER, *rows_with(PAIR | {7: '"all of it"'}))]
    path = write(tmp_path / f"a.{ending}", *lines)
    rows, bad = read(path)
    assert [row[3] for row in rows][5:8] == [LONE, "nice pan", '"all of it"']
    assert (len(rows), bad.count, bad.remarks) == (48, 0, [])
    write(path, *(line for line in lines if "all of it" not in line))
    with pytest.raises(UserError, match="looks like a row"):
        read(path, asked=YES)


def test_a_quoted_tsv_says_so(tmp_path):
    path = write(tmp_path / "a.tsv", "user\titem\ttext\n", 'u\ti\t"one\ttwo"\n')
    assert "If its quotation marks enclose fields, give --quoted yes" in read(path)[1].first[0]
    assert read(path, asked=YES)[0] == [("u", "i", 0.0, "one\ttwo")]
    write(path, '"user"\t"item"\t"text"\n', '"u"\t"i"\t"one\ttwo"\n')  # all names are quoted
    assert read(path)[0] == [("u", "i", 0.0, "one\ttwo")]


def test_escaped_marks(tmp_path):
    escape = Asked(escape="\\")
    path = write(tmp_path / "a.csv", HEADER, 'u,i,5,"say \\"hi\\", good"\n', 'u,j,6,"a \\"b\\""\n')
    rows, bad = read(path)
    assert len(rows) == bad.count == 1
    assert "line 2: 5 field(s), must be 4." in bad.first[0]
    assert bad.first[0].endswith("It has \\\" between quotation marks: give --escape '\\'")
    assert 'rows with \\" inside a field' in bad.remarks[0]
    assert [row[3] for row in read(path, asked=escape)[0]] == ['say "hi", good', 'a "b"']
    with pytest.raises(UserError, match=r"--escape: has a meaning only between"):
        read(path, asked=Asked(escape="\\", quoted="no"))


SEPARATED = [
    ("a.inter", ",", "user_id:token,item_id:token,timestamp:float"),
    ("a.inter", " ", "user_id:token item_id:token timestamp:float"),
    ("a.csv", "\t", "user\titem\ttime"),
    ("a.csv", ";", "user;item;time"),
    ("a.csv", ";", '"user";"item";"time"'),
    ("a.csv", "::", "user::item::time"),
    ("a.csv", "|", "user|item|time"),
    ("a.tsv", ",", "user,item,time"),
    ("a.tsv", "  ", "user  item time"),
    ("a.txt", "\t", "user\titem\ttime"),
    ("a.dat", "::", "user::item::time"),
    ("a.data", "\t", "user\titem\ttime"),
    ("a.csv.gz", ",", "user, item ,time"),
]


@pytest.mark.parametrize(("name", "sep", "header"), SEPARATED)
def test_separators_are_found(tmp_path, name, sep, header):
    mark = '"' if '"' in header else ""
    lines = [sep.join(f"{mark}{cell}{mark}" for cell in ("u", f"i{k}", k)) for k in range(9)]
    path = write(tmp_path / name, header, "\n", "\n".join(lines), "\n")
    assert read(path)[0] == [("u", f"i{k}", k, "") for k in range(9)]


def test_movielens_and_its_names(tmp_path):
    path = write(tmp_path / "ratings.dat", "1::1193::5::978300760\n2::661::3::978302109\n")
    names = ["user", "item", "rating", "time"]
    expected = [("1", "1193", 978300760, ""), ("2", "661", 978302109, "")]
    assert read(path, header=names)[0] == expected
    assert read(path, header=names, kind="csv")[0] == expected
    assert read(path, header=names, asked=Asked(sep="::"))[0] == expected
    with pytest.raises(UserError, match=r"The file has '1, 1193, .* all of them with --columns"):
        read(path)
    with pytest.raises(UserError, match="more than one character, cannot be quoted"):
        read(path, header=names, asked=Asked(sep="::", quoted="yes"))


def test_a_given_separator_is_taken(tmp_path):
    path = write(tmp_path / "a.csv", "user,x;item\n", "u,1;i\n")
    assert read(path, user="user,x", asked=Asked(sep=";"))[0] == [("u,1", "i", 0.0, "")]
    with pytest.raises(UserError, match=r"--sep: for csv, tsv and inter files only"):
        read(write(tmp_path / "a.json", "{}"), asked=Asked(sep=";"))


def test_row_names_without_a_name(tmp_path):
    """As R's write.table writes a data frame by default."""
    for name, sep in (("a.csv", ","), ("a.txt", " "), ("a.tsv", "\t")):
        lines = [sep.join(f'"{cell}"' for cell in row) + "\n" for row in (
            ("user", "item", "time"), ("1", "u", "i", 3), ("2", "u", "j", 4))]  # fmt: skip
        with pytest.raises(UserError, match=r"line 2: each row has 4 fields, the header 3: a col"):
            read(write(tmp_path / name, *lines))


def test_other_rows_of_one_field_more(tmp_path):
    """No row names: the advice for them would make the next column the user."""
    for field in ("February 05th, 2020", "Wed, 05 Feb 2020", "nice, good"):
        path = write(tmp_path / "a.csv", "user,item,date\n", *(f"u,i{k},{field}\n" for k in "ab"))
        with pytest.raises(UserError, match="has 4 fields, the header 3: is ',' in a"):
            read(path)
    write(path, HEADER, *(f"{k},i,7,'nice, good'\n" for k in (5, 7)))
    with pytest.raises(UserError, match=r"header 4: is ',' in .* enclosed in \", not in '"):
        read(path)


def test_a_separator_at_the_end_of_each_row(tmp_path):
    path = write(tmp_path / "a.csv", "user,item,time\n", "1,a,7,\n", "2,b,8,\n")
    assert read(path)[0] == [("1", "a", 7, ""), ("2", "b", 8, "")]


FIRST_LINES = [
    ("sep=;\n", "'sep=;' is a note for Excel"),
    ('"sep=,"\n', "is a note for Excel"),
    ("# made by x\n", "seems to be a comment"),
    ("// made by x\n", "seems to be a comment"),
    ("\n", "its first line is"),
]


@pytest.mark.parametrize(("line", "message"), FIRST_LINES)
def test_a_first_line_that_is_no_header(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.csv", line, "user;item\n", "u;i\n"))


def test_bytes_that_are_not_utf_8(tmp_path):
    """In a text that is read, the row is bad in every pass; in one that is not, it is good."""
    lines = [f"u,i{k},{k},{'café' if k % 3 == 1 else 'coffee'}\n" for k in range(9)]
    path = write(tmp_path / "a.csv", HEADER, "".join(lines).encode("latin-1"))
    raw = open_raw(path, None, None, {})
    for texts, count in ((None, 0), ("text", 3)):
        for text in (None, texts):
            bad = BadLines(path, False)
            rows = read_rows(raw.with_texts(texts), bad, lambda share: None, text=text)
            assert sum(len(chunk.users) for chunk in rows) == 9 - count
            assert bad.count == count
    assert bad.first[0].endswith(
        "line 3: the text, 'review', has bytes that are not UTF-8. Save the file as UTF-8"
    )
    rows, bad = read(write(path, HEADER, "u,K\xe4se,5,x\nu,ok,6,é\n".encode("latin-1")))
    assert len(rows) == 1
    assert "is 'K\\xe4se'; it must be an id, but has bytes that are not UTF-8. Save" in bad.first[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.inter", "a.json", "a.txt"])
def test_utf_16_is_named(tmp_path, name, encoding):
    text = '{"user": "u", "item": "i"}\n' if "json" in name else "user\titem\nu\ti\n"
    with pytest.raises(UserError, match="is UTF-16, or no text; it must be UTF-8"):
        read(write(tmp_path / name, text.encode(encoding)))


PACKED = [
    (b"PK\x03\x04", "zip"),
    (b"BZh91AY", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PAR1", "--format"),
]


@pytest.mark.parametrize(("start", "word"), PACKED)
def test_other_files_are_named(tmp_path, start, word):
    with pytest.raises(UserError, match=word):
        read(write(tmp_path / "a.csv", start, b"\x01\x02" * 50))


def test_line_ends(tmp_path):
    for end in ("\n", "\r\n", "\r"):
        for name in ("a.csv", "a.tsv"):
            lines = ("user,item,time", "u,i,1", "", 'u,"j",2') if name == "a.csv" else (
                "user\titem\ttime", "u\ti\t1", "", "u\tj\t2")  # fmt: skip
            path = write(tmp_path / name, *(line + end for line in lines))
            assert [row[:3] for row in read(path)[0]] == [("u", "i", 1), ("u", "j", 2)]


def test_a_row_of_empty_fields_is_no_blank_line(tmp_path):
    path = write(tmp_path / "a.tsv", "user\titem\n", "\t\n", "\n", " \n", "u\ti\n")
    rows, bad = read(path)
    assert (len(rows), bad.count) == (1, 2)
