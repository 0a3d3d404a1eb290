"""The published models as their files hold them: a pickled ``Solomon`` module (ELMRec's, POD's).

It knows how such a module is made: T5 subclassed, three more tables, numbers as attributes. What
becomes of it is for modules/released/convert.py. Nothing here unpickles (modules/released/torch_file.py).
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import T5Config, T5ForConditionalGeneration

from modules.released.torch_file import Dense, Record, SparseCoo, read_torch_file
from utils.errors import UserError, limit

CLASS = "Solomon"  # in both repositories; its module is model.module (ELMRec) or module (POD)
_INERT = (  # where the other classes of a pickled T5 live
    "torch.nn.modules",
    "transformers.models.t5",
    "transformers.activations",
    "transformers.configuration_utils",
    "transformers.generation.configuration_utils",
)
_MAX_MODULES = 10_000  # T5-11B has under two thousand; a cycle has no end

# What T5Config needs of the pickled configuration: (names, whole numbers, at least).
_NUMBERS = (
    (("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers"), True, 1),
    (("num_heads", "relative_attention_num_buckets"), True, 1),
    (("dropout_rate", "layer_norm_epsilon", "initializer_factor"), False, 0),
    (("pad_token_id", "eos_token_id", "decoder_start_token_id"), True, 0),
)
# Not in configurations of before transformers 4.13, which knew this one distance.
_OLD_DISTANCE = 128


class Published(NamedTuple):
    """What a file holds: every tensor by its name in the module, and plain attributes."""

    path: Path
    class_name: str
    tensors: dict[str, torch.Tensor]
    sparse: dict[str, SparseCoo]
    config: dict[str, Any]
    attributes: dict[str, Any]

    def number(self, name: str, whole: bool, low: float, config: bool = False) -> Any:
        """An attribute (or an entry of the configuration) that is a number; None without it."""
        value = (self.config if config else self.attributes).get(name)
        kinds = (int,) if whole else (int, float)
        if value is not None and (type(value) not in kinds or not low <= value <= 1e9):
            raise UserError(
                f"{self.path}: {name} is {limit(value)}, no "
                f"{'whole number' if whole else 'number'} from {low:g} to 1e9."
            )
        return value

    def tensor(self, name: str, shape: tuple[int, ...], why: str) -> torch.Tensor:
        """A tensor of that shape, float32 and finite; UserError where the file's is not."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise UserError(f"{self.path}: the module has no {name}.")
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise UserError(
                f"{self.path}: {name} is {tuple(tensor.shape)} of {tensor.dtype}; it must be "
                f"{shape} of floating-point numbers ({why})."
            )
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{self.path}: {name} holds values that are not finite.")
        return tensor.float()


def _is_inert(module: str, name: str) -> bool:
    return name == CLASS or any(module == m or module.startswith(m + ".") for m in _INERT)


def read_published(path: str | Path) -> Published:
    """Read a file without running anything of it.

    Raises:
        UserError: where it asks for something to be run, is damaged, or holds no such module.
    """
    path = Path(path)
    root = read_torch_file(path, _is_inert)
    name = root.class_name if isinstance(root, Record) else type(root).__name__
    if name.rpartition(".")[2] != CLASS:
        raise UserError(
            f"{path}: holds a {limit(name)}. It must hold a whole {CLASS} module, as the published "
            "pretrain.py saves it with torch.save(model)."
        )
    config = root.state.get("config")
    if not isinstance(config, Record):
        raise UserError(f"{path}: the module has no T5 configuration ('config').")
    found = _named_tensors(path, root)
    attributes = {
        key: value
        for key, value in root.state.items()
        if isinstance(key, str) and not key.startswith("_") and key not in ("training", "config")
    }
    sparse = {n: v for n, v in (attributes | found).items() if isinstance(v, SparseCoo)}
    tensors = {n: v.tensor for n, v in found.items() if isinstance(v, Dense)}
    return Published(path, name, tensors, sparse, config.state, attributes)


def _named_tensors(path: Path, root: Record) -> dict[str, Dense | SparseCoo]:
    """Parameters and buffers of a module and the modules in it, by their full names."""
    tensors: dict[str, Dense | SparseCoo] = {}
    waiting, count = [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        count += 1
        parts = [module.state.get(key, {}) for key in ("_parameters", "_buffers", "_modules")]
        if count > _MAX_MODULES or any(not isinstance(part, dict) for part in parts):
            raise UserError(f"{path}: {limit(prefix or CLASS)} is no module of PyTorch.")
        for name, value in (*parts[0].items(), *parts[1].items()):
            if isinstance(value, Dense | SparseCoo):
                tensors[f"{prefix}{name}"] = value
        for name, child in parts[2].items():
            if isinstance(child, Record):
                waiting.append((f"{prefix}{name}.", child))
    return tensors


def _t5_config(published: Published) -> T5Config:
    table: dict[str, Any] = {}
    for names, whole, low in _NUMBERS:
        for name in names:
            table[name] = published.number(name, whole, low, config=True)
            if table[name] is None:
                raise UserError(f"{published.path}: the T5 configuration has no {name}.")
    kind = published.config.get("feed_forward_proj")
    if kind not in ("relu", "gated-gelu"):
        raise UserError(
            f"{published.path}: feed_forward_proj is {limit(kind)}; relu and gated-gelu are known."
        )
    for side, name in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        blocks = {n.split(".")[2] for n in published.tensors if n.startswith(f"{side}.block.")}
        if len(blocks) != table[name]:
            raise UserError(
                f"{published.path}: {name} is {table[name]}, but the {side} has {len(blocks)} "
                "blocks."
            )
    distance = published.number("relative_attention_max_distance", True, 1, config=True)
    # Whether the decoder's states are scaled; before version 5 a tied output layer said so.
    scaled = published.config.get(
        "scale_decoder_outputs", published.config.get("tie_word_embeddings", True)
    )
    return T5Config(
        **table,
        feed_forward_proj=kind,
        relative_attention_max_distance=distance or _OLD_DISTANCE,
        tie_word_embeddings=bool(scaled),
    )


def published_t5(published: Published) -> T5ForConditionalGeneration:
    """The T5 part; every tensor is held against the configuration before room is made for it."""
    config = _t5_config(published)
    with torch.device("meta"):
        shapes = T5ForConditionalGeneration(config).state_dict()
    tensors = {
        name: published.tensor(name, tuple(expected.shape), "by the T5 configuration")
        for name, expected in shapes.items()
    }
    t5 = T5ForConditionalGeneration(config)
    t5.load_state_dict(tensors)
    for name, loaded in t5.state_dict().items():
        if not torch.equal(loaded, tensors[name]):  # tied weights are one: the last that was read
            raise UserError(
                f"{published.path}: {name} is not the token embedding ('shared'), as in T5 1.1. "
                "Only models that tie them can be imported, as the published ones do."
            )
    return t5.eval()
