"""Fixtures: a data folder of a few users, a small random model, and where real data may lie; and
how a test runs a script: in its own process, in a forked one, or in a new one."""

import io
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = os.environ["OMP_NUM_THREADS"] = "1"  # read as these are imported:

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from modules.data.reader import load_dataset
from modules.loader.pieces import prompt_pieces
from modules.loader.prompts import Prompts
from modules.loader.tokenizer import train_tokenizer
from modules.loader.trie import build_trie
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import normalized_adjacency
from modules.runs.record import RunRecord
from modules.runs.run import Run
from tests.faults import Place
from utils.runtime import Machine

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # real data, where a developer has them; never needed to run
HISTORIES = {1: [3, 1, 4, 2, 5], 2: [1, 2, 3, 6], 3: [7, 8, 9, 1, 2, 3], 4: [12, 11, 10, 9]}
N_ITEMS = 12
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif("not torch.cuda.is_available()", reason="no CUDA device")
# The least run of pretrain.py on the four users: the authors' settings on a tiny T5.
TINY = ["--preset", "readme", "--backbone", "tiny", "--batch_size", "2", "--negative_num", "5"]
PRELOADED = [
    "modules.training.resume",
    "modules.recommend",
    "modules.verdict.compare",
]  # where tests fork from


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


def write_folder(folder: Path) -> Path:
    """A complete data folder of four users and twelve items."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{u} {' '.join(map(str, items))}\n" for u, items in HISTORIES.items()]
    (folder / "sequential.txt").write_text("".join(rows))
    free = {u: [i for i in range(1, N_ITEMS + 1) if i not in row] for u, row in HISTORIES.items()}
    rows = [f"{u} {' '.join(map(str, items[:5]))}\n" for u, items in free.items()]
    (folder / "negative.txt").write_text("".join(rows))
    maps = {
        "id2user": {str(u): f"U{u}" for u in HISTORIES},
        "id2item": {str(i): f"I{i}" for i in range(1, N_ITEMS + 1)},
    }
    (folder / "datamaps.json").write_text(json.dumps(maps))
    pairs = {"train": [(1, 3), (1, 5), (2, 1), (3, 7), (4, 12)], "val": [(2, 3)], "test": [(4, 9)]}
    records = {
        split: [
            {"user": u, "item": i, "explanation": f"item {i} is nice and warm", "feature": "warm"}
            for u, i in rows
        ]
        for split, rows in pairs.items()
    }
    (folder / "explanation.json").write_text(json.dumps(records))
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "few")


@pytest.fixture
def dataset(folder):
    return load_dataset(folder)


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(["it is nice and warm", "a bright lamp"])


@pytest.fixture
def pieces(dataset, tokenizer):
    return prompt_pieces(tokenizer, dataset.n_users, np.arange(dataset.n_items + 1))


@pytest.fixture
def prompts(pieces, model) -> Prompts:
    return Prompts(pieces, model.schemes)


@pytest.fixture
def trie(pieces):
    return build_trie(pieces.item_targets, pieces.pad)


def random_t5(vocab_size: int, seed: int = 0, **changes: Any) -> T5ForConditionalGeneration:
    """A small T5 whose random weights are large enough that probabilities differ.

    changes: of the configuration, such as ``feed_forward_proj="gated-gelu"``.
    """
    torch.manual_seed(seed)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4} | changes
    config = T5Config(vocab_size=vocab_size, decoder_start_token_id=0, **size)
    t5 = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in t5.named_parameters():
            if "layer_norm" not in name:
                parameter.mul_(1.5)
    return t5


@pytest.fixture
def model(dataset, tokenizer) -> ELMRec:
    torch.manual_seed(1)
    graph = normalized_adjacency(dataset.train_pairs(), dataset.n_users, dataset.n_items)
    config = ELMRecConfig(dataset.n_users, dataset.n_items, alpha=2.0, sigma=1.5, graph_layers=2)
    return ELMRec(random_t5(len(tokenizer)), config, graph).eval()


@pytest.fixture
def run(dataset, tokenizer, prompts, model) -> Run:
    """A run of the model on the four users, as training would have made it."""
    numbers = np.arange(dataset.n_items + 1)
    arguments = {"seed": 0, "tasks": ["explanation", "sequential", "direct"], "item_ids": "random"}
    record = RunRecord.now(arguments, dataset, 0, 0)
    machine = Machine(torch.device("cpu"), "fp32")
    return Run(dataset.folder, record, dataset, tokenizer, numbers, prompts, model, machine)


# ---------------------------------------------------------------- scripts


class Done(NamedTuple):
    """What a script that has ended leaves."""

    returncode: int
    stdout: str
    stderr: str


def script(*args: object, cwd: Path = ROOT, report: bool = False) -> Done:
    """Run a script in this process, for a new one needs seconds to import PyTorch.

    ``script("topn.py", data, "--top_n", 5)`` or ``script("-m", "modules.data.audit", data)``.
    What a script may change in the whole process is put back afterwards. report: fill report.html,
    else it is empty: its plots take longer than all the rest.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with _process_state_kept(cwd), redirect_stdout(out), redirect_stderr(err):
        code = 0
        try:
            _run_as_main(args, report)
        except SystemExit as ended:
            code = ended.code or 0
            if isinstance(code, str):  # a message; Python prints it
                print(code, file=sys.stderr)
                code = 1
        except Exception:
            traceback.print_exc()
            code = 1
    for stream in (out, err):
        stream.flush()
    return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


