"""ELMRec: T5 with soft prompts and graph-aware whole-word embeddings (section 3 of the paper).

The encoder reads, for each sample,

    [ p_1 .. p_K ;  E[token] + alpha * W[whole-word id] ]

p: soft prompts of the task; E: T5's token embedding; W: by task the propagated table of the
user-item graph (modules/model/graph.py) or a table of positions. T5 is held, not subclassed. This file
knows no argparse, no metrics, and no files but a model folder's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from transformers import T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from modules.loader.batches import POSITION_ROWS, Batch
from modules.model.backbone import UNSCALED_STD
from modules.model.encoder import encode
from modules.model.graph import Graph, propagate
from modules.model.loss import Continuations, continuation_loss
from modules.model.weights import (
    CONFIG_FILE,
    PREFIX,
    WEIGHTS_FILE,
    check_fit,
    read_model,
    to_file,
    to_model,
    write_model,
)
from modules.presets import MAX_LAYERS, MAX_PROMPTS
from modules.tasks import METHODS, Task, WholeWords, schemes
from utils.errors import UserError
from utils.files import readable
from utils.flag_types import LARGEST


@dataclass(frozen=True)
class ELMRecConfig:
    """The numbers of the method, with the paper's symbols.

    Attributes:
        n_users, n_items: U and I.
        method: ``elmrec``, ``pod`` or ``p5``.
        prompt_num: K, soft prompts a task.
        alpha: weight of the whole-word embeddings.
        sigma: standard deviation of E0, the random features that are propagated.
        graph_layers: L, hops of the propagation.
        causal: sequential prompts are read from left to right, and an item is told from the state
            of the last token before it. So a pass over a history has a target after every item,
            as in SASRec (Kang & McAuley 2018).
        whole_words: for ablations: whole-word ids by task, where they are not the method's.
    """

    n_users: int
    n_items: int
    method: str = "elmrec"
    prompt_num: int = 3
    alpha: float = 1.0
    sigma: float = 1.0
    graph_layers: int = 4
    causal: bool = False
    whole_words: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError, naming the entry, its value and the limit."""
        if self.method not in METHODS:
            raise ValueError(f"'method' is {self.method!r}, none of {', '.join(METHODS)}")
        try:
            schemes(self.method, self.whole_words)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            value = self.whole_words
            raise ValueError(f"'whole_words' is {value!r}, no tasks and their ids") from error
        if type(self.causal) is not bool:
            raise ValueError(f"'causal' is {self.causal!r}, neither true nor false")
        counts = {"n_users": (1, 2**31), "n_items": (1, 2**31)}
        counts |= {"prompt_num": (1, MAX_PROMPTS), "graph_layers": (0, MAX_LAYERS)}
        for name, (low, high) in counts.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name!r} is {value!r}, no whole number from {low} to {high}")
        for name, low in (("alpha", -LARGEST), ("sigma", 0)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not low <= value <= LARGEST:
                raise ValueError(f"{name!r} is {value!r}, no number from {low} to {LARGEST}")


class ELMRec(nn.Module):
    """The model of all three tasks."""

    def __init__(
        self, t5: T5ForConditionalGeneration, config: ELMRecConfig, graph: Graph | None
    ) -> None:
        """
        Args:
            t5: the backbone; its weights are kept.
            config: see ``ELMRecConfig``.
            graph: A_hat over U + I + 1 nodes; None for methods without a graph.
        """
        super().__init__()
        method = METHODS[config.method]
        width = t5.config.d_model
        self.t5 = t5
        self.config = config
        self.schemes = schemes(config.method, config.whole_words)
        self.own_encoder = True  # modules/model/encoder.py; False: transformers' own
        self._loss = self._t5_loss
        self.continuations: Continuations | None = None  # training's loss; None: all tokens
        self.prompts = (
            nn.Embedding(len(Task) * config.prompt_num, width) if method.soft_prompts else None
        )
        self.positions = nn.Embedding(POSITION_ROWS, width, padding_idx=0)
        if not t5.config.scale_decoder_outputs:  # as loud as the tokens of such a T5
            with torch.no_grad():
                for table in filter(None, (self.prompts, self.positions)):
                    table.weight.mul_(UNSCALED_STD)
        self.nodes: nn.Embedding | None = None
        if WholeWords.GRAPH in self.schemes.values():
            if graph is None:
                raise ValueError(f"method {config.method!r} needs the user-item graph")
            self.nodes = nn.Embedding(config.n_users + config.n_items + 1, width, padding_idx=0)
            nn.init.normal_(self.nodes.weight, std=config.sigma)
            with torch.no_grad():  # row 0: a token of no whole word stays as T5 knows it
                self.nodes.weight[0] = 0.0
            self.register_buffer("graph_crow", graph.crow)
            self.register_buffer("graph_col", graph.col)
            self.register_buffer("graph_values", graph.values)
        self._propagated: torch.Tensor | None = None  # evaluation only: W depends on no input
        self.held: torch.Tensor | None = None  # training with --graph_every: see hold_table

    # ---------------------------------------------------------------------------- the paper

    def whole_word_table(self, scheme: WholeWords) -> torch.Tensor:
        """W: (U + I + 1, D) propagated graph features, or (512, D) positions."""
        if scheme is WholeWords.POSITION:
            return self.positions.weight
        if self.held is not None:
            return self.held
        if self._propagated is not None:
            return self._propagated
        table = self._propagate(self.nodes.weight)
        if not self.training and not torch.is_grad_enabled():
            self._propagated = table
        return table

    def _propagate(self, features: torch.Tensor) -> torch.Tensor:
        graph = Graph(self.graph_crow, self.graph_col, self.graph_values)
        return propagate(features, graph, self.config.graph_layers)

    def hold_table(self, gradient: torch.Tensor | None = None) -> None:
        """Keep W as it is now for the steps to come, and gather its gradient meanwhile.

        On a large graph the two propagations of a step cost more than the rest of it. A table
        that is a few steps old differs little, for one step moves E0 by little.

        gradient: what was gathered before, where a run goes on; empty for nothing yet.
        """
        with torch.no_grad():
            self.held = self._propagate(self.nodes.weight)
        self.held.requires_grad_()
        if gradient is not None and gradient.numel():
            self.held.grad = gradient

    def release_table(self) -> None:
        """Hand the gathered gradient on to E0 (A_hat is symmetric: one more propagation)."""
        if self.held is not None and self.held.grad is not None:
            self.nodes.weight.grad = self._propagate(self.held.grad)
        self.held = None

    def train(self, mode: bool = True) -> "ELMRec":
        """Also forgets the propagated table: the weights may change from here on."""
        self._propagated = self.held = None
        return super().train(mode)

    def embed(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """[p ; E + alpha W]: (B, K + S, D) and its attention mask (B, K + S)."""
        tokens = self.t5.shared(batch.input_ids)
        table = self.whole_word_table(self.schemes[batch.task])
        # padding_idx: row 0 is used as it is, and not trained.
        whole_words = nn.functional.embedding(batch.whole_word_ids, table, padding_idx=0)
        embeds = tokens + self.config.alpha * whole_words  # (B, S, D)
        mask = batch.attention_mask
        if self.prompts is None:
            return embeds, mask
        k = self.config.prompt_num
        prompts = self.prompts.weight[batch.task * k : (batch.task + 1) * k]
        prompts = prompts.expand(len(embeds), -1, -1)  # (K, D) -> (B, K, D)
        return torch.cat([prompts, embeds], dim=1), torch.cat(
            [mask.new_ones(len(mask), k), mask], 1
        )

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the decoder attends to, and its mask: encoder states (B, K + S, D), (B, K + S); of
        a causal batch the one state that each target is told from, (N, 1, D), (N, 1)."""
        return self.states(*self.embed(batch), batch.reads)

    def states(
        self, embeds: torch.Tensor, mask: torch.Tensor, reads: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``encode`` gives, of what ``embed`` gives."""
        if reads is not None:
            soft_prompts = 0 if self.prompts is None else self.config.prompt_num
            states = encode(self.t5, embeds, mask, causal_from=soft_prompts)
            rows, places = reads.unbind(dim=1)
            states = states[rows, places + soft_prompts][:, None]  # (N, 1, D)
            return states, mask.new_ones(len(states), 1)
        if self.own_encoder:
            return encode(self.t5, embeds, mask), mask
        return self.t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean cross entropy over the target tokens of the batch, pads not scored; or, of items,
        over the trie's continuations (modules/model/loss.py)."""
        return self._loss(*self.embed(batch), batch.labels, batch.items, batch.reads)

    def _t5_loss(
        self,
        embeds: torch.Tensor,
        mask: torch.Tensor,
        labels: torch.Tensor,
        items: torch.Tensor | None,
        reads: torch.Tensor | None,
    ) -> torch.Tensor:
        states, mask = self.states(embeds, mask, reads)
        if self.continuations is None or items is None:
            outputs = BaseModelOutput(last_hidden_state=states)
            return self.t5(encoder_outputs=outputs, attention_mask=mask, labels=labels).loss
        table = self.continuations
        steps = self.t5._shift_right(labels)[:, : table.prefix.shape[1]]
        hidden = self.t5.decoder(
            input_ids=steps,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.config.d_model**-0.5
        weight = self.t5.lm_head.weight[table.vocabulary]
        return continuation_loss(hidden, weight, table, items)

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
            UserError: naming the file, where it is missing, damaged, or fits not the other.
        """
        folder = Path(folder)
        t5_config, own, tensors = read_model(folder)
        try:
            config = ELMRecConfig(**own)
        except (TypeError, ValueError) as error:
            raise UserError(f"{folder / CONFIG_FILE}: in 'elmrec': {error}.") from error
        # Shapes first: what is wrong with a model must not take all memory to be found out.
        entries = tensors[PREFIX + "graph_col"].numel() if PREFIX + "graph_col" in tensors else 0
        with torch.device("meta"), readable(str(folder / CONFIG_FILE)):
            sketch = Graph(
                torch.empty(config.n_users + config.n_items + 2, dtype=torch.int64),
                torch.empty(entries, dtype=torch.int64),
                torch.empty(entries),
            )
            plan = cls(T5ForConditionalGeneration(t5_config), config, sketch)
        check_fit(folder, to_file(plan.state_dict()), tensors)
        graph = None
        if plan.nodes is not None:
            graph = Graph(*(tensors[f"{PREFIX}graph_{p}"] for p in ("crow", "col", "values")))
            with readable(f"{folder / WEIGHTS_FILE}, the graph in it"):
                graph.matrix(check=True)
        model = cls(T5ForConditionalGeneration(t5_config), config, graph)
        model.load_state_dict(to_model(tensors), strict=True)
        return model.eval()
