"""Features and sentences by the rule, worked out by hand."""

import pytest

from modules.preparation.features import (
    Features,
    learn_features,
    sentence_explanations,
    sentences,
    title_explanations,
)

FEATURES = Features(frozenset({"price", "wash", "hair"}), frozenset({("body", "wash")}))


def test_sentences():
    text = 'It\'s <b>good</b>&nbsp;stuff!  He said "buy it." So I did...\nNo.5 is  3.5 oz? Yes'
    assert sentences(text) == [
        "It's good stuff!",
        'He said "buy it."',
        "So I did...",
        "No.5 is 3.5 oz?",
        "Yes",
    ]
    assert sentences(" \n ") == []


@pytest.mark.parametrize(
    ("review", "expected"),
    [
        ("I like it a lot. The price is very good.", [("The price is very good.", "price")]),
        ("My hair likes this Body Wash.", [("My hair likes this Body Wash.", "body wash")]),
        (
            "Good price! My hair is soft now.",
            [("My hair is soft now.", "hair")],
        ),  # 2 words: too short
        (
            "The price is very good. So is my hair now.",
            [("The price is very good.", "price"), ("So is my hair now.", "hair")],
        ),
        ("Hair " + "and more " * 20, []),  # too long
        ("I like the pricey one best.", []),
        ("", []),
    ],
)
def test_sentence_explanations(review, expected):
    assert list(sentence_explanations(sentences(review), FEATURES)) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Great<br />price", [("Great price", "price")]),
        ("Lovely", [("Lovely", "")]),
        ("Five Stars", []),
        ("  ", []),
    ],
)
def test_title_explanations(title, expected):
    assert list(title_explanations(sentences(title), FEATURES)) == expected


def test_learning():
    """Nouns that are frequent, and said of a thing: no verbs, no rare and no empty nouns."""
    texts = ["I love the scent of my shower gel.", "It works well and the price is great."] * 5
    texts += ["The lid of the bottle broke.", "A nice thing, this product."] * 4
    features = learn_features(texts + ["The thing is the thing."] * 5)
    assert {"scent", "price", "gel"} <= features.words
    assert ("shower", "gel") in features.pairs
    assert not {"love", "works", "well", "great", "thing", "lid", "bottle"} & features.words


def test_a_review_counts_once():
    assert "scent" not in learn_features(["the scent, the scent, the scent"] * 4).words
    assert "scent" in learn_features(["the scent, the scent, the scent"] * 5).words


def test_a_review_that_repeats_a_word_does_not_make_it_a_feature():
    """Ten say "I smile", which follows no article; one says "the smile" a thousand times."""
    others = ["I smile when I see the bottle.", "You smile, they smile, we smile."] * 5
    assert "smile" in learn_features(["The smile of the bottle is nice."] * 6).words
    assert "smile" not in learn_features([*others, "The smile. " * 1000]).words
