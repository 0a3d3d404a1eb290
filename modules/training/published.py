"""What the published training does otherwise than ours: a flag each, and all of it at once.

The table of what the paper says, what its code does and what ours does is in docs/protocols.md.
"""

from dataclasses import dataclass
from typing import Any

from modules.tasks import METHODS, WholeWords
from modules.training.flag_types import flag

GROUP = "as published"

# ``--as_published``: the published pretrain.py. What is given by a flag of its own stays as given.
AS_PUBLISHED = {
    "protocol": "paper",  # the graph and the records of explanation.json's train part
    "item_ids": "published",
    "own_edges": "keep",
    "decoder_sees_pads": True,
    "train_row_0": True,
    "score_pads": True,
    "fresh_negatives": True,
    "optimizer": "adamw",
    "lr": 1e-3,
    "alpha": 11.0,
    "sigma": 5.0,
    "L": 4,
    "precision": "fp32",
}
OF_THE_GRAPH = ("own_edges", "sigma", "L")


def as_published(method: str) -> dict[str, Any]:
    """``AS_PUBLISHED`` of a method: POD and P5 know no graph, and α = 1."""
    if WholeWords.GRAPH in METHODS[method].whole_words.values():
        return AS_PUBLISHED
    left = {name: value for name, value in AS_PUBLISHED.items() if name not in OF_THE_GRAPH}
    return left | {"alpha": 1.0}


@dataclass(frozen=True)
class Published:
    """The settings of a training run (``Settings``) that are there for the published one alone."""

    as_published: bool = flag(
        GROUP, False,
        "the published training in all its choices: protocol paper, the data's own numbers, own "
        "edges kept, the four flags below, AdamW at 0.001, α 11, σ 5, L 4, fp32; further flags "
        "change single ones of them",
    )  # fmt: skip
    decoder_sees_pads: bool = flag(
        GROUP, False, "the decoder attends to pads of the prompts; kept in the model"
    )
    train_row_0: bool = flag(
        GROUP, False,
        "tokens outside of mentions, and pads, get a random whole-word vector that is learned, in "
        "place of none; kept in the model",
    )  # fmt: skip
    score_pads: bool = flag(
        GROUP, False, "the loss also scores the pads behind the shorter targets of a batch"
    )
    fresh_negatives: bool = flag(
        GROUP, False, "draw the direct task's validation negatives anew for each validation"
    )
