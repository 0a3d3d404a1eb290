"""The commands that come after a training, filled in."""

import shlex

from modules.data.dataset import RecDataset
from modules.data.negatives import default_count
from modules.tasks import Task
from modules.training.settings import Settings
from utils import distributed
from utils.console import printable, say


def next_steps(settings: Settings, dataset: RecDataset) -> list[str]:
    """Commands as a shell reads them: the tests of what was trained, a recommendation for a user
    of the data, and the simple models to compare with."""
    sequential = Task.SEQUENTIAL.label in settings.tasks
    where = [settings.data_dir, "--checkpoint", settings.checkpoint]
    machine = ["--cuda"] if settings.cuda else []
    scripts = []
    if sequential:
        scripts.append("seq_reranker.py")
    if sequential or Task.DIRECT.label in settings.tasks:
        scripts.append("topn.py")
    if Task.EXPLANATION.label in settings.tasks:
        scripts.append("exp.py")
    commands = [[name, *where, *machine] for name in scripts]
    if sequential:
        # An id that a terminal cannot show would be another one when it is typed again.
        shown = (name for name in dataset.user_names[1:] if name == printable(name))
        user = next(shown, dataset.user_names[1])
        whom = [f"--user={user}"] if user.startswith("-") else ["--user", user]
        commands.append(["recommend.py", *where, *machine, *whom])
    same = []
    if settings.negative_num not in (None, default_count(dataset)):  # of compare.py
        same += ["--negative_num", str(settings.negative_num)]
    if settings.seed != Settings.seed:
        same += ["--seed", str(settings.seed)]
    commands.append(["compare.py", "baselines", settings.data_dir, *same])
    return [shlex.join(["python", *command]) for command in commands]


def say_next_steps(settings: Settings, dataset: RecDataset) -> None:
    """Print them, one a line; of several processes, one does."""
    say("what to run next:")
    for command in next_steps(settings, dataset) if distributed.is_main() else ():
        print(f"    {printable(command)}", flush=True)
