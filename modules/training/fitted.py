"""Settings made to fit a data set: what follows from it, and sizes that it cannot fill."""

from dataclasses import replace

from modules.data.dataset import RecDataset
from modules.data.negatives import PUBLISHED_COUNT, default_count
from modules.data.protocols import TrainView
from modules.loader.training_stream import windows
from modules.presets import DRAWN, MOST_SCORED
from modules.tasks import Task
from modules.training.settings import Settings
from utils import distributed
from utils.console import say


def fitted(settings: Settings, dataset: RecDataset, view: TrainView) -> Settings:
    """The settings of a run on this data set, all of them given. Says where they are from, and
    what was lowered."""
    passes = len(windows(dataset).users)
    texts = 0 if view.explanations is None else len(view.explanations.users)
    settings, source = settings.for_data(dataset.name, passes, texts)
    say(f"{dataset}; settings: {source}")
    if settings.negative_num is None:
        count = default_count(dataset)
        settings = replace(settings, negative_num=count)
        if count != PUBLISHED_COUNT:
            say(f"negatives of the direct task: {count}, which is what the data have")
    settings = _with_softmax(settings, dataset.n_items)
    samples = {
        Task.EXPLANATION: texts,
        Task.SEQUENTIAL: passes if settings.causal else dataset.n_users,
        Task.DIRECT: dataset.n_users,
    }
    fewest = min(samples[Task[name.upper()]] for name in settings.tasks)
    batches = settings.accumulate * distributed.world_size()  # a step
    if 0 < fewest < settings.batch_size * batches:
        fits = max(fewest // batches, 1)
        say(f"--batch_size {settings.batch_size} is more than a pass holds: taking {fits}")
        settings = replace(settings, batch_size=fits)
    return settings


def _with_softmax(settings: Settings, n_items: int) -> Settings:
    """With ``--softmax``; where it is sampled by the number of items, this is said."""
    if settings.softmax is not None:
        return settings
    tokens = settings.loss == "continuations" and settings.item_ids == "own"
    if not tokens or n_items <= MOST_SCORED:
        return replace(settings, softmax="full")
    say(
        f"--softmax sampled: of {n_items:,} items, a training step scores its own targets and "
        f"{DRAWN:,} that are drawn. --softmax full scores all"
    )
    return replace(settings, softmax="sampled")
