"""Tables of LaTeX: a strict reader, which knows LaTeX's own marks, finds the cells as they were."""

import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.latex import latex_table, latex_text
from utils.tables import one_line

NAMES = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
    "textgreater": ">", "textbar": "|", "textquotedbl": '"', "textasciigrave": "`",
}  # fmt: skip
MATH = {"pm": "±", "alpha": "α", "lambda": "λ", "sigma": "σ"}
TOKEN = re.compile(
    r"\\(?P<name>[a-z]+)\{\}|\\(?P<mark>[&%$#_{}])|\$\\(?P<math>[a-z]+)\$|\{(?P<own>[\[\]*])\}"
    r"|(?P<gap>\{\})|(?P<plain>[^\\&%$#_{}~^\[\]*<>|\"`])"
)
EXAMPLES = [
    "50% of {a_b} & #1 $x^2$ ~ \\end{tabular}",
    "a--b---c",
    "[1pt] *",
    "Zoë 中 ±",
    "^^41",
    "\\\\",
    "a\nb\tc",
]


def read(text: str) -> str:
    """What LaTeX would set; an error where a mark stands unescaped or a brace alone."""
    found, at = "", 0
    while at < len(text):
        token = TOKEN.match(text, at)
        assert token, f"not escaped: {text[at:]!r}"
        at = token.end()
        of = token.groupdict()
        named = NAMES[of["name"]] if of["name"] else MATH[of["math"]] if of["math"] else ""
        found += named or of["mark"] or of["own"] or of["plain"] or ""
    assert "--" not in text  # a dash to LaTeX
    return found


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples(text):
    assert read(latex_text(text)).replace("(U+4E2D)", "中") == one_line(text)


@settings(max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "100")), deadline=None)
@given(st.text(st.characters(max_codepoint=0x17F)))
def test_any_text_is_set_as_it_is(text):
    for letter in {c for c in one_line(text) if ord(c) > 126 and c != "±"}:
        if not re.match("[À-ÖØ-öø-ÿ]", letter):
            text = text.replace(letter, f"(U+{ord(letter):04X})")
    assert read(latex_text(text)) == one_line(text)


def test_every_line_has_its_cells():
    rows = [[text, "0.1 ± 0.2 (3)", "x&y"] for text in EXAMPLES]
    table = latex_table(["method", "HR@10", "from"], rows, "50% & more", ["_note_"])
    lines = table.splitlines()
    first, last = lines.index(r"\midrule") + 1, lines.index(r"\bottomrule")
    assert lines[first - 2] == r"method & HR@10 & from \\"
    for line, row in zip(lines[first:last], rows, strict=True):
        cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
        cells = [read(cell).replace("(U+4E2D)", "中") for cell in cells]
        assert cells == [one_line(cell) for cell in row]
    begun = re.findall(r"\\begin\{(\w+)\}", table)
    assert begun == re.findall(r"\\end\{(\w+)\}", table)[::-1] == ["table", "tabular"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_it_compiles(tmp_path):
    table = latex_table(["a", "b", "c"], [[t, "±", t] for t in EXAMPLES], "c", EXAMPLES)
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "a.tex").write_text(f"{head}{table}\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
