"""How varied generated explanations are, and what they say of features; pure functions.

Fractions, not per cent, as this line of work prints them: NETE (Li, Zhang & Chen, "Generate
Neural Template Explanations for Recommendation", CIKM 2020) defines USR, FMR, FCR and DIV, PETER
(Li, Zhang & Chen, ACL 2021) and what follows it keep them. Texts are split at white space. A
feature is shown where its words are in the text, in a row and whole.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from utils.metrics.text import ngrams

Words = tuple[str, ...]


def distinct_n(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams over all n-grams of all texts (Li et al. 2016, arXiv 1510.03055).

    None where no text has n words.
    """
    grams = [gram for text in texts for gram in ngrams(text.split(), n)]
    return len(set(grams)) / len(grams) if grams else None


def unique_sentence_ratio(texts: Sequence[str]) -> float:
    """USR = |set of the texts| / N; how many spaces are between words does not matter."""
    if not texts:
        raise ValueError("no texts: there is nothing to average over")
    return len({tuple(text.split()) for text in texts}) / len(texts)


def feature_matching_ratio(texts: Sequence[str], features: Sequence[str]) -> float | None:
    """FMR = 1/N sum [the text shows the feature of its own record].

    Records without a feature ("") are left out of N; None where no record has one.
    """
    if len(texts) != len(features):
        raise ValueError(
            f"{len(texts)} texts and {len(features)} features; each text must have one"
        )
    named = [(text, tuple(feature.split())) for text, feature in zip(texts, features)]
    hits = [bool(shown(text, {feature})) for text, feature in named if feature]
    return sum(hits) / len(hits) if hits else None


def feature_coverage(texts: Sequence[str], all_features: Collection[str]) -> float:
    """FCR = different features shown in any text / all features of the data set."""
    features = _named(all_features)
    return len(set().union(*(shown(text, features) for text in texts))) / len(features)


def feature_diversity(texts: Sequence[str], all_features: Collection[str]) -> float:
    """DIV = 2 / (N (N - 1)) sum over pairs of texts |features that both show|; lower is better.

    Counted by feature: one that n texts show is shared by n (n - 1) / 2 pairs.
    """
    if len(texts) < 2:
        raise ValueError(f"{len(texts)} texts: diversity is about pairs of them")
    features = _named(all_features)
    times = Counter(feature for text in texts for feature in shown(text, features))
    pairs = len(texts) * (len(texts) - 1) / 2
    return sum(n * (n - 1) / 2 for n in times.values()) / pairs


def shown(text: str, features: Collection[Words]) -> set[Words]:
    """Those of the features (tuples of words) that are in the text, their words in a row."""
    words = text.split()
    runs = {run for n in set(map(len, features)) for run in ngrams(words, n)}
    return runs.intersection(features)


def explanation_metrics(
    texts: Sequence[str], features: Sequence[str], all_features: Collection[str]
) -> dict[str, float]:
    """All of the above by name, but for those that these texts say nothing about; those of features
    only where the data set names features.

    Args:
        texts: N generated texts.
        features: the feature of each text's record, "" where it has none.
        all_features: the features of the whole data set.
    """
    scores: dict[str, float | None] = {f"distinct-{n}": distinct_n(texts, n) for n in (1, 2)}
    scores["USR"] = unique_sentence_ratio(texts)
    if any(feature.strip() for feature in all_features):
        scores["FMR"] = feature_matching_ratio(texts, features)
        scores["FCR"] = feature_coverage(texts, all_features)
        if len(texts) > 1:  # there is no pair of one text
            scores["DIV"] = feature_diversity(texts, all_features)
    return {name: score for name, score in scores.items() if score is not None}


def _named(features: Collection[str]) -> set[Words]:
    named = {tuple(feature.split()) for feature in features} - {()}
    if not named:
        raise ValueError("no features: the data set names none")
    return named
