"""ELMRec: T5 with soft prompts and graph-aware whole-word embeddings (section 3 of the paper).

The encoder reads, for each sample,

    [ p_1 .. p_K ;  E[token] + alpha * W[whole-word id] ]

p: soft prompts of the task; E: T5's token embedding; W: by task the propagated table of the
user-item graph (modules/model/graph.py) or a table of positions. T5 is a member, not a base class.
This file knows no argparse, no metrics, and no files but a model folder's.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from transformers import T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from modules.data.item_graph import GRAPH_KINDS
from modules.loader.batches import POSITION_ROWS, Batch
from modules.model.backbone import UNSCALED_STD
from modules.model.config import ELMRecConfig
from modules.model.dropout import own_kernels, use_own_dropout
from modules.model.encoder import encode, in_whole_tiles
from modules.model.first_step import first_step
from modules.model.folder import load_model
from modules.model.graph import PROPAGATIONS, ROWS_OF, Graph, random_features, without_edges
from modules.model.item_scores import Hops, ItemScores, after, hops_of
from modules.model.loss import ContinuationLoss
from modules.model.norm import use_fused_norm
from modules.model.weights import to_file, write_model
from modules.presets import ITEM_GRAPHS
from modules.tasks import METHODS, Task, WholeWords

# Rows of W are propagated by themselves where there are so many times fewer than E0 is wide.
_FEW = 4


class ELMRec(nn.Module):
    """The model of all three tasks."""

    # In evaluation, where W depends on no input: W, and what it was made of.
    _propagated: tuple[torch.Tensor, tuple[int, int]] | None
    frozen: torch.Tensor | None  # W as steps use it, with --graph_every (see freeze_table)
    _made: tuple[torch.Tensor, torch.Tensor] | None  # the same as made of E0, and E0

    def __init__(
        self,
        t5: T5ForConditionalGeneration,
        config: ELMRecConfig,
        graph: Graph | None,
        item_loss: ContinuationLoss | None = None,
        own_encoder: bool = True,
        item_graphs: Mapping[str, Graph] | None = None,
    ) -> None:
        """
        Args:
            t5: the backbone; its weights are kept.
            config: see ``ELMRecConfig``.
            graph: A_hat over U + I + 1 nodes; None for methods without a graph.
            item_loss: the loss of target items in training; None: cross entropy over all tokens.
            own_encoder: modules/model/encoder.py; False: transformers' own, which FSDP needs.
            item_graphs: over I + 1 items (modules/data/item_graph.py), by name: the config's.
        """
        super().__init__()
        width = t5.config.d_model
        use_own_dropout(t5)
        use_fused_norm(t5)
        self.t5, self.config, self.schemes = t5, config, config.schemes()
        self.item_loss, self._own_encoder = item_loss, own_encoder
        self._loss = self._t5_loss  # or compiled
        self.prompts = None
        if METHODS[config.method].soft_prompts:
            self.prompts = nn.Embedding(len(Task) * config.prompt_num, width)
        # Row 0 stays 0: a token of no whole word is as T5 knows it.
        self._no_word = None if config.train_row_0 else 0
        self.positions = nn.Embedding(POSITION_ROWS, width, padding_idx=self._no_word)
        if not t5.config.scale_decoder_outputs:  # of the size of such a T5's tokens
            with torch.no_grad():
                for table in filter(None, (self.prompts, self.positions)):
                    table.weight.mul_(UNSCALED_STD)
        self.nodes: nn.Embedding | None = None
        if config.has_graph:
            if graph is None:
                raise ValueError(f"method {config.method!r} needs the user-item graph")
            self.nodes = random_features(config.n_nodes, width, config.sigma, self._no_word)
            self._keep("graph", graph)
        self.item_scores: ItemScores | None = None
        if names := ITEM_GRAPHS[config.item_graph]:
            self.item_scores = ItemScores([GRAPH_KINDS[name].pasts for name in names])
            for name in names:
                self._keep(f"{name}_graph", item_graphs[name])
        self._hops: dict[int, Hops] = {}  # of each item graph that was asked
        self._propagated = self.frozen = self._made = None

    def _keep(self, name: str, graph: Graph) -> None:
        """Make a graph a part of the model, under this name."""
        for part, tensor in graph._asdict().items():
            self.register_buffer(f"{name}_{part}", tensor)

    def _kept(self, name: str) -> Graph:
        return Graph(*(getattr(self, f"{name}_{part}") for part in Graph._fields))

    # ---------------------------------------------------------------------------- the paper

    def whole_word_table(
        self, scheme: WholeWords, own_edges: torch.Tensor | None = None
    ) -> torch.Tensor:
        """W: (U + I + 1, D) propagated graph features, or (512, D) positions.

        In evaluation it is made once, and again where E0 has changed; where gradients are asked
        for it is made anew each time.

        own_edges: ``Batch.own_edges``, which the graph is then without.
        """
        if scheme is WholeWords.POSITION:
            return self.positions.weight
        if self.frozen is not None:
            return self.frozen
        features = self.nodes.weight
        if torch.is_grad_enabled() or self.training or own_edges is not None:
            return self._propagate(features, own_edges)
        origin = features.data_ptr(), features._version
        if self._propagated is None or self._propagated[1] != origin:
            self._propagated = self._propagate(features), origin
        return self._propagated[0]

    def _whole_words(self, batch: Batch) -> torch.Tensor:
        """W[whole-word id], (B, S, D). Where a training step reads few rows of W, it makes no more.
        (A GPU is not asked how many, for that would wait for it.)"""
        scheme, ids, no_word = self.schemes[batch.task], batch.whole_word_ids, self._no_word
        if scheme is WholeWords.GRAPH and self.training and self.frozen is None:
            nodes, places = ids.unique(return_inverse=True) if own_kernels(ids) else (None, None)
            features, few = self.nodes.weight, ROWS_OF.get(self.config.propagation)
            if few and nodes is not None and _FEW * len(nodes) <= features.shape[1]:
                graph = self._graph(batch.own_edges)
                table = few(features, graph, self.config.graph_layers, nodes)
                no_word = no_word if nodes[0] == 0 else None  # where it is among them, it is first
                return nn.functional.embedding(places, table, no_word)
        # padding_idx: that row is used as it is, and not trained.
        return nn.functional.embedding(ids, self.whole_word_table(scheme, batch.own_edges), no_word)

    def _propagate(
        self, features: torch.Tensor, own_edges: torch.Tensor | None = None
    ) -> torch.Tensor:
        make = PROPAGATIONS[self.config.propagation]
        return make(features, self._graph(own_edges), self.config.graph_layers)

    def _graph(self, own_edges: torch.Tensor | None = None) -> Graph:
        """The user-item graph of a step."""
        graph = self._kept("graph")
        return graph if own_edges is None else without_edges(graph, *own_edges.to(graph.col.device))

    def freeze_table(
        self, own_edges: torch.Tensor | None = None, gradient: torch.Tensor | None = None
    ) -> None:
        """Keep W as it is now for the next steps, and add up its gradient meanwhile.

        On a large graph the two propagations of a step cost more than the rest of it. A table
        that is a few steps old differs little, for one step moves E0 by little.

        Args:
            own_edges: ``Batch.own_edges`` of all these steps, which the graph is then without.
            gradient: what was added up before, where a run continues; empty for nothing yet.
        """
        features = self.nodes.weight.detach().requires_grad_()
        with torch.enable_grad():
            self._made = self._propagate(features, own_edges), features
        self.frozen = self._made[0].detach().requires_grad_()
        if gradient is not None and gradient.numel():
            self.frozen.grad = gradient

    def release_table(self) -> None:
        """Pass the gradient of the frozen table on to E0."""
        if self.frozen is not None and self.frozen.grad is not None:
            table, features = self._made
            (self.nodes.weight.grad,) = torch.autograd.grad(table, features, self.frozen.grad)
        self.frozen = self._made = None

    def train(self, mode: bool = True) -> "ELMRec":
        """Also forgets the propagated table: the weights may change from here on."""
        self._propagated = self.frozen = self._made = None
        return super().train(mode)

    def embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """[p ; E + alpha W]: (B, K + S, D) and its attention mask (B, K + S)."""
        tokens = self.t5.shared(batch.input_ids)
        embeds = tokens + self.config.alpha * self._whole_words(batch)  # (B, S, D)
        mask = batch.attention_mask
        if self.prompts is None:
            return embeds, mask
        k = self.config.prompt_num
        prompts = self.prompts.weight[batch.task * k : (batch.task + 1) * k]
        prompts = prompts.expand(len(embeds), -1, -1)  # (K, D) -> (B, K, D)
        return torch.cat([prompts, embeds], dim=1), nn.functional.pad(mask, (k, 0), value=1)

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder attends to, and its mask: encoder states (B, K + S, D), (B, K + S); of
        a causal batch the one state that each target is predicted from, (N, 1, D), (N, 1)."""
        return self.states(*self.embed(batch), batch.target_places)

    def states(
        self, embeds: torch.Tensor, mask: torch.Tensor, target_places: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``encode`` gives, of what ``embed`` gives. On a GPU S is a multiple of 8."""
        if not own_kernels(embeds) and not self.config.decoder_sees_pads:
            embeds, mask = in_whole_tiles(embeds, mask)
        if target_places is not None:
            soft_prompts = 0 if self.prompts is None else self.config.prompt_num
            rows, places = target_places.unbind(dim=1)
            first, wanted = 0, slice(None)
            if own_kernels(places):  # a GPU is not asked where they are, for that would wait for it
                first, last = (place.item() + soft_prompts for place in places.aminmax())
                wanted = slice(first, last + 1)
            states = encode(self.t5, embeds, mask, soft_prompts, wanted)
            flat = rows * states.shape[1] + places + soft_prompts - first
            states = states.flatten(0, 1).index_select(0, flat)[:, None]  # (N, 1, D)
            return states, mask.new_ones(len(states), 1)
        seen = torch.ones_like(mask) if self.config.decoder_sees_pads else mask
        if self._own_encoder:
            return encode(self.t5, embeds, mask), seen
        return self.t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, seen

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean cross entropy over the target tokens of the batch, pads not scored; or, of items,
        over the trie's continuations (modules/model/loss.py)."""
        return self._loss(*self.embed(batch), batch.labels, batch.items, batch.target_places)

    def graph_says(
        self, n: int, past: float | torch.Tensor, histories: torch.Tensor, rows: int
    ) -> torch.Tensor:
        """(rows, I + 1) float32: what the n-th item graph says of what follows the histories.

        Args:
            past: weight of an item of a history by that of the one after it.
            histories: (3, n) as in ``Batch.histories``, on the model's device.
        """
        if n not in self._hops:
            name = ITEM_GRAPHS[self.config.item_graph][n]
            graph, columns = self._kept(f"{name}_graph"), self.config.graph_columns(name)
            self._hops[n] = hops_of(graph, columns, GRAPH_KINDS[name].hops)
        return after(self._hops[n], past, histories, rows)

    def _t5_loss(
        self,
        embeds: torch.Tensor,
        mask: torch.Tensor,
        labels: torch.Tensor,
        items: torch.Tensor | None,
        target_places: torch.Tensor | None,
    ) -> torch.Tensor:
        states, mask = self.states(embeds, mask, target_places)
        if self.item_loss is None or items is None:
            outputs = BaseModelOutput(last_hidden_state=states)
            return self.t5(encoder_outputs=outputs, attention_mask=mask, labels=labels).loss
        steps = self.t5._shift_right(labels)[:, : self.item_loss.steps]
        if target_places is not None and steps.shape[1] == 1 and self._own_encoder:
            hidden = first_step(self.t5, states)
        else:
            hidden = self.t5.decoder(
                input_ids=steps,
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                use_cache=False,
            ).last_hidden_state
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.config.d_model**-0.5
        return self.item_loss(hidden, self.t5.lm_head.weight, items)

    def compile_loss(self, backend: str | Callable = "inductor") -> None:
        """Compile all of a training step's model but the sparse propagation. Code is made for each
        prompt length: pad to few of them."""
        self._loss = torch.compile(self._t5_loss, dynamic=False, backend=backend)

    # ------------------------------------------------------------------------- model folder

    def save_pretrained(
        self,
        folder: str | Path,
        metadata: dict[str, str] | None = None,
        tensors: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Write config.json and model.safetensors; each is whole or not there at all.

        tensors: the state dict to write, where this process holds only a part of its own.
        """
        config = self.t5.config.to_dict() | {"elmrec": asdict(self.config)}
        state = to_file(tensors or self.state_dict())
        write_model(Path(folder), state, config, metadata or {})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ELMRec":
        """Read a model folder, strictly: every tensor is there, none is left over.

        Raises:
            UserError: naming the file, where it is missing, damaged, or does not fit the other.
        """
        return load_model(cls, Path(folder))
