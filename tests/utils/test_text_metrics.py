"""BLEU against sacrebleu, ROUGE-1/2 against the package ``rouge``, ROUGE-L by hand."""

import numpy as np
import pytest
import sacrebleu
from rouge import Rouge

from utils.metrics.text import bleu, lcs_length, rouge_l, rouge_n, text_metrics


def random_texts(seed: int, n: int = 60) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    words = np.array(
        ["the", "hair", "is", "soft", "and", "smells", "very", "good", "on", "my", "skin", "."]
    )

    def text() -> str:
        return " ".join(rng.choice(words, size=rng.integers(4, 15)))

    references = [text() for _ in range(n)]
    hypotheses = [ref if rng.random() < 0.2 else text() for ref in references]
    return hypotheses, references


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_n", [1, 4])
def test_bleu_is_sacrebleus(seed, max_n):
    hypotheses, references = random_texts(seed)
    outside = sacrebleu.metrics.BLEU(
        tokenize="none", smooth_method="none", force=True, max_ngram_order=max_n
    ).corpus_score(hypotheses, [references])
    assert bleu(hypotheses, references, max_n) == pytest.approx(outside.score, abs=1e-6)


def test_bleu_without_a_common_four_gram_is_zero():
    assert bleu(["a b c d"], ["a b x d"], 4) == 0.0


@pytest.mark.parametrize("n", [1, 2])
def test_rouge_n_is_the_packages(n):
    hypotheses, references = random_texts(7)
    # The package splits sentences at full stops, which ours does not know.
    hypotheses = [h.replace(".", "!") for h in hypotheses]
    references = [r.replace(".", "!") for r in references]
    outside = Rouge(metrics=[f"rouge-{n}"]).get_scores(hypotheses, references, avg=True)
    ours = rouge_n(hypotheses, references, n)
    for part in "prf":
        assert ours[part] == pytest.approx(100 * outside[f"rouge-{n}"][part], abs=1e-5)


def test_rouge_l_by_hand():
    # LCS "a c d" = 3; r = 3/4, p = 3/5, beta = 4/5: f = (1 + .64) .45 / (.75 + .64 * .6)
    scores = rouge_l(["a x c d y"], ["a b c d"])
    assert scores["p"] == pytest.approx(60.0)
    assert scores["r"] == pytest.approx(75.0)
    assert scores["f"] == pytest.approx(100 * 1.64 * 0.45 / (0.75 + 0.64 * 0.6))
    assert rouge_l(["x"], ["y"])["f"] == 0.0


def test_lcs_against_all_subsequences():
    rng = np.random.default_rng(0)

    def subsequences(s):
        return {tuple(s[i] for i in range(len(s)) if mask >> i & 1) for mask in range(1 << len(s))}

    for _ in range(50):
        a, b = (list(rng.integers(3, size=rng.integers(1, 8))) for _ in range(2))
        assert lcs_length(a, b) == max(map(len, subsequences(a) & subsequences(b)))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="1 hypotheses against 2 references"):
        text_metrics(["a"], ["a", "b"])
