"""Explanations from reviews: the sentences that mention a feature of the item.

The published sets took features (screen, battery life) and their sentences from Sentires, a tool
that we may not ship. The rule here, for English:

1. Features are learned from a sample of reviews (of train pairs only: explanations.py). Each word
   is tagged with its part of speech by TextBlob's pattern tagger, a lexicon and rules inside its
   package. A word is a noun if it is tagged so in more than half of its places and follows an
   article, a possessive or an adjective, nouns between them allowed, in a fifth of them:
   "the price", "my hair", "nice body wash", but "I love", "it works". Both are shares of its
   places in a review, averaged over reviews: one that repeats a word a hundred times counts once.
2. A noun is a feature if it is in at least MIN_SHARE of the sample's reviews (and in MIN_REVIEWS
   of them), has three letters or more, and is not one of the EMPTY_NOUNS, which could be said of
   anything. Two nouns side by side are a feature too, if neither is empty. Of nouns and of pairs
   the MAX_FEATURES most frequent are taken.
3. A review's explanation is its first sentence of MIN_WORDS to MAX_WORDS words that mentions a
   feature. The feature is the sentence's first pair, else its first noun.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from modules.preparation.crew import Crew, batches_of
from modules.preparation.extras import require
from modules.preparation.markup import plain_text

SAMPLE = 20_000  # reviews to learn features from: tagging them takes half a minute
_TAGGED = 500  # of them at once
MIN_SHARE = 0.001
MIN_REVIEWS = 5
MAX_FEATURES = 1000
MIN_WORDS, MAX_WORDS = 4, 30  # the model reads 20 pieces of an explanation by default

_EMPTY = """
    amazon anyone anything bit boyfriend case couple daughter day days deal everyone everything
    fact friend friends girlfriend guess hour hours husband idea issue issues item items kind lot
    lots matter minute minutes mom moment month months morning mother nothing one ones other others
    part people person place plus problem problems product products reason review reviews rest side
    someone something son sort star stars stuff thank thanks thing things time times today tomorrow
    top try use way ways week weeks while wife year years yesterday
"""
EMPTY_NOUNS = frozenset(_EMPTY.split())
# What Amazon fills in as a title where the writer gave none.
NO_TITLE = re.compile(r"(?:one|two|three|four|five) stars?", re.IGNORECASE)

# What begins with a blank is found several times as fast as what begins with a look back.
_END = re.compile(r" (?:(?<=[.!?] )|(?<=[.!?][\"')\]] ))")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# Of a sentence of ASCII without ' and -, which may stand inside a word: all but letters as blanks.
_BLANKS = {k: " " for k in range(128) if not chr(k).isalpha()}
_NOUN_TAGS = ("NN", "NNS", "NNP", "NNPS")
# Tags of what comes before a noun; not "this" and "that": verbs follow them too.
_BEFORE_NOUN = ("DT", "PRP$", "JJ", "JJR", "JJS")


class Features(NamedTuple):
    """What counts as a feature, in lower case."""

    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]


def sentences(text: str) -> list[str]:
    """A text's sentences, without markup, each run of white space as one blank."""
    text = plain_text(text)
    if text.isprintable() and "  " not in text:  # of white space it has single blanks only
        return [part for part in _END.split(text.strip(" ")) if part]
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [part for line in lines for part in _END.split(line) if part]


class ReviewCounts(NamedTuple):
    """What a review adds to ``_Counts``."""

    words: list[str]  # each once
    as_noun: list[float]  # of each, its share of places
    after_lead: list[float]
    pairs: set[tuple[str, str]]


def count_review(tagged_sentences: Iterable[list[tuple[str, str]]]) -> ReviewCounts:
    """The counts of a review: (word, tag) by sentence."""
    places: Counter[str] = Counter()
    as_noun: Counter[str] = Counter()
    after_lead: Counter[str] = Counter()
    pairs: set[tuple[str, str]] = set()
    for tagged in tagged_sentences:
        before, before_is_noun, lead = "", False, False
        for form, tag in tagged:
            word, is_noun = form.lower(), tag in _NOUN_TAGS
            places[word] += 1
            as_noun[word] += is_noun
            after_lead[word] += lead
            if is_noun and before_is_noun and word != before:
                pairs.add((before, word))
            before, before_is_noun = word, is_noun
            lead = (tag in _BEFORE_NOUN and word not in ("this", "that")) or (lead and is_noun)
    return ReviewCounts(
        list(places),
        [as_noun[word] / n for word, n in places.items()],
        [after_lead[word] / n for word, n in places.items()],
        pairs,
    )


