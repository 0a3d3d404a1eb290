"""Reviews as plain text: what shops and web pages put between the words is taken out.

Everything here takes time in proportion to the text, whatever is in it, and never raises. That is
why it is not made on Python's ``html.parser``: that one takes quadratic time over ``<a<a<a...``,
drops the end of a text after a comment that is never closed (some versions of Python), and takes
``x <y and y> z`` for a tag.
"""

import html
import re

# Elements that stand apart from the text around them: their tags end a sentence.
_BLOCKS = """
    address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu
    nav ol optgroup option p pre search section select summary table tbody td textarea tfoot th
    thead title tr ul
"""
# Elements within a line: a word can go on across their tags.
_INLINE = """
    a abbr acronym b bdi bdo big blink cite code data del dfn em font i ins kbd label mark nobr o:p
    q rp rt ruby s samp small span strike strong sub sup time tt u var wbr
"""
# Elements that stand between words: pictures, fields, things of the page.
_OBJECTS = """
    applet area audio base button canvas col colgroup datalist embed iframe img input link map meta
    meter noframes noscript object output param picture progress script slot source style svg
    template track video
"""
_INSTEAD = (
    dict.fromkeys(_BLOCKS.split(), "\n")
    | dict.fromkeys(_INLINE.split(), "")
    | dict.fromkeys(_OBJECTS.split(), " ")
)

# An attribute has a value, or is one that HTML knows to have none: "x <b and c> y" is a comparison.
_TAG = re.compile(
    r"""</?([a-z][a-z0-9:]*)
    (?:\s+(?:[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+)
        |(?:allowfullscreen|autoplay|checked|compact|controls|defer|disabled|hidden|loop|muted|noshade
        |nowrap|selected)(?=[\s/>])))*
    \s*/?>""",
    re.IGNORECASE | re.VERBOSE,
)
_PROLOGUE = re.compile(r"<(?:!doctype|\?xml)[^<>]*>", re.IGNORECASE)
_NO_TEXT = [  # what opens a stretch that is not text, and what closes it
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<script[^<>]*>", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style[^<>]*>", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
]
# Amazon's mark of a video; one may be cut off at the end of a text.
_VIDEO = re.compile(r"\[\[VIDEOID:[^\[\]]{0,200}\]\]|\[\[VIDEOID:\S*", re.IGNORECASE)
# Amazon's mark of another product, "[[ASIN:B000123 Its name (2 pack)]]".
_PRODUCT = re.compile(r"\[\[ASIN:((?:[^\[\]]|\[[^\[\]]*\])*)\]\]|\[\[ASIN:\w*", re.IGNORECASE)
# Python refuses to read a number of thousands of digits; no character has more than seven.
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{8,}|x[0-9a-f]{8,});?", re.IGNORECASE)
_ESCAPED_TWICE = 2  # "&amp;quot;" is common in dumps
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]+")


def plain_text(text: str) -> str:
    """A text without markup: entities read; block elements as line ends; comments, scripts, styles
    and the marks of videos gone; of a mark of a product its name. What only looks like markup
    ("5 < 10", "I <3 it", "<the best>") stays, and so does what follows a tag that is never closed.
    """
    if "&" in text:
        for _ in range(_ESCAPED_TWICE):
            text = html.unescape(_NO_CHARACTER.sub(" ", text))
    if "<" in text:
        for opening, closing in _NO_TEXT:
            text = _without(text, opening, closing)
        text = _TAG.sub(_instead, _PROLOGUE.sub(" ", text))
    if "[[" in text:
        text = _PRODUCT.sub(_name, _VIDEO.sub(" ", text))
    return text if text.isprintable() else _CONTROL.sub(" ", text)


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """The text without the stretches from an opening to the next closing. What is never closed
    stays."""
    kept, at = [], 0
    while (start := opening.search(text, at)) and (end := closing.search(text, start.end())):
        kept.append(text[at : start.start()])
        at = end.end()
    return " ".join([*kept, text[at:]])


def _instead(tag: re.Match[str]) -> str:
    """What stands in place of a tag; itself, where HTML has no element of this name."""
    return _INSTEAD.get(tag[1].lower(), tag[0])


def _name(mark: re.Match[str]) -> str:
    """The product's name in its mark, which begins with its number."""
    words = (mark[1] or "").split(maxsplit=1)
    return words[1] if len(words) > 1 else " "
