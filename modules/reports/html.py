"""Pieces of a page: escaped text, tables, figures, and the one style sheet. No script anywhere.

Every text is escaped unless it is ``Html``, which only functions here and plots make.
"""

from collections.abc import Iterable, Sequence
from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Anything as escaped text; ``Html`` as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *content: object, kind: str = "") -> Html:
    """``<name class="kind">content</name>``; content is escaped unless it is Html."""
    opened = f'<{name} class="{kind}">' if kind else f"<{name}>"
    return Html(opened + "".join(text(part) for part in content) + f"</{name}>")


def join(parts: Iterable[object]) -> Html:
    """Pieces one after another."""
    return Html("\n".join(text(part) for part in parts))


def unbroken(words: Iterable[object]) -> Html:
    """Words between spaces; a line may break at these, but not at a word's hyphens."""
    return Html(" ".join(tag("span", word, kind="word") for word in words))


def section(title: str, *content: object) -> Html:
    """A section with its heading; nothing where there is no content."""
    body = join(part for part in content if part)
    return tag("section", tag("h2", title), body) if body else Html("")


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    kinds: Sequence[str] = (),
    kind: str = "wide",
) -> Html:
    """A table that scrolls sideways by itself; cells from the second on are set as figures.

    Args:
        header, rows: the cells.
        kinds: a class for each row, where rows differ.
        kind: ``wide``, or ``settings``, whose cells break where they must.
    """
    head = tag("tr", *(tag("th", cell) for cell in header))
    body = [
        tag("tr", tag("th", row[0]), *(tag("td", cell) for cell in row[1:]), kind=kind)
        for row, kind in zip(rows, kinds or _no_kinds())
    ]
    inner = tag("table", tag("thead", head), tag("tbody", join(body)))
    return tag("div", inner, kind=kind)


def _no_kinds() -> Iterable[str]:
    while True:
        yield ""


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """A list of terms and what they are."""
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in rows))


def figures(plots: Iterable[str]) -> Html:
    """SVG plots side by side, below each other on a narrow page."""
    shown = [tag("figure", Html(plot)) for plot in plots]
    return tag("div", *shown, kind="figures") if shown else Html("")


def page(title: str, *content: object) -> str:
    """A whole file that needs no other one."""
    body = join(part for part in content if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever a text may smuggle in: a browser runs and fetches nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{tag('main', body)}\n</body>\n</html>\n"
    )


_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #222; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 2px solid #ddd; }
h3 { font-size: 1.02rem; margin: 1.3rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .7rem; max-width: 46rem; }
.lead, .note { color: #555; }
.note { font-size: .88rem; }
.warning { border-left: 4px solid #d6604d; background: #fdf3f0; padding: .4rem .8rem; }
code { font: .86rem/1.45 ui-monospace, monospace; background: #f5f5f5; padding: .1rem .3rem;
  overflow-wrap: anywhere; }
dl { margin: .4rem 0; }
dl > div { display: grid; grid-template-columns: 11.5rem 1fr; gap: .7rem; padding: .12rem 0; }
dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .5rem 0; }
.settings { margin: .5rem 0 1.2rem; }
.settings td, .settings th { white-space: normal; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .7rem .22rem 0; border-bottom: 1px solid #e8e8e8; text-align: left;
  vertical-align: top; font-weight: normal; white-space: nowrap; }
thead th { color: #555; border-bottom-color: #bbb; }
td { text-align: right; }
thead th + th { text-align: right; }
tr.own th, tr.own td { font-weight: 600; background: #eef4fb; }
tr.published th, tr.published td { font-style: italic; color: #555; }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; margin-top: .8rem; }
figure { margin: 0; flex: 0 1 346px; min-width: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
  gap: 1rem; }
article { border: 1px solid #ddd; border-radius: 6px; padding: .2rem .9rem .7rem;
  break-inside: avoid; min-width: 0; }
article h4 { margin: .7rem 0 .2rem; font-size: .85rem; color: #555; font-weight: 600; }
ol { margin: 0; padding-left: 1.7rem; font-size: .9rem; }
li { overflow-wrap: anywhere; }
li.hit { font-weight: 600; background: #e6f4e6; }
.chance { color: #777; float: right; font-variant-numeric: tabular-nums; font-weight: normal; }
.word { display: inline-block; max-width: 100%; }
.items { font-size: .9rem; overflow-wrap: anywhere; }
blockquote { margin: .2rem 0; padding-left: .7rem; border-left: 3px solid #ccc; font-size: .92rem;
  overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  body { font-size: 15px; }
  main { padding: 1rem .8rem 2rem; }
  dl > div { grid-template-columns: 1fr; gap: 0; padding: .25rem 0; }
  th, td { padding-right: .4rem; font-size: .8rem; }
  thead th { font-size: .72rem; }
  tbody th { white-space: normal; }
}
@media print {
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  figure { flex-basis: 46%; }
  .wide { overflow: visible; }
  th, td { white-space: normal; font-size: 8.5pt; }
}
"""