class _Counts:
    """Counts over the sample, in reviews: with a word, or with a pair. Where a word is a noun in a
    third of its places, the review counts as a third."""

    def __init__(self) -> None:
        self.n_reviews = 0
        self.as_noun: Counter[str] = Counter()
        self.after_lead: Counter[str] = Counter()  # after an article, possessive or adjective
        self.reviews_of_word: Counter[str] = Counter()
        self.reviews_of_pair: Counter[tuple[str, str]] = Counter()

    def add(self, review: ReviewCounts) -> None:
        """Add a review's."""
        self.n_reviews += 1
        for word, as_noun, after_lead in zip(review.words, review.as_noun, review.after_lead):
            self.as_noun[word] += as_noun
            self.after_lead[word] += after_lead
        self.reviews_of_word.update(review.words)
        self.reviews_of_pair.update(review.pairs)

    def is_feature(self, word: str) -> bool:
        """Rules 1 and 2, except for the frequency and ``is_led``."""
        return (
            2 * self.as_noun[word] > self.reviews_of_word[word]
            and len(word) > 2
            and word not in EMPTY_NOUNS
            and _WORD.fullmatch(word) is not None
        )

    def is_led(self, word: str) -> bool:
        """Does it follow an article, a possessive or an adjective in a fifth of its places?"""
        return 5 * self.after_lead[word] >= self.reviews_of_word[word]


def require_tagger() -> None:
    """UserError where textblob, which tags parts of speech, is not installed."""
    require(
        "textblob",
        "Explanations",
        "Or write none: --explanation none (summary needs it too, for the features of titles).",
    )


def count_reviews(texts: Iterable[str]) -> list[ReviewCounts]:
    """The counts of each review."""
    from textblob.en.taggers import PatternTagger  # takes a second

    tagger = PatternTagger()
    return [count_review(map(tagger.tag, sentences(text))) for text in texts]


def learn_features(texts: Iterable[str], crew: Crew | None = None) -> Features:
    """The features of a sample of reviews, by the rule above. Raises UserError without textblob."""
    require_tagger()
    counts = _Counts()
    for reviews in (crew or Crew()).map(count_reviews, batches_of(texts, _TAGGED), worth=4):
        for review in reviews:
            counts.add(review)
    least = max(MIN_REVIEWS, MIN_SHARE * counts.n_reviews)
    words = {
        word: n
        for word, n in counts.reviews_of_word.items()
        if n >= least and counts.is_feature(word) and counts.is_led(word)
    }
    pairs = {
        (one, two): n
        for (one, two), n in counts.reviews_of_pair.items()
        if n >= least and counts.is_feature(one) and two in words
    }
    return Features(frozenset(_most(words)), frozenset(_most(pairs)))


def _most(counts: dict) -> list:
    """The most frequent keys. Equal counts are in the order of their keys."""
    return sorted(counts, key=lambda key: (-counts[key], key))[:MAX_FEATURES]


def _mentioned(words: list[str], features: Features) -> str:
    """The feature that the words of a sentence mention: the first pair, else the first noun, else
    ""."""
    # Most sentences mention none. A test of all words at once finds that several times faster.
    if not features.pairs.isdisjoint(pairwise(words)):
        return " ".join(next(pair for pair in pairwise(words) if pair in features.pairs))
    if not features.words.isdisjoint(words):
        return next(word for word in words if word in features.words)
    return ""


def sentence_explanations(review: list[str], features: Features) -> Iterator[tuple[str, str]]:
    """(sentence, feature) of a review's sentences: of each that fits the rule, in their order."""
    for sentence in review:
        words = _words(sentence)
        if MIN_WORDS <= len(words) <= MAX_WORDS:
            feature = _mentioned(words, features)
            if feature:
                yield sentence, feature


def _words(sentence: str) -> list[str]:
    """In small letters. The second way is the rule, the first the same for most sentences."""
    sentence = sentence.lower()
    if sentence.isascii() and "'" not in sentence and "-" not in sentence:
        return sentence.translate(_BLANKS).split()
    return _WORD.findall(sentence)


def title_explanations(title: list[str], features: Features) -> Iterator[tuple[str, str]]:
    """(title, feature or "") of a title's sentences; none without a title, or with one filled in by
    Amazon."""
    text = " ".join(title)
    if text and not NO_TITLE.fullmatch(text):
        yield text, _mentioned(_words(text), features)
