"""A run put together from ``Settings``: a fresh model, streams of steps, the trainer."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from modules.data.cooccurrence import collaborative_numbers, cooccurrence_vectors
from modules.data.dataset import RecDataset
from modules.data.item_graph import item_graph
from modules.data.negatives import NegativeSampler
from modules.data.protocols import TrainView, item_numbers
from modules.loader.ahead import Ahead
from modules.loader.batches import BatchSize
from modules.loader.pieces import prompt_pieces, text_targets
from modules.loader.prompts import Prompts
from modules.loader.tokenizer import add_item_tokens
from modules.loader.training_stream import Records, StepPlan, TrainingStream
from modules.loader.trie import build_trie
from modules.model.backbone import build_backbone
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph, normalized_adjacency
from modules.model.loss import ContinuationLoss
from modules.presets import DRAWN, ITEM_GRAPHS
from modules.randomness import Stream, rng
from modules.runs.record import RunRecord
from modules.runs.run import Run, tasks_of
from modules.tasks import Task
from modules.training.settings import Settings
from modules.training.trainer import Trainer
from modules.training.validation import Validation
from utils import distributed
from utils.console import say
from utils.runtime import Machine, StopSignals, seed_everything, start_machine

__all__ = ["StopSignals", "new_run", "new_trainer", "start_machine"]

# Size of co-occurrence vectors, as a multiple of random tokens': a step changes less of what
# they know. From 1 to 6 was tried (benchmarks/EXPERIMENTS.md).
VECTOR_SCALE = 3.0


def new_run(settings: Settings, dataset: RecDataset, view: TrainView, machine: Machine) -> Run:
    """A run with a fresh model; everything random comes from ``settings.seed``."""
    seed_everything(settings.seed)
    numbers = _numbers(settings, dataset)
    texts = view.explanations.texts if view.explanations is not None else ()
    t5, tokenizer = build_backbone(
        settings.backbone, settings.from_scratch, texts, settings.dropout
    )
    own = settings.item_ids == "own"
    if own:
        vectors = settings.item_vectors == "cooccurrence"
        give_own_tokens(t5, tokenizer, numbers, dataset if vectors else None)
    pieces = prompt_pieces(tokenizer, dataset.n_users, numbers, own)
    item_graphs = {}
    for name in ITEM_GRAPHS[settings.item_graph]:
        say(f"fitting the item graph {name} of {dataset.n_items:,} items")
        item_graphs[name] = item_graph(name, dataset)
    through_users = any(graph.through_users for graph in item_graphs.values())
    config = _config(settings, dataset, through_users)
    graph = item_loss = None
    if config.has_graph:
        graph = normalized_adjacency(view.edges, dataset.n_users, dataset.n_items)
    if settings.loss == "continuations":
        trie = build_trie(pieces.item_targets, t5.config.decoder_start_token_id)
        item_loss = ContinuationLoss(trie, DRAWN if settings.softmax == "sampled" else None)
    graphs = {name: Graph.of(graph.edges) for name, graph in item_graphs.items()}
    model = ELMRec(t5, config, graph, item_loss, not settings.shard, graphs)
    model.to(machine.device)
    if distributed.rank():  # the same weights on every rank, but dropout of its own
        torch.manual_seed(settings.seed + distributed.rank())
    arguments = settings.as_arguments() | {"precision": machine.precision}
    record = RunRecord.now(arguments, dataset, view.held_out_edges, view.held_out_records)
    drop, graphs = config.own_edges == "drop", model.item_scores is not None
    prompts = Prompts(pieces, model.schemes, config.causal, drop, graphs, settings.score_pads)
    run = Run(settings.folder, record, dataset, tokenizer, numbers, prompts, model, machine)
    say(_describe(run, settings))
    return run


def _config(settings: Settings, dataset: RecDataset, through_users: bool) -> ELMRecConfig:
    return ELMRecConfig(
        dataset.n_users,
        dataset.n_items,
        settings.method,
        prompt_num=settings.prompt_num,
        alpha=settings.alpha,
        sigma=settings.sigma,
        graph_layers=settings.L,
        causal=settings.causal,
        whole_words=settings.whole_words,
        propagation=settings.propagation,
        own_edges=settings.own_edges,
        item_graph=settings.item_graph,
        through_users=through_users,
        decoder_sees_pads=settings.decoder_sees_pads,
        train_row_0=settings.train_row_0,
    )


def _numbers(settings: Settings, dataset: RecDataset) -> np.ndarray:
    if settings.item_ids == "collaborative":
        return collaborative_numbers(dataset)
    generator = rng(settings.seed, Stream.ITEM_NUMBERS)
    return item_numbers(settings.item_ids, dataset.n_items, generator)


def _describe(run: Run, settings: Settings) -> str:
    parameters = sum(p.numel() for p in run.model.parameters())
    return (
        f"{settings.method} on {settings.backbone}: {parameters / 1e6:.1f} M parameters, "
        f"{run.machine.precision} on {run.machine.device}; {settings.optimizer}, learning rate "
        f"{settings.lr:g}"
    )


def give_own_tokens(
    t5: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    numbers: np.ndarray,
    dataset: RecDataset | None,
) -> None:
    """Add a token for every item. Its embedding is drawn at random, of the other tokens' size; or,
    where a dataset is given, it is the item's co-occurrence vector, ``VECTOR_SCALE`` times that."""
    tokens = add_item_tokens(tokenizer, len(numbers) - 1)[numbers[1:] - 1]  # (I,) by item
    scale = t5.shared.weight.std().item()
    if len(tokenizer) > t5.config.vocab_size:
        t5.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = torch.randn(len(tokens), t5.config.d_model)
    if dataset is not None:
        rows = torch.from_numpy(cooccurrence_vectors(dataset, t5.config.d_model))
        rows *= VECTOR_SCALE / rows.std()
    with torch.no_grad():
        t5.shared.weight[tokens] = rows * scale


def training_streams(run: Run, settings: Settings, view: TrainView) -> dict[Task, TrainingStream]:
    """An endless stream of training steps for each task."""
    plan = StepPlan(
        BatchSize(settings.batch_size, settings.batch_tokens),
        settings.accumulate,
        distributed.rank(),
        distributed.world_size(),
        settings.pad_to,
    )
    streams = {}
    for task in tasks_of(run.dataset, settings.tasks):
        source = None
        if task is Task.EXPLANATION:
            records = view.explanations
            targets, _ = text_targets(run.tokenizer, records.texts, settings.exp_len)
            source = Records(records.users, records.items, targets)
        elif task is Task.DIRECT:
            source = NegativeSampler(run.dataset, settings.negative_num)
        generator = rng(settings.seed, Stream.TRAIN + task)
        streams[task] = TrainingStream(task, run.dataset, run.prompts, plan, generator, source)
    return streams


def new_trainer(
    run: Run, settings: Settings, view: TrainView, stop_asked: Callable[[], bool] = lambda: False
) -> Trainer:
    """The trainer of a run. stop_asked: asked after each step; when true, training ends there."""
    streams = training_streams(run, settings, view)
    if run.machine.device.type == "cuda":
        streams = {task: Ahead(stream) for task, stream in streams.items()}
    validation = Validation.of(run, settings)
    return Trainer(run.model, streams, validation, settings, run.machine, stop_asked)
