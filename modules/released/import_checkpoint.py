"""A model that ELMRec's authors released (or POD's) becomes a checkpoint folder of this program.

    python -m modules.released.import_checkpoint model.pt --data_dir ./data/beauty/ \\
        --out ./checkpoint/beauty/
    python topn.py ./data/beauty/ --checkpoint ./checkpoint/beauty/

Reads a whole pickled Solomon module without running anything of it (modules/released/reader.py),
and says what it found and what it left out. The folder is that of a run with --item_ids published
--protocol paper, which is how these models were trained.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from modules import data, loader, released, runs
from modules.presets import MAX_LAYERS
from modules.randomness import Stream, rng
from utils import cli, flag_types
from utils.console import printable, say
from utils.errors import UserError
from utils.files import check_file, whole_folder
from utils.own_files import check_place

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# How the published models were trained: what the file does not say and the test scripts ask for.
TRAINED = {
    "protocol": "paper",
    "item_ids": "published",
    "tasks": ["explanation", "sequential", "direct"],
    "negative_num": 99,
    "exp_len": 20,
    "preset": "readme",
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.new_parser(__doc__)
    parser.add_argument(
        "model",
        type=flag_types.path_name,
        metavar="MODEL.PT",
        help="file that torch.save(model) wrote",
    )
    parser.add_argument(
        "--data_dir",
        type=flag_types.path_name,
        required=True,
        help="data folder that it was trained on",
    )
    parser.add_argument(
        "--out", type=flag_types.path_name, required=True, help="checkpoint folder to write"
    )
    parser.add_argument(
        "--tokenizer", default="t5-small", help="T5's tokenizer: a folder, or a name on the hub"
    )
    parser.add_argument(
        "--alpha", type=flag_types.non_negative, help="α, where the file has no attribute alpha"
    )
    parser.add_argument(
        "--L", type=flag_types.whole(0, MAX_LAYERS), help="L, where the file has no attribute L"
    )
    parser.add_argument(
        "--no_histories",
        action="store_true",
        help="keep user ids and histories out of the folder (docs/library.md)",
    )
    parser.add_argument(
        "--seed",
        type=flag_types.natural,
        default=0,
        help="of what the test scripts draw, such as negatives",
    )
    args = parser.parse_args()

    if (Path(args.out) / "run.json").exists():
        raise UserError(f"--out {args.out}: holds a run already (run.json). Name another folder.")
    if os.path.isdir(args.out) and os.listdir(args.out):
        raise UserError(f"--out {args.out}: is not empty. Name a new folder.")
    check_place(Path(args.out), "--out")
    check_file(args.model, "Name a file that torch.save(model) wrote.")
    return args


def read_tokenizer(name: str, vocabulary: int) -> "PreTrainedTokenizerBase":
    """The tokenizer; UserError where it cannot be had, or has more tokens than the model."""
    from transformers.utils import cached_file

    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"--tokenizer {name}: is not a folder. Name the folder of T5's tokenizer.json."
        )
    try:
        if folder.is_dir():
            for entry in folder.iterdir():
                if not entry.is_dir():  # a pipe would be waited for
                    check_file(entry, "A link of that name leads nowhere; take it out.")
        else:
            cached_file(name, "tokenizer_config.json")  # an absent network is noticed sooner
        tokenizer = loader.load_tokenizer(name, "--tokenizer")
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--tokenizer {name}: neither a folder nor a name on the hub that can be reached "
            f"({reason}). Name a folder with T5's tokenizer.json."
        ) from error
    loader.check_vocabulary(f"--tokenizer {name}", tokenizer, vocabulary)
    return tokenizer


def main() -> None:
    """Read, check, write."""
    args = parse_args()
    dataset = data.load_dataset(args.data_dir)
    model, view, found, left = released.import_model(
        released.read_released(args.model), dataset, args.alpha, args.L
    )
    say(f"found in {args.model}:")
    for line in found:
        print(f"    {printable(line)}")
    say(f"left out: {', '.join(left) or 'nothing'}")
    say(f"{view}; item numbers published")

    tokenizer = read_tokenizer(args.tokenizer, model.t5.config.vocab_size)
    numbers = data.item_numbers("published", dataset.n_items, rng(args.seed, Stream.ITEM_NUMBERS))
    config, folder = model.config, Path(args.out)
    settings = {
        "method": config.method,
        "prompt_num": config.prompt_num,
        "alpha": config.alpha,
        "sigma": config.sigma,
        "L": config.graph_layers,
    }
    arguments = vars(args) | TRAINED | settings
    record = runs.RunRecord.now(arguments, dataset, view.held_out_edges, view.held_out_records)
    metadata = {"imported_from": Path(args.model).name, "run_id": record.run_id}
    with whole_folder(folder) as aside:
        model.save_pretrained(aside, metadata)
        runs.write_run(aside, record, tokenizer, numbers, dataset)
    say(f"written to {folder}; evaluate it with seq_reranker.py, topn.py, exp.py --checkpoint")


if __name__ == "__main__":
    cli.run(main)
