"""README and docs: every command parses, every link and file is there, one version."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from utils.provenance import VERSION

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / name / "README.md" for name in ("data", "checkpoint", "benchmarks")]


def commands() -> list[str]:
    """What a reader would type: indented lines that begin with a program."""
    found = []
    for page in PAGES:
        lines = re.findall(
            r"^    (?:\$ )?((?:python|torchrun|make|pip) .+?)(?:\s+#.*)?$",
            page.read_text(),
            flags=re.MULTILINE,
        )
        found += lines
    return list(dict.fromkeys(found))


class Parsed(BaseException):
    """Raised once a command line is understood."""


def understood(monkeypatch, module: str, flags: list[str]) -> None:
    """Have a script's main read its flags, and no more."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, *args):
        parse(self, *args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr("utils.config_flag.read_table", lambda path, flag: {})  # it is not here
    monkeypatch.setattr(sys, "argv", [module, *flags])
    with pytest.raises(Parsed):
        importlib.import_module(module).main()


@pytest.mark.parametrize("command", commands())
def test_command_parses(command, monkeypatch):
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert words[0] in targets
    elif program == "pip":
        assert words[0] == "install"
        for file in words[words.index("-r") + 1 :] if "-r" in words else ():
            assert (ROOT / file).is_file()
    else:
        if program == "torchrun":
            words = [word for word in words if not word.startswith("--nproc")]
        name, *flags = words[1:] if words[0] == "-m" else words
        if "graph_everywhere" in command or "also_had" in command or "last_layer" in command:
            pytest.skip("an example of docs/extending.md, run by tests/test_extending.py")
        understood(monkeypatch, name.removesuffix(".py"), flags)


def test_there_are_commands_of_every_script():
    text = "\n".join(commands())
    for script in ROOT.glob("*.py"):
        assert f"python {script.name}" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_are_there(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
    for path in re.findall(
        r"`((?:modules|utils|tests|benchmarks|docs)/[\w/]+\.(?:py|md|sh))`", text
    ):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"python -m ((?:modules|utils|benchmarks)[\w.]+)", text):
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file(), module
    assert "../shared" not in text


def test_the_map_of_the_code_names_every_file():
    text = (ROOT / "docs" / "code.md").read_text().split("## Files by package", 1)[1]
    named, folder = set(), ""
    for line in text.splitlines():
        if head := re.match(r"`((?:modules|utils)[\w/]*?)/?`", line):
            folder = f"{head[1]}/"
        if row := re.match(r"\| (`.*?) \|", line):
            named |= {folder + name for name in re.findall(r"`([\w/]+\.py)`", row[1])}
    files = [path for top in ("modules", "utils") for path in (ROOT / top).rglob("*.py")]
    files = [path for path in files if path.name != "__init__.py"] + [*ROOT.glob("*.py")]
    assert named == {str(path.relative_to(ROOT)) for path in files}


def test_readme_is_short_and_one_version_everywhere():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
    assert f"version: {VERSION}" in (ROOT / "CITATION.cff").read_text()
    assert f"[{VERSION}]" in (ROOT / "CHANGELOG.md").read_text()
