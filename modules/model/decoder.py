"""T5's decoder, read for inference: prefixes (or beams) as query positions of one user's row.

transformers' decoder takes one sequence a row, so that thirty beams are thirty copies of the
encoder states. Here a row is a user and holds a growing set of *nodes*, each a token with a
parent: the whole trie at once, or a step of beams after the other. It gives the same numbers,
for in T5 only self-attention knows positions: a node attends to its own ancestors, by their
difference in depth, and cross-attention has no position bias at all. The encoder's keys and
values are computed once a user. Weights are T5's own; nothing here is learned.
"""

import torch
from torch.nn.functional import linear
from transformers import T5ForConditionalGeneration

from modules.model.attention import biased_attention, closed_keys
from modules.model.encoder import add_feed_forward, for_product, merge_heads, split_heads


class PrefixDecoder:
    """Decoder states of the nodes of B users, extended during a search."""

    def __init__(
        self, t5: T5ForConditionalGeneration, states: torch.Tensor, mask: torch.Tensor, depth: int
    ) -> None:
        """
        Args:
            t5: the model.
            states: (B, S, D) encoder states.
            mask: (B, S) 1 on what may be attended to.
            depth: nodes have depths 0 (the start token) to ``depth`` - 1.
        """
        self._t5 = t5
        self._blocks = t5.decoder.block
        self.batch_size = len(states)  # B
        self.device = states.device
        first = self._blocks[0].layer[0].SelfAttention
        self._heads = first.n_heads
        # (1, H, n, n) -> (n, H): row d is the bias towards an ancestor d levels up.
        bias = first.compute_bias(depth, depth, device=states.device)
        self._bias = bias[0, :, -1].flip(-1).T.contiguous()
        self._closed = closed_keys(mask)
        states = for_product(states)
        self._cross = [
            (
                self._split(block.layer[1].EncDecAttention.k(states)),
                self._split(block.layer[1].EncDecAttention.v(states)),
            )
            for block in self._blocks
        ]
        self._keys = [_Joined() for _ in self._blocks]
        self._values = [_Joined() for _ in self._blocks]
        self._depths: torch.Tensor | None = None

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return split_heads(x, self._heads)

    def extend(
        self, tokens: torch.Tensor, depths: torch.Tensor, visible: torch.Tensor
    ) -> torch.Tensor:
        """Add nodes and return their states, scaled for the output projection.

        Args:
            tokens: (b, Q) the new nodes' tokens; b is B, or 1 where all users add the same.
            depths: (b, Q) their depths.
            visible: (b, Q, M + Q) bool: which of the M nodes so far, and of the new ones, each
                attends to: its ancestors and itself.

        Returns:
            (B, Q, D): ``logits`` makes scores of it.
        """
        self._depths = depths if self._depths is None else _side_by_side(self._depths, depths)
        gap = (depths[:, :, None] - self._depths[:, None, :]).clamp_(min=0)  # (b, Q, M + Q)
        bias = self._bias[gap].permute(0, 3, 1, 2)  # (b, Q, M + Q, H) -> (b, H, Q, M + Q)
        bias = bias.masked_fill(~visible[:, None], float("-inf"))

        # Up to the first cross-attention, users who add the same nodes share their states.
        x = self._t5.decoder.embed_tokens(tokens)
        for i, block in enumerate(self._blocks):
            own, cross, feed_forward = block.layer
            attention, h = own.SelfAttention, for_product(own.layer_norm(x))
            keys = self._keys[i].join(self._split(attention.k(h)))
            values = self._values[i].join(self._split(attention.v(h)))
            out = biased_attention(self._split(attention.q(h)), keys, values, bias, None)
            x = x + attention.o(merge_heads(out))
            attention, h = cross.EncDecAttention, for_product(cross.layer_norm(x))
            out = biased_attention(self._split(attention.q(h)), *self._cross[i], None, self._closed)
            x = x + attention.o(merge_heads(out))
            x = add_feed_forward(feed_forward, x)
        x = self._t5.decoder.final_layer_norm(x)
        if self._t5.config.scale_decoder_outputs:
            x = x * self._t5.config.d_model**-0.5
        return x

    def logits(self, hidden: torch.Tensor, vocabulary: torch.Tensor | None = None) -> torch.Tensor:
        """(B, Q, D) -> scores (B, Q, V) in the type of products, or (B, Q, V') of the tokens named
        in float32."""
        weight = self._t5.lm_head.weight
        if vocabulary is None:
            return linear(hidden, weight)
        # Items are ranked by these: rounded to bf16, many of ten thousand would be equal.
        with torch.autocast(hidden.device.type, enabled=False):
            return linear(hidden.to(weight.dtype), weight[vocabulary])


def _side_by_side(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """(B, n) and (B, m) -> (B, n + m); one of them may be shared by all users, the other not."""
    b = max(len(old), len(new))
    return torch.cat([x.expand(b, -1) for x in (old, new)], dim=1)


class _Joined:
    """Keys, or values, of the nodes so far. Memory is taken for twice as many as there are: to put
    all of them side by side anew at each step of a search takes a quarter of it."""

    def __init__(self) -> None:
        self._memory: torch.Tensor | None = None
        self._n = 0

    def join(self, new: torch.Tensor) -> torch.Tensor:
        """Those of Q new nodes, (B, H, Q, d), or (1, H, Q, d) shared by all -> of all nodes."""
        before, self._n = self._n, self._n + new.shape[2]
        if self._memory is None:
            self._memory = new
            return new
        b, room = max(len(self._memory), len(new)), self._memory.shape[2]
        if self._n > room or b > len(self._memory):
            old = self._memory[:, :, :before]
            self._memory = new.new_empty(b, new.shape[1], max(self._n, 2 * before), new.shape[3])
            self._memory[:, :, :before] = old
        self._memory[:, :, before : self._n] = new
        return self._memory[:, :, : self._n]
