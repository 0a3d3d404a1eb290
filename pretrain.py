"""Train one model on the three tasks.

    python pretrain.py ./data/beauty/ --cuda --batch_size 64 --checkpoint ./checkpoint/beauty/
    python pretrain.py ./data/demo/ --backbone tiny --checkpoint ./checkpoint/demo/

The best model by validation loss is kept in the folder of --checkpoint, with what the test
scripts need to know of the run.
"""

import argparse
from pathlib import Path

import torch

from modules import presets
from modules.data.dataset import RecDataset, TrainView, train_view
from modules.data.reader import load_dataset
from modules.loader.training_stream import StepPlan
from modules.model.backbone import BUILT_IN, MODEL_VERSIONS
from modules.model.loss import continuations
from modules.randomness import Stream, rng
from modules.reports.page import write_report
from modules.runs.folder import RUN_FILE
from modules.runs.run import (
    Experiment,
    describe_view,
    new_experiment,
    tasks_of,
    training_samplers,
)
from modules.tasks import Task, WholeWords, schemes
from modules.training import flags as training_flags
from modules.training import trainer as training
from modules.training.log import TrainingLog, event_folder
from modules.training.resume import claim_folder, resume_run, run_training, start_run
from modules.training.validation import validation_ranking, validation_sets
from utils import cli, distributed
from utils.console import say
from utils.errors import UserError
from utils.provenance import provenance
from utils.runtime import StopSignals, start_machine


