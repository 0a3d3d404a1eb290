"""Markup goes, text stays; whatever the text is, in time in proportion to its length."""

import html
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.preparation.features import sentences
from modules.preparation.markup import plain_text
from tests.fuzz import examples

EXAMPLES = examples(100)

WHOLE = [
    "Rated the scent 5 < 10 but the bottle > the rest of it.",
    "I <3 this, and <the best> of it is 3<4 and 5>4.",
    "For a<b and c>d, x <y and y> z, if p <b and q> r.",
    "It is < br > no tag, nor is <> or </> or <!> or <?>.",
    "The scent <b unclosed and the rest of the text",
    'The scent <a href="unclosed and the rest of the text',
    "The scent <!-- unclosed and the rest of the text",
    "Write to <someone@example.org> or [[nobody]] of [[it",
    "AT&T, R&D; 100 % & more &nonsense;",
]


@pytest.mark.parametrize("text", WHOLE)
def test_what_only_looks_like_markup_stays(text):
    assert plain_text(text) == text


GONE = {
    "The scent is great<br /><br />I like it.": ["The scent is great", "I like it."],
    "<p>One of it</p><p>and two</p>": ["One of it", "and two"],
    "<div class='a'>One</div>two<BR>three<br/>four": ["One", "two", "three", "four"],
    "Good:<ul><li>scent<li>price</ul>so.": ["Good:", "scent", "price", "so."],
    "<h1>Good</h1>It is<hr noshade width=5>so<td nowrap>now": ["Good", "It is", "so", "now"],
    "A <b>body</b> <i>wash</i>, un<em>believ</em>able.": ["A body wash, unbelievable."],
    """My <a href="//x.org/?a=1&b=>" title='it'>hair</a><img src=a.png>is""": ["My hair is"],
    "It<span a='b'> is&nbsp;&quot;good&quot; &#38; I&#x27;m</span>": ['It is "good" & I\'m'],
    "Dry&lt;br /&gt;hair &amp;quot;here&amp;quot; &lt; it": ["Dry", 'hair "here" < it'],
    "One<!-- two > <b> -->.<script>if (a<b) x('</p>')</script> Two": ["One .", "Two"],
    "One <STYLE media=all>p {color: red}</style >two": ["One two"],
    "One <script>two and no end": ["One two and no end"],
    "<!DOCTYPE html><html><body>One</body></html>": ["One"],
    "[[VIDEOID:3f6b1e0aa]]The scent of it.": ["The scent of it."],
    "One [[VIDEOID:https://x.org/a b]] two [[VIDEOID:cut": ["One two"],
    "See [[ASIN:B000GLRREU A soap [2 pack]]] or [[asin:B01]] it": ["See A soap [2 pack] or it"],
    "One\x00\x1b]0;two\x07 \x9b1m": ["One ]0;two 1m"],
    f"One &#{'9' * 5000}; two &#x{'f' * 5000}; three": ["One two three"],
}


@pytest.mark.parametrize("text", GONE)
def test_markup_goes(text):
    assert sentences(text) == GONE[text]


PARTS = (
    "< > / & ; # \" ' = ! - [[ ]] [ ] : <b> </b> <br/> <p <a\thref= <!-- --> <script> </script> "
)
PARTS += (
    "[[ASIN: [[VIDEOID: &lt; &amp; &#38; &#x <!doctype <?xml word 5 é 中 \ud800 \x00 \x1b \u2028"
)
SOUP = st.lists(st.sampled_from([*PARTS.split(" "), " ", "\n"]) | st.text(max_size=3)).map("".join)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SOUP)
def test_any_soup_is_read(text):
    for sentence in sentences(text):
        assert sentence == " ".join(sentence.split())
        assert not set(sentence) & set(map(chr, [*range(32), *range(127, 160)]))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.from_regex(r"[\w.,!?;:()'\"5<> -]{1,12}", fullmatch=True)))
def test_words_that_are_not_in_tags_all_stay(words):
    """Escaped by the standard library, whatever they hold, they come back."""
    text = " ".join(f"w{word} ." for word in words).replace("<", "< ").replace(">", " >")
    assert plain_text(html.escape(text)) == text
    assert plain_text(f"<p>{html.escape(text)}</p>") == f"\n{text}\n"


ALWAYS_OPEN = [
    *("<", "<a", "<a ", "<a b=", '<a b="', "<a b='", "<a b=1 ", "<td nowrap ", "<!--", "<script>"),
    *("<style>", "</", "<br", "<!doctype ", "[[", "[", "]]", "[[ASIN:", "[[ASIN: [", "[[ASIN: [a]"),
    *(
        "[[VIDEOID:",
        "[[VIDEOID: ",
        "&",
        "&#",
        "&#x",
        "&#9",
        "&amp;",
        "&nonsense",
        '"',
        "'",
        " ",
        ".",
    ),
    *(". ", "\t", "\n", "\x00", "a-", "a'", "-->", ">", "<p>", "<b>", "é"),
]


@pytest.mark.parametrize("part", ALWAYS_OPEN)
def test_time_is_in_proportion_to_the_text(part):
    """200,000 characters: a quadratic pattern takes minutes for them."""
    text = part * (200_000 // len(part))
    started = time.process_time()
    for before, after in (("", ""), ("<a ", ">"), ("<a b=", ">"), ("[[ASIN:", "]")):
        sentences(before + text + after)
    assert time.process_time() - started < 10
