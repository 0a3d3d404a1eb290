"""Train one model on the three tasks.

    python pretrain.py ./data/beauty/ --cuda --batch_size 64 --checkpoint ./checkpoint/beauty/
    python pretrain.py ./data/demo/ --backbone tiny --checkpoint ./checkpoint/demo/

The best model by validation loss is kept in the folder of --checkpoint, with what the test
scripts need to know of the run.
"""

import argparse
from pathlib import Path

from modules import training
from modules.backbone import BUILT_IN, MODEL_VERSIONS
from modules.dataset import train_view
from modules.experiment import (
    describe_view,
    new_experiment,
    save_run,
    tasks_of,
    training_samplers,
    validation_sets,
)
from modules.files import load_dataset
from modules.tasks import METHODS, WholeWords
from utils import cli
from utils.errors import UserError
from utils.html_report import write_report
from utils.report import TrainingLog, run_record
from utils.runtime import pick_device, pick_precision, say


def parse_args() -> argparse.Namespace:
    """The command line, with what depends on other flags filled in."""
    parser = cli.new_parser(__doc__)
    cli.add_data_flags(parser)
    cli.add_model_flags(parser)
    cli.add_protocol_flags(parser)
    cli.add_training_flags(parser)
    cli.add_machine_flags(parser, batch_size=64)
    args = parser.parse_args()
    args.data_dir = cli.data_folder(args)
    if args.backbone and args.model_version is not None:
        raise UserError(
            f"--backbone {args.backbone} and --model_version {args.model_version} contradict each "
            "other. Give one of them."
        )
    args.backbone = args.backbone or MODEL_VERSIONS[args.model_version or 0]
    if args.optimizer is None:
        scratch = args.from_scratch or args.backbone in BUILT_IN
        args.optimizer = "adafactor" if scratch else "adamw"
    args.lr = args.lr or cli.OPTIMIZERS[args.optimizer]
    args.item_ids = args.item_ids or {"clean": "random", "paper": "published"}[args.protocol]
    return args


def fill_settings(args: argparse.Namespace, dataset: str) -> None:
    """alpha, sigma and L from the published table where they are not given."""
    row, source = cli.published_row(args.preset, dataset, args.objective)
    if WholeWords.GRAPH not in METHODS[args.method].whole_words.values():
        row = row._replace(alpha=1.0)  # POD and P5 have no alpha
        for flag in ("sigma", "L"):
            if getattr(args, flag) is not None:
                raise UserError(f"--{flag} is of the graph, which --method {args.method} lacks.")
        if args.graph_every > 1:
            raise UserError(
                f"--graph_every {args.graph_every}: {args.method} has no graph. Leave it out."
            )
        source = f"--method {args.method}: no graph, α = 1"
    given = [f for f in ("alpha", "sigma", "L") if getattr(args, f) is not None]
    for flag, value in (("alpha", row.alpha), ("sigma", row.sigma), ("L", row.layers)):
        if getattr(args, flag) is None:
            setattr(args, flag, value)
    say(f"settings: {source}" + (f"; given: {', '.join(given)}" if given else ""))


def main() -> None:
    """Data, model, training; the folder is written as it goes."""
    args = parse_args()
    device = pick_device(args.cuda)
    args.precision = pick_precision(args.precision, device)
    dataset = load_dataset(args.data_dir)
    say(
        f"{dataset.name}: {dataset.n_users:,} users, {dataset.n_items:,} items, "
        f"{len(dataset.items):,} interactions"
    )
    tasks = tasks_of(dataset, args.tasks)
    fill_settings(args, dataset.name)
    view = train_view(dataset, args.protocol)
    say(describe_view(dataset, view, args.protocol) + f"; item numbers {args.item_ids}")

    experiment = new_experiment(
        dataset,
        view,
        item_ids=args.item_ids,
        backbone=args.backbone,
        from_scratch=args.from_scratch,
        method=args.method,
        prompt_num=args.prompt_num,
        alpha=args.alpha,
        sigma=args.sigma,
        graph_layers=args.L,
        device=device,
        precision=args.precision,
        seed=args.seed,
    )
    size = (args.batch_size, args.negative_num, args.exp_len)
    samplers = training_samplers(experiment, view, tasks, *size)
    validation = validation_sets(experiment, tasks, *size, limit=args.valid_samples)
    parameters = sum(p.numel() for p in experiment.model.parameters())
    say(
        f"{args.method} on {args.backbone}: {parameters / 1e6:.1f} M parameters, {args.precision} "
        f"on {device}; {args.optimizer}, learning rate {args.lr:g}"
    )

    folder = Path(args.checkpoint)
    record = run_record(vars(args)) | {
        "dataset": dataset.name,
        "held_out_edges_seen": view.held_out_edges,
        "held_out_records_seen": view.held_out_records,
    }
    save_run(experiment, folder, record)
    steps = args.epochs * sum(s.batches_per_pass for s in samplers.values())
    log = TrainingLog(folder, min(steps, args.max_steps or steps))
    options = training.FitOptions(
        args.epochs,
        args.optimizer,
        args.lr,
        args.endure_times,
        args.max_steps,
        args.max_minutes and 60 * args.max_minutes,
        args.log_interval,
        args.graph_every,
        experiment.autocast,
    )
    try:
        result = training.fit(
            experiment.model,
            samplers,
            validation,
            options,
            log.step,
            log.epoch,
            lambda best: experiment.model.save_pretrained(
                folder, {"step": str(best.step), "valid_loss": f"{best.mean:.6f}"}
            ),
        )
    finally:
        log.close()
    say(f"{result.reason} after {result.steps} steps; best validation loss {result.best_loss:.4f}")
    say(f"model written to {folder}")
    write_report(folder)


if __name__ == "__main__":
    cli.run(main)
