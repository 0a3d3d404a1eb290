"""Pages of HTML from jinja2 templates. The one shell of all pages is templates/page.html.

A page is one file: the style sheet is inside, plots are data of ``<img>``, and the shell's
Content-Security-Policy forbids scripts and anything from elsewhere.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_SHELL = Path(__file__).parent / "templates"
# How our pages began before they were sealed (utils/own_files.py).
OLDER_PAGES = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'unsafe-inline'; img-src data:\">\n",
)


def render(template: Path, **values: object) -> str:
    """Fill in a template; every value is escaped.

    Args:
        template: its file. It extends ``page.html``, and may import files of its own folder.
        values: by name; ``title`` is for the shell.

    Raises:
        jinja2.UndefinedError: where a template uses a name that has no value.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _SHELL]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["commas"] = "{:,}".format  # 1234 -> 1,234
    return environment.get_template(template.name).render(values)
