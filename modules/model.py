"""ELMRec: T5 with soft prompts and graph-aware whole-word embeddings (section 3 of the paper).

The encoder reads, for each sample,

    [ p_1 .. p_K ;  E[token] + alpha * W[whole-word id] ]

p: soft prompts of the task; E: T5's token embedding; W: by task the propagated table of the
user-item graph (modules/graph.py) or a table of positions. T5 is held, not subclassed. This file
knows no argparse, no metrics, and no files but a model folder's.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from modules.batches import POSITION_ROWS, Batch
from modules.encoder import encode
from modules.graph import Graph, propagate
from modules.tasks import METHODS, Task, WholeWords
from utils.checkpoint import write_bytes, write_json
from utils.errors import UserError

PREFIX = "elmrec."  # of our own tensors in model.safetensors; all others are T5's, by T5's names
# One embedding under four names; safetensors holds it once, under the first.
_TIED = (
    "shared.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "lm_head.weight",
)


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
    """

    n_users: int
    n_items: int
    method: str = "elmrec"
    prompt_num: int = 3
    alpha: float = 1.0
    sigma: float = 1.0
    graph_layers: int = 4


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
        self.schemes = method.whole_words
        self.prompts = (
            nn.Embedding(len(Task) * config.prompt_num, width) if method.soft_prompts else None
        )
        self.positions = nn.Embedding(POSITION_ROWS, width, padding_idx=0)
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
        self._held: torch.Tensor | None = None  # training with --graph_every: see hold_table

    # ---------------------------------------------------------------------------- the paper

    def whole_word_table(self, scheme: WholeWords) -> torch.Tensor:
        """W: (U + I + 1, D) propagated graph features, or (512, D) positions."""
        if scheme is WholeWords.POSITION:
            return self.positions.weight
        if self._held is not None:
            return self._held
        if self._propagated is not None:
            return self._propagated
        table = self._propagate(self.nodes.weight)
        if not self.training and not torch.is_grad_enabled():
            self._propagated = table
        return table

    def _propagate(self, features: torch.Tensor) -> torch.Tensor:
        graph = Graph(self.graph_crow, self.graph_col, self.graph_values)
        return propagate(features, graph, self.config.graph_layers)

    def hold_table(self) -> None:
        """Keep W as it is now for the steps to come, and gather its gradient meanwhile.

        On a large graph the two propagations of a step cost more than the rest of it. A table
        that is a few steps old differs little, for one step moves E0 by little.
        """
        with torch.no_grad():
            self._held = self._propagate(self.nodes.weight)
        self._held.requires_grad_()

    def release_table(self) -> None:
        """Hand the gathered gradient on to E0 (A_hat is symmetric: one more propagation)."""
        if self._held is not None and self._held.grad is not None:
            self.nodes.weight.grad = self._propagate(self._held.grad)
        self._held = None

    def train(self, mode: bool = True) -> "ELMRec":
        """Also forgets the propagated table: the weights may change from here on."""
        self._propagated = self._held = None
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
        """Encoder states (B, K + S, D) and their mask (B, K + S)."""
        embeds, mask = self.embed(batch)
        return encode(self.t5, embeds, mask), mask

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean cross entropy over the target tokens of the batch; pads are not scored."""
        states, mask = self.encode(batch)
        return self.t5(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            labels=batch.labels,
        ).loss

    # ------------------------------------------------------------------------- model folder

    def save_pretrained(self, folder: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write config.json and model.safetensors; each is whole or not there at all."""
        folder = Path(folder)
        state = {}
        for name, tensor in self.state_dict().items():
            if name.startswith("t5."):
                if (plain := name.removeprefix("t5.")) not in _TIED[1:]:
                    state[plain] = tensor.contiguous().cpu()
            else:
                state[PREFIX + name] = tensor.contiguous().cpu()
        config = self.t5.config.to_dict() | {"elmrec": asdict(self.config)}
        write_bytes(folder / "model.safetensors", save(state, {"format": "pt", **(metadata or {})}))
        write_json(folder / "config.json", config)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ELMRec":
        """Read a model folder, strictly: every tensor is there, none is left over."""
        folder = Path(folder)
        config_path, weights_path = folder / "config.json", folder / "model.safetensors"
        for path in (config_path, weights_path):
            if not path.is_file():
                raise UserError(
                    f"{path}: no such file. --checkpoint names a folder that pretrain.py wrote."
                )
        table = json.loads(config_path.read_text(encoding="utf-8"))
        own = table.pop("elmrec", None)
        if own is None:
            raise UserError(f"{config_path}: no 'elmrec' entry; this is no ELMRec model folder.")
        try:
            state = load_file(weights_path)
        except SafetensorError as error:
            raise UserError(f"{weights_path}: damaged or cut short ({error}).") from error
        graph = None
        if PREFIX + "graph_crow" in state:
            graph = Graph(*(state[f"{PREFIX}graph_{part}"] for part in ("crow", "col", "values")))
        model = cls(
            T5ForConditionalGeneration(T5Config.from_dict(table)), ELMRecConfig(**own), graph
        )
        full = {
            n.removeprefix(PREFIX) if n.startswith(PREFIX) else "t5." + n: t
            for n, t in state.items()
        }
        for name in _TIED[1:]:
            full["t5." + name] = state[_TIED[0]]
        try:
            model.load_state_dict(full, strict=True)
        except RuntimeError as error:
            raise UserError(f"{weights_path} does not fit {config_path}: {error}") from error
        return model.eval()


def saved_metadata(folder: str | Path) -> dict[str, str]:
    """What ``save_pretrained`` was told to keep beside the weights."""
    with safe_open(Path(folder) / "model.safetensors", framework="pt") as file:
        return file.metadata() or {}
