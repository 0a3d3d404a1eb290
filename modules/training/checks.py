"""Which ``Settings`` (modules/training/settings.py) do not go together: one table, a row a rule."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from modules.presets import ALIASES, OWN_PRESETS
from utils.errors import UserError


class Check(NamedTuple):
    """Settings that do not go together, and what is said of them."""

    broken: Callable[[Any], Any]
    message: str  # with the settings as {s}


def _is_missing(package: str) -> bool:
    """A folder of that name in the path, as wandb leaves one, is no package."""
    found = find_spec(package)
    return found is None or found.origin is None


CHECKS = (
    Check(
        lambda s: s.backbone and s.model_version is not None,
        "--backbone {s.backbone} and --model_version {s.model_version} contradict each other. "
        "Give one of them.",
    ),
    Check(
        lambda s: s.shard and (s.optimizer == "adafactor" or s.graph_every > 1 or s.compile),
        "--shard works with --optimizer adamw alone, and without --graph_every and --compile: "
        "these need whole tensors. Leave out --shard, or them.",
    ),
    Check(
        lambda s: s.as_published and s.preset in (*OWN_PRESETS, *ALIASES),
        "--as_published and --preset {s.preset} contradict each other: the one is the authors' "
        "training, the other our own. Give one of them.",
    ),
    Check(
        lambda s: s.score_pads and (s.loss != "tokens" or s.causal),
        "--score_pads is for whole target texts, as the published loss reads them. Leave out "
        "--loss continuations and --causal, or it.",
    ),
    Check(
        lambda s: s.simulate_leak and s.protocol != "paper",
        "--simulate_leak shows the published graph, with held-out pairs in it; --protocol "
        "{s.protocol} has none. Give --protocol paper, or leave it out.",
    ),
    Check(
        lambda s: s.shard and s.eval_users,
        "--eval_users ranks with a whole model, --shard splits it. Give one of them.",
    ),
    Check(
        lambda s: s.item_vectors == "cooccurrence" and s.item_ids != "own",
        "--item_vectors {s.item_vectors} is for tokens that name one item each: give "
        "--item_ids own as well.",
    ),
    Check(
        lambda s: s.softmax == "sampled" and (s.loss != "continuations" or s.item_ids != "own"),
        "--softmax {s.softmax} is for items that are one token each, scored as such: give "
        "--item_ids own and --loss continuations as well, or --preset elmrec_clean.",
    ),
    Check(
        lambda s: s.skip_nonfinite and s.graph_every > 1,
        "--skip_nonfinite: a step that is left out would spoil what --graph_every "
        "{s.graph_every} adds up. Give one of them.",
    ),
    Check(
        lambda s: not s.has_graph and s.sigma is not None,
        "--sigma is of the graph, which --method {s.method} does not have. Leave it out.",
    ),
    Check(
        lambda s: not s.has_graph and s.L is not None,
        "--L is of the graph, which --method {s.method} does not have. Leave it out.",
    ),
    Check(
        lambda s: not s.has_graph and s.graph_every > 1,
        "--graph_every {s.graph_every}: --method {s.method} has no graph. Leave it out.",
    ),
    Check(
        lambda s: s.item_graph != "none" and not (s.causal and s.item_ids == "own"),
        "--item_graph {s.item_graph} is for items that are one token each, which histories are "
        "read for: give --item_ids own and --causal as well, or --preset elmrec_clean.",
    ),
    Check(
        lambda s: s.item_graph != "none" and not s.eval_users,
        "--item_graph {s.item_graph}: what it is worth is fitted on validation users. Give "
        "--eval_users as well, such as 4000.",
    ),
    Check(
        lambda s: not s.has_graph and s.own_edges == "drop",
        "--own_edges {s.own_edges}: --method {s.method} has no graph. Leave it out.",
    ),
    Check(
        lambda s: s.tensorboard is not None and _is_missing("tensorboard"),
        "--tensorboard: the package tensorboard is missing. Install it with pip install "
        "tensorboard, or leave the flag out: train_log.jsonl has the same numbers.",
    ),
    Check(
        lambda s: s.wandb is not None and _is_missing("wandb"),
        "--wandb: the package wandb is missing. Install it with pip install wandb, or leave the "
        "flag out: train_log.jsonl has the same numbers.",
    ),
)


def check(settings: Any) -> None:
    """UserError for the first row of ``CHECKS`` that is broken."""
    for row in CHECKS:
        if row.broken(settings):
            raise UserError(row.message.format(s=settings))
