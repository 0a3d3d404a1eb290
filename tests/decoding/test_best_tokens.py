"""The best tokens, against a sort of all log-probabilities."""

import pytest
import torch

from modules.decoding.best_tokens import best_tokens, log_sums


@pytest.mark.parametrize("v", [3, 63, 64, 65, 130, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_those_of_a_sort(v: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(v)
    logits = (3 * torch.randn(4, 5, v, generator=generator)).to(dtype)
    running = torch.randn(4, 5, generator=generator)
    running[2, 3] = -1.0e9
    exact, sums = logits.double().log_softmax(dim=2) + running.double()[..., None], log_sums(logits)
    never = torch.zeros_like(logits, dtype=torch.bool)
    never[0, 1] = True  # a beam that may go nowhere
    never[1, :, : v // 2] = True
    logits[never] = float("-inf")
    n = min(11, 5 * v)
    scores, places = best_tokens(logits, running - sums, n)
    exact = exact.masked_fill(never, float("-inf")).flatten(1)
    expected = exact.topk(n, dim=1).values
    assert scores.dtype == torch.float32
    keep = torch.tensor([0, 1, 3])  # a float32 of a billion has no decimals
    torch.testing.assert_close(scores[keep].double(), expected[keep], rtol=1e-5, atol=1e-5)
    some = expected.isfinite()  # what may not come fills up a row, in any order
    found = exact.gather(1, places)
    torch.testing.assert_close(found[some], expected[some], rtol=1e-5, atol=1e-5)
    assert all(len(set(p[s].tolist())) == s.sum() for p, s in zip(places, some))


def test_sums_are_the_same_in_parts(monkeypatch) -> None:
    logits = 10 * torch.randn(3, 7, 50, generator=torch.Generator().manual_seed(0))
    for scores in (1, 120, 1 << 20):
        monkeypatch.setattr("modules.decoding.best_tokens._SCORES", scores)
        expected = logits.double().exp().sum(dim=2).log()
        torch.testing.assert_close(log_sums(logits).double(), expected, rtol=1e-6, atol=1e-6)
