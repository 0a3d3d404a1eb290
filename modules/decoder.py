"""T5's decoder, read for inference: prefixes (or beams) as query positions of one user's row.

transformers' decoder takes one sequence a row, so that thirty beams are thirty copies of the
encoder states. Here a row is a user and holds a growing set of *nodes*, each a token with a
parent: the whole trie at once, or a step of beams after the other. It gives the same numbers,
for in T5 only self-attention knows positions: a node attends to its own ancestors, by their
difference in depth, and cross-attention has no position bias at all. The encoder's keys and
values are computed once a user. Weights are T5's own; nothing here is learned.
"""

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import T5ForConditionalGeneration


class PrefixDecoder:
    """Decoder states of the nodes of B users, extended as a search goes on."""

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
        first = self._blocks[0].layer[0].SelfAttention
        self._heads = first.n_heads
        # (1, H, n, n) -> (n, H): row d is the bias towards an ancestor d levels up.
        bias = first.compute_bias(depth, depth, device=states.device)
        self._bias = bias[0, :, -1].flip(-1).T.contiguous()
        self._mask = mask[:, None, None, :].bool()  # (B, 1, 1, S)
        self._cross = [
            (
                self._split(block.layer[1].EncDecAttention.k(states)),
                self._split(block.layer[1].EncDecAttention.v(states)),
            )
            for block in self._blocks
        ]
        self._keys: list[torch.Tensor | None] = [None] * len(self._blocks)
        self._values: list[torch.Tensor | None] = [None] * len(self._blocks)
        self._depths = torch.empty(len(states), 0, dtype=torch.long, device=states.device)

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self._depths)

    @property
    def device(self) -> torch.device:
        """Where the states are."""
        return self._depths.device

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self._heads, -1)).transpose(1, 2)  # (B, n, H*d) -> (B, H, n, d)

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
        n = self.batch_size
        depths = depths.expand(n, -1)
        self._depths = torch.cat([self._depths, depths], dim=1)
        gap = (depths[:, :, None] - self._depths[:, None, :]).clamp_(min=0)  # (B, Q, M + Q)
        bias = self._bias[gap].permute(0, 3, 1, 2)  # (B, Q, M + Q, H) -> (B, H, Q, M + Q)
        bias = bias.masked_fill(~visible.expand(n, -1, -1)[:, None], float("-inf"))

        x = self._t5.decoder.embed_tokens(tokens).expand(n, -1, -1)
        for i, block in enumerate(self._blocks):
            own, cross, feed_forward = block.layer
            attention, h = own.SelfAttention, own.layer_norm(x)
            k, v = self._split(attention.k(h)), self._split(attention.v(h))
            if self._keys[i] is not None:
                k = torch.cat([self._keys[i], k], dim=2)
                v = torch.cat([self._values[i], v], dim=2)
            self._keys[i], self._values[i] = k, v
            x = x + self._attend(attention, h, k, v, bias.to(k.dtype))
            attention, h = cross.EncDecAttention, cross.layer_norm(x)
            x = x + self._attend(attention, h, *self._cross[i], self._mask)
            x = feed_forward(x)
        x = self._t5.decoder.final_layer_norm(x)
        if self._t5.config.scale_decoder_outputs:
            x = x * self._t5.config.d_model**-0.5
        return x

    def _attend(self, attention, h, keys, values, mask) -> torch.Tensor:
        q = self._split(attention.q(h))
        out = scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=1.0)
        return attention.o(out.transpose(1, 2).flatten(2))

    def logits(self, hidden: torch.Tensor, vocabulary: torch.Tensor | None = None) -> torch.Tensor:
        """(B, Q, D) -> float32 scores (B, Q, V), or (B, Q, V') of the tokens named."""
        weight = self._t5.lm_head.weight
        if vocabulary is not None:
            weight = weight[vocabulary]
        return linear(hidden, weight).float()
