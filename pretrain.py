"""Train one model on the three tasks.

    python pretrain.py ./data/mine --checkpoint ./checkpoint/mine
    python pretrain.py ./data/beauty/ --cuda --batch_size 64 --checkpoint ./checkpoint/beauty/

The first trains the best model that we know, with settings that follow from the data; the second,
for beauty, sports and toys, as the paper's authors do (--preset).

The best model by validation loss is kept in the folder of --checkpoint, with what the test
scripts need to know of the run. At the end it is put beside simple models.
"""

from modules import data, reports, training, verdict
from modules.randomness import Stream, rng
from modules.training.flags import parse_settings
from utils import cli, console
from utils.console import by_product, say


def main() -> None:
    """Data, model, training; the folder is written as it goes."""
    settings = parse_settings(__doc__)
    with training.claim_folder(settings) as resume, console.unattended():
        train(settings, resume)


def train(settings: training.Settings, resume: str | None) -> None:
    """The run, in a folder that is its own; resume: the step to continue from."""
    dataset = data.load_dataset(settings.data_dir)
    leak = rng(settings.seed, Stream.LEAK) if settings.simulate_leak else None
    view = data.train_view(dataset, settings.protocol, leak)
    settings = training.fitted(settings, dataset, view)
    say(f"{view}; item numbers {settings.item_ids}")

    machine = training.start_machine(settings.cuda, settings.deterministic, settings.precision)
    run = training.new_run(settings, dataset, view, machine)
    with training.StopSignals() as signals:
        trainer = training.new_trainer(run, settings, view, signals.asked)
        run = training.start_or_resume(run, trainer, resume)
        result = training.run_training(run, trainer, settings)

    say(f"{result}")
    if result.interrupted:
        say(f"the state is saved in {run.folder / 'state'}: --resume continues the same command")
        raise SystemExit(128 + signals.number)
    if not settings.no_verdict:
        with by_product("verdict.json"):
            verdict.write_verdict(run, settings)
    with by_product("report.html"):
        reports.write_report(run.folder)
    verdict.say_next_steps(settings, dataset)


if __name__ == "__main__":
    cli.run(main)
