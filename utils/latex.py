"""Tables of LaTeX, with booktabs. Whatever a cell holds, the file compiles with pdflatex: what
LaTeX reads as its own is escaped, a letter that its fonts may lack is written as a code point."""

import re
from collections.abc import Sequence

from utils.tables import one_line

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{mark: f"{{{mark}}}" for mark in "[]*"},  # after a line's \\ these are LaTeX's own
}
_FONT = re.compile(r"[ -~À-ÖØ-öø-ÿ]")  # what pdflatex has in every installation


def latex_text(text: str) -> str:
    """One line of text that LaTeX sets as it is."""
    found = "".join(
        _ESCAPES.get(c) or (c if _FONT.match(c) else f"(U+{ord(c):04X})") for c in one_line(text)
    )
    return found.replace("--", "-{}-").replace("--", "-{}-")  # else a dash


def latex_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str]
) -> str:
    """A floating table: figures to the right, the first and the last column to the left.

    The document loads the package ``booktabs``.
    """
    columns = "l" + "r" * (len(header) - 2) + "l"
    lines = [" & ".join(map(latex_text, line)) + r" \\" for line in (header, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {latex_text(note)}" for note in notes),
            r"\end{table}",
            "",
        ]
    )
