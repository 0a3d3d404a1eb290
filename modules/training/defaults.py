"""``--preset`` and ``--backbone`` where they are not given."""

import argparse
import os
from dataclasses import fields

from modules.model.hub import ask_hub
from modules.presets import MODEL_VERSIONS, PRESETS
from modules.training.published import Published
from modules.training.settings import Settings
from utils.console import say
from utils.errors import limit

_DEFAULTS = Settings()
# Who chooses one of these has a model in mind, and gets the authors' settings for the rest.
_SHAPING = (
    "method", "whole_words", "propagation", "item_vectors", "item_graph", "causal", "alpha",
    "sigma", "L", "objective", "protocol", "simulate_leak", "item_ids", "own_edges", "loss",
    "shard", "compile", "model_version", "from_scratch", "graph_every",
    *(field.name for field in fields(Published)),
)  # fmt: skip


def default_preset(args: argparse.Namespace, folder: str | None) -> str:
    """``--preset`` where it is not given: the authors' for their data, and where a flag shapes the
    model; else the best that we know. folder: of the data, as it was typed."""
    name = os.path.basename(os.path.abspath(folder or ""))
    published = name.lower() in PRESETS["readme"]
    given = [name for name in _SHAPING if getattr(args, name) != getattr(_DEFAULTS, name)]
    return "readme" if published or given else "elmrec_clean"


def default_backbone() -> str | None:
    """``--backbone`` where nothing is given: None, the published t5-small; or where that is not to
    be had, a built-in one, and says so."""
    name = MODEL_VERSIONS[0]
    try:
        ask_hub(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        say(
            f"{name} is not to be had here ({limit(reason, 120)}): taking --backbone mini, a small "
            "T5 from random weights. Published figures are of the pre-trained one."
        )
        return "mini"
    return None
