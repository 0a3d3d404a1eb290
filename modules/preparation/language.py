"""Which reviews are in English, by py3langid: letters in, a share of each language out, no network.

Short texts look like anything ("Excellent product." like French), so a text counts as foreign only
if another language is several times as likely as English. Of 6,743 sentences and titles of English
reviews of beauty products, six are taken for foreign ones: names mostly, and a Spanish one.

``is_foreign`` says what is right. ``are_foreign`` weighs many texts at once with the same model,
twenty times as fast, and asks it where the answer is a near thing.
"""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modules.preparation.extras import require

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier
    from scipy.sparse import csr_array

LANGUAGES = ("en", "any")  # values of --language
READ = 300  # characters of a text that are looked at
FEWEST = 6  # bytes of a text of which a language can be told: more than "yum" and "love" have
TIMES = 8  # as likely as English: what another language must be

_AT_ONCE = 2048  # texts
_MARGIN = 0.002  # of the logarithm of TIMES: rounding makes less than a fiftieth of it
_KNOWN = "0.4."  # versions of py3langid whose model is as ``_model`` reads it

# What is told from English. Of others, a text is taken for the nearest of these: Frisian for Dutch.
_TOLD_APART = """
    ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk
    sl sr sv ta te th tl tr uk ur vi zh
"""


def require_language(language: str) -> None:
    """UserError where py3langid is needed and not installed. language: of LANGUAGES."""
    if language == "en":
        require("py3langid", "Explanations in English only", "Or take all: --language any.")


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes half a second

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(_TOLD_APART.split())
    return identifier


def is_foreign(text: str) -> bool:
    """Is a text, without markup, in a language that is not English? No where that is unsure."""
    text = text[:READ]
    if len(text.encode()) < FEWEST:
        return False
    ranked = _identifier().rank(text)
    language, share = ranked[0]
    return language != "en" and share > TIMES * dict(ranked)["en"]


class _Model(NamedTuple):
    """py3langid's: an automaton over bytes, some of whose S states are one of F features, and
    naive Bayes over these: the log of each count, times weights."""

    rows: np.ndarray  # (S,) int32: where the moves from a state begin
    moves: np.ndarray  # row + byte -> the next state
    feature: np.ndarray  # (S,) int32; F: none
    weights: np.ndarray  # (F, languages) float32, less those of English
    prior: np.ndarray  # (languages,) float32, likewise
    others: np.ndarray  # columns of the languages that are not English
    same: list[tuple[int, int]]  # columns that are one language


@cache
def _model() -> _Model | None:
    """None where the package has a version that is not known here."""
    if not version("py3langid").startswith(_KNOWN):
        return None
    known = _identifier()
    english = known.nb_classes.index("en")
    weights = known.nb_ptc.astype(np.float32)
    first, same = {}, []
    for column, language in enumerate(known.nb_classes):
        if first.setdefault(language, column) != column:
            same.append((first[language], column))
    feature = np.array(known.tk_output, dtype=np.int32)
    return _Model(
        np.array(known.tk_row, dtype=np.int32) << 8,
        np.array(known.tk_nextmove, dtype=np.int32),
        np.where(feature < 0, np.int32(len(weights)), feature),
        np.ascontiguousarray(weights - weights[:, [english]]),
        known.nb_pc - known.nb_pc[english],
        np.delete(np.arange(len(known.nb_classes)), english),
        same,
    )


def are_foreign(texts: Sequence[str]) -> list[bool]:
    """``is_foreign`` of each."""
    model = _model()
    if model is None:
        return list(map(is_foreign, texts))
    found = np.zeros(len(texts), dtype=bool)
    long = [k for k, text in enumerate(texts) if len(text.encode()) >= FEWEST]
    for start in range(0, len(long), _AT_ONCE):
        part = long[start : start + _AT_ONCE]
        foreign, sure = _weigh([_as_bytes(texts[k][:READ]) for k in part], model)
        found[part] = foreign
        for k in np.flatnonzero(~sure).tolist():
            found[part[k]] = is_foreign(texts[part[k]])
    return found.tolist()


def _as_bytes(text: str) -> bytes:
    """As py3langid reads a text."""
    if text.isupper():
        text = text.lower()
    return text.encode() if text.isascii() else unicodedata.normalize("NFC", text).encode()


def _weigh(texts: list[bytes], model: _Model) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool: is each foreign? (n,) bool: is that sure?"""
    lengths = np.array(list(map(len, texts)))
    order = np.argsort(-lengths, kind="stable")
    counts = _counts(b"".join([texts[k] for k in order]), lengths[order], model)
    odds = counts @ model.weights + model.prior
    odds /= np.sqrt(np.maximum(lengths[order], 1))[:, None].astype(np.float32)
    for one, other in model.same:
        odds[:, one] = np.logaddexp(odds[:, one], odds[:, other])
    best = np.empty(len(texts), dtype=np.float32)
    best[order] = odds[:, model.others].max(axis=1)
    none = np.empty(len(texts), dtype=bool)  # no feature: nothing speaks against English
    none[order] = np.diff(counts.indptr) == 0
    return (best > math.log(TIMES)) & ~none, (np.abs(best - math.log(TIMES)) > _MARGIN) | none


def _counts(joined: bytes, lengths: np.ndarray, model: _Model) -> "csr_array":
    """(n, F): log(1 + places of each feature). lengths: (n,) of the texts, the longest first."""
    from scipy.sparse import csr_array  # takes a while

    nothing = len(model.weights)
    steps = np.arange(lengths[0] if len(lengths) else 0)
    inside = steps < lengths[:, None]
    letters = np.zeros(inside.shape, dtype=np.uint8)
    letters[inside] = np.frombuffer(joined, dtype=np.uint8)
    letters = np.ascontiguousarray(letters.T)
    going = np.searchsorted(-lengths, -steps)  # texts that are longer than each step
    visited = np.zeros(letters.shape, dtype=np.int32)
    state, move = np.zeros((2, len(lengths)), dtype=np.int32)
    for step, n in enumerate(going.tolist()):
        move = np.take(model.rows, state[:n], out=move[:n], mode="clip")
        move += letters[step, :n]
        state = np.take(model.moves, move, out=visited[step, :n], mode="clip")
    feature = model.feature[np.ascontiguousarray(visited.T)]
    feature[~inside] = nothing
    feature.sort(axis=1)
    is_first = np.ones(feature.shape, dtype=bool)
    np.not_equal(feature[:, 1:], feature[:, :-1], out=is_first[:, 1:])
    first = np.flatnonzero(is_first)
    count, feature = np.diff(first, append=feature.size), feature.ravel()[first]
    is_feature = feature < nothing
    count, feature = count[is_feature], feature[is_feature]
    ends = np.cumsum(is_first.sum(axis=1))
    starts = np.concatenate([[0], np.cumsum(is_feature)[ends - 1]]) if len(ends) else [0]
    logs = np.log1p(np.arange(len(steps) + 1, dtype=np.float32))
    return csr_array((logs[count], feature, starts), shape=(len(lengths), nothing))
