"""The house: a package imports only from floors below its own. The floors are in docs/code.md."""

import ast
import re
from pathlib import Path

from tests.conftest import ROOT


def floors() -> dict[str, int]:
    """Package -> its floor, 0 at the ground: the numbered list of docs/code.md."""
    text = (ROOT / "docs" / "code.md").read_text().split("## Floors", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\d+\. (.*)$", text, flags=re.MULTILINE)
    return {name: n for n, row in enumerate(rows) for name in re.findall(r"`([\w/]+?)/?`", row)}


def package(dotted: str, known: dict[str, int]) -> str | None:
    """The package, or the file on a floor of its own, that a dotted name belongs to."""
    parts = dotted.split(".")[:2] if dotted.startswith("modules.") else dotted.split(".")[:1]
    name = "/".join(parts)
    return name if name in known else None


def test_no_import_points_up_or_sideways():
    known = floors()
    assert len(known) > 12
    wrong, seen = [], set()
    for path in [*Path(ROOT, "modules").rglob("*.py"), *Path(ROOT, "utils").rglob("*.py")]:
        own = package(".".join(path.relative_to(ROOT).with_suffix("").parts), known)
        seen.add(own)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{a.name}" for a in node.names]
            for other in {package(name, known) for name in names} - {None, own}:
                if own is None or known[other] >= known[own]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong
    assert seen - {None} == set(known)  # no file stands outside of the house