def process(*args: object, cwd: Path = ROOT, stdout: int | IO = subprocess.PIPE) -> Done:
    """Run a script in a new process: for exit codes, closed pipes and torchrun."""
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start(*args: object, output: Path, **environment: object) -> multiprocessing.Process:
    """Start a script in a process that is forked from one with PyTorch imported: for signals, and
    for scripts that work together.

    output: the file for its standard output; errors go beside it, into ``<name>.err``.
    environment: variables beside this process's.
    """
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOADED)
    forked = forks.Process(target=_run_forked, args=(args, output, environment))
    forked.start()
    return forked


def _run_forked(args: tuple, output: Path, environment: dict[str, Any]) -> None:
    for stream, path in ((1, output), (2, output.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update({name: str(value) for name, value in environment.items()})
    os.chdir(ROOT)
    if "KILL_AT" in environment:
        from tests.kills import arm  # which knows this file

        arm(int(environment["KILL_AT"]), str(environment["KILL_BELOW"]))
    _run_as_main(args, report=False)


def _run_as_main(args: tuple, report: bool) -> None:
    """What ``python <args>`` does."""
    module, *sys.argv = map(str, args if args[0] == "-m" else ("", *args))
    page = nullcontext() if report else mock.patch("modules.reports.page.build", return_value="")
    with page:
        if module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")


@contextmanager
def _process_state_kept(cwd: Path) -> Iterator[None]:
    generators = random.getstate(), np.random.get_state()  # noqa: NPY002
    deterministic = torch.are_deterministic_algorithms_enabled()
    matmul, dtype = torch.get_float32_matmul_precision(), torch.get_default_dtype()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            mock.patch.dict(os.environ),
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),  # of the CPU
        ):
            warnings.filterwarnings("ignore", message=".*found in sys.modules", module="runpy")
            patch.chdir(cwd)
            patch.setattr(sys, "argv", sys.argv)
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        torch.use_deterministic_algorithms(deterministic)
        torch.set_float32_matmul_precision(matmul)
        torch.set_default_dtype(dtype)
        for number, handler in handlers.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- folders to spoil: tests/faults.py


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory) -> Path:
    """A folder with ``data`` and, of a run of two steps on it, ``run``."""
    base = tmp_path_factory.mktemp("faults")
    small = (*TINY, "--max_steps", 2, "--checkpoint", base / "run")
    done = script("pretrain.py", write_folder(base / "data"), *small)
    assert done.returncode == 0, done.stderr
    return base


@pytest.fixture
def place(trained_once, tmp_path, monkeypatch) -> Place:
    shutil.copytree(trained_once, tmp_path / "at")
    return Place(tmp_path / "at" / "data", tmp_path / "at" / "run", monkeypatch)
