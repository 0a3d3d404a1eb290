"""Features and sentences by the rule, worked out by hand."""

import pytest

from modules.preparation.features import Features, explanation, learn_features, sentences, summary

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
        ("I like it a lot. The price is very good.", ("The price is very good.", "price")),
        ("My hair likes this Body Wash.", ("My hair likes this Body Wash.", "body wash")),
        (
            "Good price! My hair is soft now.",
            ("My hair is soft now.", "hair"),
        ),  # 2 words: too short
        ("Hair " + "and more " * 20, None),  # too long
        ("I like the pricey one best.", None),
        ("", None),
    ],
)
def test_explanation(review, expected):
    assert explanation(review, FEATURES) == expected


def test_summary():
    assert summary("Great price", FEATURES) == ("Great price", "price")
    assert summary("Lovely", FEATURES) == ("Lovely", "")
    assert summary("Five Stars", FEATURES) is None
    assert summary("  ", FEATURES) is None


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
