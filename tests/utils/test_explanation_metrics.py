"""Variety and features of texts against numbers worked out by hand, and over all pairs."""

from itertools import combinations

import numpy as np
import pytest

from utils.metrics.explanation import (
    distinct_n,
    explanation_metrics,
    feature_coverage,
    feature_diversity,
    feature_matching_ratio,
    shown,
    unique_sentence_ratio,
)

TEXTS = ["the scent is good", "the scent is good", "good battery life", "a colour"]
FEATURES = {"scent", "battery life", "price", "life"}


def test_distinct_by_hand():
    # 13 words of 8 kinds; 3 + 3 + 2 + 1 pairs of 6 kinds.
    assert distinct_n(TEXTS, 1) == pytest.approx(8 / 13)
    assert distinct_n(TEXTS, 2) == pytest.approx(6 / 9)
    assert distinct_n(["word"], 2) is None


def test_unique_sentences_by_hand():
    assert unique_sentence_ratio([*TEXTS, "a  colour"]) == 3 / 5
    with pytest.raises(ValueError, match="no texts"):
        unique_sentence_ratio([])


def test_features_are_whole_words_in_a_row():
    features = {("scent",), ("battery", "life"), ("bat",)}
    assert shown("battery life of scents", features) == {("battery", "life")}
    assert shown("life battery", features) == set()


def test_matching_by_hand():
    # Yes, no, yes, and a record without a feature.
    assert feature_matching_ratio(TEXTS, ["scent", "price", "battery life", ""]) == 2 / 3
    with pytest.raises(ValueError, match="4 texts and 1 features"):
        feature_matching_ratio(TEXTS, ["scent"])


def test_coverage_by_hand():
    assert feature_coverage(TEXTS, FEATURES) == 3 / 4
    with pytest.raises(ValueError, match="names none"):
        feature_coverage(TEXTS, {""})


def test_diversity_by_hand_and_over_all_pairs():
    # Of 6 pairs only the first two texts share a feature.
    assert feature_diversity(TEXTS, FEATURES) == pytest.approx(1 / 6)
    generator = np.random.default_rng(0)
    names = [f"f{i}" for i in range(6)]
    texts = [" ".join(generator.choice(names, generator.integers(1, 6))) for _ in range(30)]
    pairs = [len(set(a.split()) & set(b.split())) for a, b in combinations(texts, 2)]
    assert feature_diversity(texts, names) == pytest.approx(np.mean(pairs))


def test_figures_of_features_only_where_there_are_features():
    assert explanation_metrics(TEXTS, [""] * 4, [""]).keys() == {"distinct-1", "distinct-2", "USR"}
    assert {"FMR", "FCR", "DIV"} <= explanation_metrics(TEXTS, ["scent"] * 4, FEATURES).keys()


def test_what_texts_say_nothing_about_is_left_out():
    found = explanation_metrics(["", "word"], ["", ""], ["scent"])
    assert found == {"distinct-1": 1, "USR": 1, "FCR": 0, "DIV": 0}
