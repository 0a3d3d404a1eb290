"""T5 and its tokenizer: by hub name, from a folder, or built in (no network, no file)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from modules.loader.tokenizer import check_vocabulary, load_tokenizer, train_tokenizer
from modules.model.hub import ask_hub
from modules.model.t5_config import read_t5_config
from modules.presets import BACKBONES
from utils.errors import UserError
from utils.files import readable

# Of embeddings from scratch where outputs are not scaled: N(0, 1) would begin with scores of
# sqrt(D), far too certain.
UNSCALED_STD = 0.1
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_OFFLINE = (
    "Without a network, --backbone mini or tiny builds a small T5 from scratch, and --backbone "
    "FOLDER reads a local one (with --from_scratch its configuration and tokenizer are enough)."
)


def build_backbone(
    name: str, from_scratch: bool, texts: Sequence[str], dropout: float | None = None
) -> tuple[T5ForConditionalGeneration, PreTrainedTokenizerBase]:
    """The T5 that ``--backbone`` asks for.

    Args:
        name: ``tiny``, ``mini``, a folder, or a model's name on the Hugging Face hub.
        from_scratch: random weights in place of pre-trained ones.
        texts: training texts, from which a built-in backbone's tokenizer is made.
        dropout: rate, in place of the backbone's own.

    Raises:
        UserError: where the name is none of these.
    """
    changes = {} if dropout is None else {"dropout_rate": dropout}
    if name in BACKBONES:
        tokenizer = train_tokenizer(texts)
        config = T5Config(
            vocab_size=len(tokenizer),
            decoder_start_token_id=tokenizer.pad_token_id,
            **BACKBONES[name],
            **changes,
        )
        return _fresh(config), tokenizer
    folder = Path(name)
    if folder.is_dir():
        _check_folder(folder, from_scratch)
        config = read_t5_config(folder)
        config.update(changes)
        with readable(f"--backbone {folder}"):
            return _load(name, from_scratch, config)
    if folder.is_absolute() or name.startswith("."):
        raise UserError(f"--backbone {name}: no such folder. {_OFFLINE}")
    try:
        ask_hub(name)  # an absent network is noticed at once
        return _load(name, from_scratch, T5Config.from_pretrained(name, **changes))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--backbone {name}: not a local folder, and the hub does not give it ({reason}). "
            + _OFFLINE
        ) from error


def _fresh(config: T5Config) -> T5ForConditionalGeneration:
    """A T5 with random weights."""
    t5 = T5ForConditionalGeneration(config)
    if not config.scale_decoder_outputs:
        with torch.no_grad():
            t5.shared.weight.mul_(UNSCALED_STD)
    return t5


def _load(
    name: str, from_scratch: bool, config: T5Config
) -> tuple[T5ForConditionalGeneration, PreTrainedTokenizerBase]:
    tokenizer = load_tokenizer(name, "--backbone")
    if from_scratch:
        t5 = _fresh(config)
    else:
        t5, found = T5ForConditionalGeneration.from_pretrained(
            name, config=config, output_loading_info=True
        )
        if found["missing_keys"]:  # transformers would draw them at random
            raise UserError(
                f"--backbone {name}: the weights lack {len(found['missing_keys'])} tensors, "
                f"{min(found['missing_keys'])} among them. They are not of this configuration."
            )
    check_vocabulary(f"--backbone {name}", tokenizer, t5.config.vocab_size)
    return t5, tokenizer


def _check_folder(folder: Path, from_scratch: bool) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"--backbone {folder}: the folder has no config.json. {_OFFLINE}")
    if not from_scratch and not any((folder / file).is_file() for file in _WEIGHT_FILES):
        raise UserError(
            f"--backbone {folder}: the folder has no weights ({_WEIGHT_FILES[0]}). Add "
            "--from_scratch to start from random ones."
        )