def parse_args() -> argparse.Namespace:
    """The command line, with what depends on other flags filled in."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    training_flags.add_model_flags(parser)
    training_flags.add_protocol_flags(parser)
    training_flags.add_training_flags(parser)
    training_flags.add_validation_flags(parser)
    training_flags.add_state_flags(parser)
    training_flags.add_size_flags(parser)
    training_flags.add_curve_flags(parser)
    cli.add_machine_flags(parser, batch_size=64)
    if parser.parse_known_args()[0].preset == "best":
        parser.set_defaults(**presets.BEST)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args)
    args.tensorboard = event_folder(args.tensorboard, args.checkpoint)
    if args.backbone and args.model_version is not None:
        raise UserError(
            f"--backbone {args.backbone} and --model_version {args.model_version} contradict each "
            "other. Give one of them."
        )
    args.backbone = args.backbone or MODEL_VERSIONS[args.model_version or 0]
    if args.optimizer is None:
        scratch = args.from_scratch or args.backbone in BUILT_IN
        args.optimizer = "adafactor" if scratch and not args.shard else "adamw"
    if args.shard and (args.optimizer == "adafactor" or args.graph_every > 1 or args.compile):
        raise UserError(
            "--shard goes with --optimizer adamw alone, and without --graph_every and --compile: "
            "these need whole tensors. Leave --shard out, or them."
        )
    if args.simulate_leak and args.protocol != "paper":
        raise UserError(
            f"--simulate_leak shows the published graph, held-out pairs in it; --protocol "
            f"{args.protocol} has none. Give --protocol paper, or leave it out."
        )
    if args.shard and args.eval_users:
        raise UserError("--eval_users ranks with a whole model, --shard splits it. Give one.")
    if args.item_vectors == "cooccurrence" and args.item_ids != "own":
        raise UserError(
            f"--item_vectors {args.item_vectors} is of tokens that stand for one item each: give "
            "--item_ids own as well."
        )
    if args.shard and args.resume:
        raise UserError("--resume: a run with --shard saves no training state to go on from.")
    if args.skip_nonfinite and args.graph_every > 1:
        raise UserError(
            f"--skip_nonfinite: a step that is left out would spoil what --graph_every "
            f"{args.graph_every} gathers. Give one of them."
        )
    if distributed.restarted() and (Path(args.checkpoint) / RUN_FILE).exists():
        args.resume = args.resume or "last"  # by torchrun, after a process had died
    args.lr = args.lr or training_flags.OPTIMIZERS[args.optimizer]
    args.item_ids = args.item_ids or {"clean": "random", "paper": "published"}[args.protocol]
    return args


def make_experiment(
    args: argparse.Namespace, dataset: RecDataset, view: TrainView, device: torch.device
) -> Experiment:
    """A fresh model with the loss asked for."""
    experiment = new_experiment(
        dataset,
        view,
        item_ids=args.item_ids,
        item_vectors=args.item_vectors,
        backbone=args.backbone,
        from_scratch=args.from_scratch,
        dropout=args.dropout,
        method=args.method,
        prompt_num=args.prompt_num,
        alpha=args.alpha,
        sigma=args.sigma,
        graph_layers=args.L,
        causal=args.causal,
        whole_words=args.whole_words,
        device=device,
        precision=args.precision,
        seed=args.seed,
    )
    if args.loss == "continuations":
        experiment.model.continuations = continuations(experiment.trie()).to(device)
    return experiment


def make_trainer(
    args: argparse.Namespace,
    experiment: Experiment,
    view: TrainView,
    tasks: list[Task],
    signals: StopSignals,
) -> training.Trainer:
    """Streams, validation sets and options of the run."""
    plan = StepPlan(
        args.batch_size,
        args.accumulate,
        distributed.rank(),
        distributed.world_size(),
        args.batch_tokens,
        args.pad_to,
    )
    what = (args.negative_num, args.exp_len)
    samplers = training_samplers(experiment, view, tasks, plan, *what)
    size = (args.batch_size, args.batch_tokens)
    validation = validation_sets(experiment, tasks, *size, *what, limit=args.valid_samples)
    options = training.FitOptions(
        epochs=args.epochs,
        optimizer=args.optimizer,
        lr=args.lr,
        warmup=args.warmup,
        schedule=args.schedule,
        endure_times=args.endure_times,
        max_steps=args.max_steps,
        max_seconds=args.max_minutes and 60 * args.max_minutes,
        log_interval=args.log_interval,
        graph_every=args.graph_every,
        skip_nonfinite=args.skip_nonfinite,
        save_seconds=None if args.shard else 60 * args.save_minutes,
        shard=args.shard,
        compile=args.compile,
        autocast=experiment.autocast,
    )
    measure = None
    if args.eval_users:
        how = (args.eval_users, args.negative_num, *size)
        measure = validation_ranking(experiment, tasks, *how)
    return training.Trainer(experiment.model, samplers, validation, options, signals.asked, measure)


def main() -> None:
    """Data, model, training; the folder is written as it goes."""
    args = parse_args()
    device, args.precision = start_machine(args.cuda, args.deterministic, args.precision)
    folder = Path(args.checkpoint)
    claim_folder(folder, args.resume, args.overwrite)
    dataset = load_dataset(args.data_dir)
    say(
        f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items, "
        f"{len(dataset.items):,} interactions"
    )
    tasks = tasks_of(dataset, args.tasks)
    has_graph = WholeWords.GRAPH in schemes(args.method, args.whole_words).values()
    say(f"settings: {presets.fill_settings(args, dataset.name, has_graph)}")
    leak = rng(args.seed, Stream.LEAK) if args.simulate_leak else None
    view = train_view(dataset, args.protocol, leak)
    say(describe_view(dataset, view, args.protocol) + f"; item numbers {args.item_ids}")
    experiment = make_experiment(args, dataset, view, device)
    parameters = sum(p.numel() for p in experiment.model.parameters())
    say(
        f"{args.method} on {args.backbone}: {parameters / 1e6:.1f} M parameters, {args.precision} "
        f"on {device}; {args.optimizer}, learning rate {args.lr:g}"
    )
    record = provenance(vars(args)) | {
        "dataset": dataset.name,
        "held_out_edges_seen": view.held_out_edges,
        "held_out_records_seen": view.held_out_records,
    }
    with StopSignals() as signals:
        trainer = make_trainer(args, experiment, view, tasks, signals)
        if args.resume is None:
            start_run(experiment, folder, record, trainer)
        else:
            step = resume_run(experiment, folder, record, trainer, args.resume)
            say(f"going on from step {step:,}")
        log = TrainingLog(folder, trainer.total_steps, trainer.step, args.tensorboard)
        result = run_training(experiment, folder, trainer, log)
    skipped = f" ({result.skipped} left out, their loss not finite)" if result.skipped else ""
    best = f"NDCG@10 {-result.best:.4f}" if args.eval_users else f"loss {result.best:.4f}"
    say(f"{result.reason} after {result.steps} steps{skipped}; best validation {best}")
    if result.interrupted:
        say(f"the state is saved in {folder / 'state'}: the same command with --resume goes on")
        raise SystemExit(128 + signals.number)
    say(f"model written to {folder}")
    write_report(folder)


if __name__ == "__main__":
    cli.run(main)
