"""``Settings``: all of a training run, as one value.

Each field is a flag of pretrain.py of the same name, with its help and, where the paper has one,
its symbol. From Python: ``Settings(data_dir="data/demo", backbone="tiny").resolved()``.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modules.data.protocols import ITEM_IDS
from modules.presets import (
    ALIASES,
    BACKBONES,
    GRAPH_ENCODERS,
    ITEM_GRAPHS,
    MAX_LAYERS,
    MAX_PROMPTS,
    MODEL_VERSIONS,
    MOST_SCORED,
    OWN_EDGES,
    PRESETS,
    pace,
    published_row,
)
from modules.tasks import METHODS, Task, WholeWords, schemes
from modules.training.checks import check
from modules.training.flag_types import flag, task_list, whole_word_list
from modules.training.published import Published
from utils.flag_types import natural, non_negative, positive, positive_int, real, share, whole

OPTIMIZERS = {"adamw": 1e-3, "adafactor": 2e-2}  # and their learning rates by default
_TASKS = [task.label for task in Task]


@dataclass(frozen=True)
class Settings(Published):
    """All of a training run. None: not given; ``resolved`` and ``for_data`` fill it in."""

    data_dir: str = field(default="")
    backbone: str | None = flag(
        "model", None,
        "T5 by hub name or folder, or built in: tiny (D 64, 2+2 layers), narrow (D 128, 2+1), "
        "shallow (D 256, 2+1), mini (D 256, 4+4); default t5-small", metavar="NAME",
    )  # fmt: skip
    model_version: int | None = flag(
        "model", None, ", ".join(f"{n}: {name}" for n, name in enumerate(MODEL_VERSIONS)),
        type=int, choices=range(len(MODEL_VERSIONS)),
    )  # fmt: skip
    from_scratch: bool = flag("model", False, "random weights in place of pre-trained ones")
    method: str = flag(
        "model", "elmrec", "pod: positions in place of the graph; p5: and no soft prompts",
        choices=tuple(METHODS),
    )  # fmt: skip
    dropout: float | None = flag(
        "model", None, "dropout rate of T5; default as in the backbone (0.1)", type=share
    )
    text_dropout: float | None = flag(
        "model", None, "dropout rate of the explanation task; default --dropout", type=share
    )
    whole_words: dict[str, str] = flag(  # noqa: RUF009  a field
        "model", {},
        "for ablations: whole-word ids of tasks that differ from the method's, as in "
        "direct=position,sequential=graph", type=whole_word_list, metavar="TASK=IDS,...",
    )  # fmt: skip
    propagation: str = flag(
        "model", "lightgcn", "what makes W of the node features (modules/model/graph.py)",
        choices=GRAPH_ENCODERS,
    )  # fmt: skip
    item_vectors: str = flag(
        "model", "random",
        "start of the item tokens of --item_ids own; cooccurrence: vectors of what is bought "
        "together", choices=("random", "cooccurrence"),
    )  # fmt: skip
    item_graph: str = flag(
        "model", "none",
        "rank by what graphs of items say as well: linear: what follows what, solved in closed "
        "form; paths: hops through the user-item graph; or both (modules/data/item_graph.py)",
        choices=tuple(ITEM_GRAPHS),
    )  # fmt: skip
    causal: bool = flag(
        "model", False,
        "read sequential prompts from left to right, with every item of a history a target",
    )  # fmt: skip
    prompt_num: int = flag("model", 3, "soft prompts a task (K)", type=whole(1, MAX_PROMPTS))
    alpha: float | None = flag("model", None, "weight of whole-word embeddings (α)", type=real)
    sigma: float | None = flag(
        "model", None, "standard deviation of the random node features (σ)", type=non_negative
    )
    L: int | None = flag(
        "model", None, "LightGCN layers of the propagation (L)", type=whole(0, MAX_LAYERS)
    )
    preset: str | None = flag(
        "model", None,
        "where settings come from that are not given: elmrec_clean, the best that we know (default "
        "for your own data); item_tokens, the same without a graph; readme, the authors' (default "
        "for beauty, sports, toys); corrected, their later ones", choices=(*PRESETS, *ALIASES),
    )  # fmt: skip
    objective: str = flag(
        "model", "direct", "which column of the preset", choices=("direct", "sequential")
    )
    protocol: str = flag(
        "protocol", "clean", "clean: nothing held out is seen; paper: the published leaks",
        choices=("clean", "paper"),
    )  # fmt: skip
    simulate_leak: bool = flag(
        "protocol", False,
        "with --protocol paper, for data without explanation.json: a graph of a random 53%% of "
        "all pairs (49%% of Toys'), held-out ones included, in place of the published split's",
    )  # fmt: skip
    item_ids: str | None = flag(
        "protocol", None,
        "how items are written: random numbers (default of clean), the data's own (published, "
        "default of paper), numbers that like items share digits of (collaborative), or a new "
        "token an item (own)", choices=ITEM_IDS,
    )  # fmt: skip
    own_edges: str | None = flag(
        "protocol", None,
        "drop: what a step asks about leaves the graphs of that step (default of clean); keep: as "
        "published, the answer is shown with the question (default of paper)", choices=OWN_EDGES,
    )  # fmt: skip
    tasks: list[str] | None = flag(  # noqa: RUF009  a field
        "protocol", _TASKS, "tasks to train, by commas", type=task_list
    )
    negative_num: int | None = flag(
        "protocol", None, "negatives beside the positive in the direct task; default: as many as "
        "negative.txt holds, else 99, or what can be drawn", type=positive_int,
    )  # fmt: skip
    exp_len: int = flag("protocol", 20, "tokens of an explanation", type=positive_int)
    optimizer: str | None = flag(
        "training", None,
        "adamw as published, or adafactor, which trains random weights better; default: adamw "
        "for a pre-trained backbone, adafactor from scratch", choices=tuple(OPTIMIZERS),
    )  # fmt: skip
    lr: float | None = flag(
        "training", None, "learning rate; default: "
        + ", ".join(f"{rate:g} ({name})" for name, rate in OPTIMIZERS.items()), type=positive,
    )  # fmt: skip
    warmup: int | None = flag(
        "training", 0, "steps in which the learning rate rises from 0", type=natural
    )
    schedule: str = flag(
        "training", "constant",
        "of the learning rate; linear: down to 0 in the second half of --epochs (--max_steps)",
        choices=("constant", "linear"),
    )  # fmt: skip
    loss: str = flag(
        "training", "tokens",
        "cross entropy over all tokens, as published, or over what can follow in the trie of "
        "items, as exact ranking does", choices=("tokens", "continuations"),
    )  # fmt: skip
    softmax: str | None = flag(
        "training", None,
        "full: a training step scores all items; sampled: its own targets and some that are drawn, "
        f"for items that are tokens of their own; default: full up to {MOST_SCORED:,} items",
        choices=("full", "sampled"),
    )  # fmt: skip
    epochs: int | None = flag("training", 100, "epochs at most", type=positive_int)
    seed: int = flag("training", 0, "seed of the whole run", type=natural)
    max_minutes: float | None = flag("training", None, "minutes at most", type=positive)
    max_steps: int | None = flag("training", None, "steps at most", type=positive_int)
    graph_every: int = flag(
        "training", 1,
        "propagate the graph once in so many steps, for large graphs: its gradient is added up "
        "meanwhile and applied at once", type=positive_int,
    )  # fmt: skip
    endure_times: int | None = flag(
        "validation", 5, "stop after so many epochs without a lower validation loss",
        type=positive_int,
    )  # fmt: skip
    valid_samples: int | None = flag(
        "validation", None, "validate on so many samples a task, evenly spread; default all",
        type=positive_int,
    )  # fmt: skip
    eval_users: int | None = flag(
        "validation", None,
        "rank for so many validation users after each epoch, and keep the model with the best "
        "NDCG@10 in place of the lowest loss", type=positive_int,
    )  # fmt: skip
    no_verdict: bool = flag("validation", False, "do not compare with simple models at the end")
    log_interval: int = flag(
        "validation", 200, "steps between lines of train_log.jsonl", type=positive_int
    )
    resume: str | None = flag(
        "runs that continue", None,
        "continue the run in --checkpoint, from its last saved state or the one of STEP",
        nargs="?", const="last", metavar="STEP",
    )  # fmt: skip
    overwrite: bool = flag("runs that continue", False, "start anew in a folder that holds a run")
    save_minutes: float = flag(
        "runs that continue", 10.0, "save the state this often and after each epoch", type=positive
    )
    skip_nonfinite: bool = flag(
        "runs that continue", False,
        "leave out steps whose loss is NaN or infinite, and count them; else they end the run",
    )  # fmt: skip
    batch_size: int | None = flag("size of a step", 64, "samples a batch", type=positive_int)
    accumulate: int = flag(
        "size of a step", 1, "batches a process adds up before each optimizer step",
        type=positive_int,
    )  # fmt: skip
    batch_tokens: int | None = flag(
        "size of a step", None,
        "cut batches at so many prompt tokens, pads counted: less memory, the same steps",
        type=positive_int,
    )  # fmt: skip
    pad_to: int = flag(
        "size of a step", 1, "pad prompts to a multiple of so many tokens, for --compile",
        type=positive_int,
    )  # fmt: skip
    compile: bool = flag("size of a step", False, "compile the model with torch.compile")
    shard: bool = flag(
        "size of a step", False,
        "split weights, gradients and optimizer state over the processes of torchrun (FSDP)",
    )  # fmt: skip
    tensorboard: str | None = flag(
        "machine and output", None, "also write losses, learning rate and samples/s for "
        "TensorBoard, by default into the run's folder", nargs="?", const="", metavar="FOLDER",
    )  # fmt: skip
    wandb: str | None = flag(
        "machine and output", None, "also write these for Weights & Biases; offline unless you are "
        "logged in (docs/training.md)", nargs="?", const="", metavar="PROJECT",
    )  # fmt: skip
    no_histories: bool = flag(
        "machine and output", False,
        "keep user ids and histories out of the run's folder, as for others (docs/library.md)",
    )  # fmt: skip
    cuda: bool = False
    deterministic: bool = False
    precision: str | None = None
    checkpoint: str = "./checkpoint/elmrec/"

    # ----------------------------------------------------------------------------- derived

    def as_arguments(self) -> dict[str, Any]:
        """Every setting by the name of its flag, as run.json has it."""
        return asdict(self)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.checkpoint)

    @property
    def has_graph(self) -> bool:
        """Whether any task reads the graph."""
        return WholeWords.GRAPH in schemes(self.method, self.whole_words).values()

    def resolved(self) -> "Settings":
        """What follows from other settings filled in, and all of it checked.

        Raises:
            UserError: naming the flags that do not go together.
        """
        check(self)
        backbone = self.backbone or MODEL_VERSIONS[self.model_version or 0]
        optimizer = self.optimizer
        if optimizer is None:
            scratch = self.from_scratch or backbone in BACKBONES
            optimizer = "adafactor" if scratch and not self.shard else "adamw"
        own_edges = "drop" if self.protocol == "clean" and self.has_graph else "keep"
        return replace(
            self,
            backbone=backbone,
            optimizer=optimizer,
            lr=self.lr or OPTIMIZERS[optimizer],
            item_ids=self.item_ids or {"clean": "random", "paper": "published"}[self.protocol],
            own_edges=self.own_edges or own_edges,
            preset=ALIASES.get(self.preset, self.preset or "readme"),
        )

    def _with_tasks(self, texts: bool) -> "Settings":
        if texts:
            return replace(self, tasks=["explanation", "sequential"])
        no_graph = {"explanation": "position", "direct": "position"}  # which are not trained
        return replace(self, tasks=["sequential"], whole_words=no_graph | self.whole_words)

    def for_data(self, name: str, windows: int, texts: int) -> tuple["Settings", str]:
        """What follows from the data set where it is not given: α, σ and L of the preset by its
        name; tasks, batch size, epochs and warm-up of our own presets by what is in it.

        Args:
            windows: of histories, in a pass over the data.
            texts: explanation records to train on.

        Returns:
            the settings, and where α, σ and L are from.
        """
        if self.tasks is None:
            return self._with_tasks(texts > 0).for_data(name, windows, texts)
        row, source = published_row(self.preset or "readme", name, self.objective)
        if not self.has_graph:  # POD and P5 have no alpha
            row, source = row._replace(alpha=1.0), f"--method {self.method}: no graph, α = 1"
        texts *= Task.EXPLANATION.label in self.tasks
        size = pace(windows, texts, self.epochs, self.max_steps)._asdict()
        size["endure_times"] = size["epochs"]
        preset = {"alpha": row.alpha, "sigma": row.sigma, "L": row.layers}
        given = [name for name in preset if getattr(self, name) is not None]
        filled = {n: value for n, value in (preset | size).items() if getattr(self, n) is None}
        return replace(self, **filled), source + (f"; given: {', '.join(given)}" if given else "")
