"""Metrics of generated explanations (SPEC of the P5 / POD line), all in per cent; pure functions.

Texts are split at white space; nothing is lower-cased, stemmed or cleaned.
"""

import math
from collections import Counter
from collections.abc import Sequence

Tokens = Sequence[str]


def ngrams(tokens: Tokens, n: int) -> list[tuple[str, ...]]:
    """All runs of n tokens, in order."""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> list[tuple[Tokens, Tokens]]:
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"{len(hypotheses)} hypotheses against {len(references)} references: "
            "as many of one as of the other are needed, and at least one"
        )
    return [(hyp.split(), ref.split()) for hyp, ref in zip(hypotheses, references)]


def bleu(hypotheses: Sequence[str], references: Sequence[str], max_n: int) -> float:
    """Corpus BLEU of Papineni et al. 2002 with one reference and no smoothing.

    exp(min(0, 1 - r/c)) * (prod_n p_n)^(1/max_n), p_n clipped n-gram precision over the corpus;
    0 where some p_n is 0.
    """
    pairs = _check(hypotheses, references)
    log_precision = 0.0
    for n in range(1, max_n + 1):
        matched = total = 0
        for hyp, ref in pairs:
            found = Counter(ngrams(hyp, n))
            matched += (found & Counter(ngrams(ref, n))).total()
            total += found.total()
        if matched == 0:
            return 0.0
        log_precision += math.log(matched / total) / max_n
    hyp_len = sum(len(hyp) for hyp, _ in pairs)
    ref_len = sum(len(ref) for _, ref in pairs)
    return 100.0 * math.exp(min(0.0, 1.0 - ref_len / hyp_len) + log_precision)


def rouge_n(hypotheses: Sequence[str], references: Sequence[str], n: int) -> dict[str, float]:
    """ROUGE-n over *sets* of n-grams, averaged over sentences: ``{"p": ..., "r": ..., "f": ...}``.

    p = |H & R| / |H|, r = |H & R| / |R|, f = 2pr / (p + r), each 0 where its divisor is 0.
    """
    sums = {"p": 0.0, "r": 0.0, "f": 0.0}
    pairs = _check(hypotheses, references)
    for hyp, ref in pairs:
        hyp_set, ref_set = set(ngrams(hyp, n)), set(ngrams(ref, n))
        both = len(hyp_set & ref_set)
        p = both / len(hyp_set) if hyp_set else 0.0
        r = both / len(ref_set) if ref_set else 0.0
        sums["p"] += p
        sums["r"] += r
        sums["f"] += 2 * p * r / (p + r) if both else 0.0
    return {name: 100.0 * value / len(pairs) for name, value in sums.items()}


def lcs_length(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence, by the textbook table, a row at a time."""
    row = [0] * (len(b) + 1)
    for x in a:
        above_left = 0
        for j, y in enumerate(b, start=1):
            above = row[j]
            row[j] = above_left + 1 if x == y else max(above, row[j - 1])
            above_left = above
    return row[-1]


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """ROUGE-L as this line of work computes it, averaged over sentences.

    With LCS length l: r = l/|ref|, p = l/|hyp|, beta = p/r,
    f = (1 + beta^2) r p / (r + beta^2 p); all 0 where l is 0.
    """
    sums = {"p": 0.0, "r": 0.0, "f": 0.0}
    pairs = _check(hypotheses, references)
    for hyp, ref in pairs:
        length = lcs_length(hyp, ref)
        if length == 0:
            continue
        r, p = length / len(ref), length / len(hyp)
        beta2 = (p / r) ** 2
        sums["p"] += p
        sums["r"] += r
        sums["f"] += (1 + beta2) * r * p / (r + beta2 * p)
    return {name: 100.0 * value / len(pairs) for name, value in sums.items()}


def text_metrics(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The explanation columns of the paper's table, by name, in per cent."""
    scores = {f"BLEU-{n}": bleu(hypotheses, references, n) for n in (1, 4)}
    for name, rouge in (
        ("ROUGE-1", rouge_n(hypotheses, references, 1)),
        ("ROUGE-2", rouge_n(hypotheses, references, 2)),
        ("ROUGE-L", rouge_l(hypotheses, references)),
    ):
        scores.update({f"{name}-{part.upper()}": rouge[part] for part in ("p", "r", "f")})
    return scores
