"""The configuration of T5: the entries of config.json that make it, each with its limits."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from transformers import T5Config

from modules.model.config import CONFIG_FILE
from utils.files import readable
from utils.json_files import read_json


def _size(most: int) -> Any:
    return Annotated[int, Meta(ge=1, le=most)]


_Token = Annotated[int, Meta(ge=0, le=2**27)]
_Share = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class T5Numbers:
    """The entries of config.json that make this project's T5. No other is passed on: transformers
    takes any, and some cost time or memory without end."""

    vocab_size: _size(2**27)
    d_model: _size(2**20)
    d_kv: _size(2**16)
    d_ff: _size(2**24)
    num_layers: _size(256)
    num_decoder_layers: _size(256) | None = None  # None: as many as the encoder's
    num_heads: _size(2**12)
    # Half of the buckets are for single distances; of fewer, or a shorter reach, the logarithm
    # that spreads the others is of no number.
    relative_attention_num_buckets: Annotated[int, Meta(ge=4, le=2**12)] = 32
    relative_attention_max_distance: _size(2**24) = 128
    dropout_rate: _Share = 0.1
    layer_norm_epsilon: Annotated[float, Meta(gt=0, le=1)] = 1e-6
    feed_forward_proj: Literal[
        "relu", "gelu", "gelu_new", "silu", "gated-relu", "gated-gelu", "gated-silu"
    ] = "relu"
    pad_token_id: _Token
    eos_token_id: _Token
    decoder_start_token_id: _Token
    tie_word_embeddings: bool = True  # before transformers 5, false: outputs are not scaled
    scale_decoder_outputs: bool | None = None

    def __post_init__(self) -> None:
        if self.relative_attention_max_distance <= self.relative_attention_num_buckets:
            raise ValueError(
                "'relative_attention_max_distance' must be more than "
                f"'relative_attention_num_buckets', {self.relative_attention_num_buckets}"
            )
        for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
            if getattr(self, name) >= self.vocab_size:
                raise ValueError(
                    f"{name!r} is {getattr(self, name)}; it must be from 0 to {self.vocab_size - 1}"
                )

    @property
    def decoder_layers(self) -> int:
        """Of the decoder."""
        return self.num_decoder_layers or self.num_layers

    def config(self) -> T5Config:
        """What transformers needs."""
        known = asdict(self)
        known["num_decoder_layers"] = self.decoder_layers
        scaled = known.pop("scale_decoder_outputs")
        if scaled is not None:  # transformers 5 knows this name, and reads the other for it
            known["tie_word_embeddings"] = scaled
        return T5Config(**known)


def read_t5_config(folder: Path) -> T5Config:
    """The configuration of a T5 that another program may have written.

    Raises:
        UserError: naming the file, where it is missing, or a number is out of its limits.
    """
    path = folder / CONFIG_FILE
    numbers = read_json(path, T5Numbers)
    with readable(str(path)):
        return numbers.config()
