"""The best tokens after many beams, without probabilities of the whole vocabulary.

A beam search asks for the best 2k of k x V continuations (V is 32,128). To sort all of them, or
only to write all log-probabilities down, takes longer than the product that scores them.
"""

import torch

from modules.model.dropout import own_kernels

_ROWS = 64  # tokens that share a column
_SCORES = 1 << 18  # worked on at a time on CPUs: 1 MB, in the cache of a core


def log_sums(logits: torch.Tensor) -> torch.Tensor:
    """(B, k) float32 log of the sum of exp over the tokens of (B, k, V) scores."""
    rows = logits.flatten(0, 1)
    size = max(1, _SCORES // rows.shape[1]) if own_kernels(rows) else len(rows)
    sums = [part.float().logsumexp(dim=1) for part in rows.split(size)]
    return torch.cat(sums).view(logits.shape[:2])


def best_tokens(
    logits: torch.Tensor, offsets: torch.Tensor, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The n best of logits + offsets, as ``topk`` of all of them gives it, ties aside.

    Tokens are dealt to columns. The n best are in the n columns whose best is best: if one were in
    another column, the best of n columns, and so n tokens, would be above it.

    Args:
        logits: (B, k, V).
        offsets: (B, k) float32, what is added to all tokens of a beam.
        n: at most k * V.

    Returns:
        (B, n) float32 scores, best first, and (B, n) int64 places in k * V.
    """
    v = logits.shape[2]
    width = -(-v // _ROWS)  # columns: token t is in column t % width
    whole = v // width * width
    peaks = _highest(logits[..., :whole].unflatten(2, (-1, width)))  # (B, k, width)
    rest = logits[..., whole:]
    peaks[..., : v - whole] = torch.maximum(peaks[..., : v - whole], rest)
    peaks = (peaks.float() + offsets[..., None]).flatten(1)
    columns = peaks.topk(min(n, peaks.shape[1]), dim=1, sorted=False).indices  # (B, m)
    beams = columns // width
    tokens = (columns % width)[..., None] + width * torch.arange(_ROWS, device=columns.device)
    places = (beams[..., None] * v + tokens.clamp(max=v - 1)).flatten(1)  # (B, m * _ROWS)
    scores = logits.flatten(1).gather(1, places).float().view(tokens.shape)
    scores = (scores + offsets.gather(1, beams)[..., None]).masked_fill_(tokens >= v, float("-inf"))
    top, which = scores.flatten(1).topk(n, dim=1)
    return top, places.gather(1, which)


def _highest(x: torch.Tensor) -> torch.Tensor:
    """(B, k, n, width) -> (B, k, width), what ``amax`` gives, by pairs: in bf16 on CPUs it takes
    three times as long."""
    while (n := x.shape[2]) > 1:
        pairs = torch.maximum(x[:, :, : n // 2], x[:, :, n // 2 : n // 2 * 2])
        if n % 2:
            pairs[:, :, 0] = torch.maximum(pairs[:, :, 0], x[:, :, -1])
        x = pairs
    return x[:, :, 0]
