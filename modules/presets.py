"""The authors' table of settings, our own, built-in backbones, and how far settings may go."""

from typing import NamedTuple

# Beyond these a run would only hang, or fill the memory.
MAX_LAYERS = 100  # L: after a few hops all nodes look alike
MAX_PROMPTS = 1000  # K


class Row(NamedTuple):
    """One column group of the authors' table of settings."""

    alpha: float
    sigma: float
    reach: int  # N: items taken beyond top_n before reranking
    layers: int  # L


PRESETS: dict[str, dict[str, dict[str, Row]]] = {
    "readme": {
        "sports": {"direct": Row(5, 5, 10, 4), "sequential": Row(11, 5, 10, 4)},
        "beauty": {"direct": Row(9, 6, 15, 4), "sequential": Row(6, 6, 15, 4)},
        "toys": {"direct": Row(9, 5, 10, 4), "sequential": Row(5, 5, 10, 4)},
    },
    "corrected": {
        "sports": {"direct": Row(5, 5, 10, 4), "sequential": Row(1, 5, 10, 4)},
        "beauty": {"direct": Row(9, 6, 15, 4), "sequential": Row(6, 6, 15, 4)},
        "toys": {"direct": Row(11, 5, 10, 4), "sequential": Row(9, 5, 10, 4)},
    },
}
# Ours, of benchmarks/EXPERIMENTS.md: the authors' α, σ, L, and lists long enough that no history
# empties them.
PRESETS["item_tokens"] = {
    dataset: {objective: row._replace(reach=20) for objective, row in rows.items()}
    for dataset, rows in PRESETS["readme"].items()
}
PRESETS["elmrec_clean"] = {}  # one row for all data: W as large as the table of positions
CLEAN = Row(1, 0.25, 20, 2)
ALIASES = {"best": "item_tokens"}  # former names of presets
# Defaults of pretrain.py's other flags with --preset item_tokens: without a graph.
ITEM_TOKENS = {
    "backbone": "shallow",
    "item_ids": "own",
    "item_vectors": "cooccurrence",
    "causal": True,
    "loss": "continuations",
    "tasks": ["sequential"],
    "method": "pod",
    "dropout": 0.3,
    "optimizer": "adamw",
    "lr": 2e-3,
    "schedule": "linear",
    "warmup": None,  # these four follow the data: ``pace``
    "batch_size": None,
    "epochs": None,
    "endure_times": None,
    "eval_users": 4000,
}
# The best that we know under the clean protocol: the same with the item graph; and explanations,
# told of the user-item graph, where the data have texts.
ELMREC_CLEAN = ITEM_TOKENS | {
    "item_graph": "both",
    "method": "elmrec",
    "tasks": None,
    "text_dropout": 0.1,
}
OWN_PRESETS = {"item_tokens": ITEM_TOKENS, "elmrec_clean": ELMREC_CLEAN}

# --softmax: up to so many items a training step scores all of them; of more, its own targets and so
# many others (modules/model/loss.py).
MOST_SCORED, DRAWN = 100_000, 1 << 14


class Pace(NamedTuple):
    """How long a training lasts, and in what steps."""

    batch_size: int
    epochs: int
    warmup: int  # steps


def pace(windows: int, texts: int = 0, given: int | None = None, most: int | None = None) -> Pace:
    """What our own presets do with so many samples a pass: windows of histories, and texts.

    Steps of a fiftieth of the windows, from 16 to 128 samples; 14 passes over them, or as many more
    as make 1,500 steps, 60 at most; with texts twice the steps, for the tasks take turns. The
    learning rate rises over a twelfth of the run. given: epochs, where they are; most: steps.
    """
    batch_size = min(max(1 << (windows // 50).bit_length() >> 1, 16), 128, windows)
    steps = windows // batch_size
    wanted = steps * min(max(-(-1500 // steps), 14), 60)
    if texts >= batch_size:
        steps, wanted = steps + texts // batch_size, 2 * wanted
    epochs = given or -(-wanted // steps)
    return Pace(batch_size, epochs, min(steps * epochs, most or steps * epochs) // 12)


# For data sets without a published row: whole words of the size of a fresh T5's tokens.
UNPUBLISHED = Row(1, 1, 10, 4)


MODEL_VERSIONS = ("t5-small", "t5-base", "t5-large", "t5-3b", "t5-11b")  # --model_version 0..4

# Built-in sizes of T5: always from scratch, with a tokenizer trained on the data set.
BACKBONES = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_heads": 4},
    "mini": {"d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 4, "num_heads": 4},
    # For items that are tokens of their own: short prompts, and all the answer in one embedding.
    # Untied is T5 1.1's word for outputs that are not scaled by D^-1/2.
    "narrow": {
        "d_model": 128, "d_kv": 64, "d_ff": 512, "num_layers": 2, "num_decoder_layers": 1,
        "num_heads": 2, "tie_word_embeddings": False,
    },
    "shallow": {
        "d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 2, "num_decoder_layers": 1,
        "num_heads": 4, "tie_word_embeddings": False,
    },
}  # fmt: skip


# Names of PROPAGATIONS (modules/model/graph.py), for the flag: torch is not loaded for it.
GRAPH_ENCODERS = ("lightgcn",)

# What becomes of the edges that a training step asks about (docs/protocols.md).
OWN_EDGES = ("keep", "drop")

# What the scores of items know besides the T5 (modules/data/item_graph.py).
ITEM_GRAPHS = {
    "none": (),
    "linear": ("linear",),
    "paths": ("paths",),
    "both": ("linear", "paths"),
}


def published_row(preset: str, dataset: str, objective: str) -> tuple[Row, str]:
    """The settings of a data set, and where they are from, for the log."""
    preset = ALIASES.get(preset, preset)
    if preset == "elmrec_clean":
        return CLEAN, f"--preset {preset}: {CLEAN}"
    table = PRESETS[preset].get(dataset.lower())
    if table is None:
        return UNPUBLISHED, f"no published settings for {dataset!r}: {UNPUBLISHED}"
    return table[objective], f"--preset {preset}, {dataset}, {objective}: {table[objective]}"


def extra_items(given: int | None, preset: str, dataset: str) -> int:
    """N, the items taken beyond top_n before reranking: as given, else the preset's."""
    return published_row(preset, dataset, "sequential")[0].reach if given is None else given
