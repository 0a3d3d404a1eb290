"""The three tasks, their prompt templates, and which whole-word ids each task uses.

This is section 3.1 (tasks and prompts) and the choice of section 3.2 (graph-aware whole-word
embeddings for explanation and direct recommendation, positions for sequential) of the ELMRec
paper. It knows no tensors and opens no files.
"""

from enum import Enum, IntEnum
from typing import NamedTuple


class Task(IntEnum):
    """The task's number is its row in the soft-prompt table."""

    EXPLANATION = 0
    SEQUENTIAL = 1
    DIRECT = 2

    @property
    def label(self) -> str:
        """The name on the command line and in every file."""
        return self.name.lower()


MAX_HISTORY = 20  # items of a sequential prompt; the target is the 21st
MAX_TOKENS = 50  # of a text that is written, the start token counted, as published
NEW_TOKENS = MAX_TOKENS - 1  # the same without the start token, as our searches count

# By name, in the order of tables and pages.
RANKING_TASKS = (Task.SEQUENTIAL.label, Task.DIRECT.label)
TASKS = (*RANKING_TASKS, Task.EXPLANATION.label)


class WholeWords(Enum):
    """What id the tokens of a ``user_`` or ``item_`` mention carry."""

    POSITION = "position"  # the mention's place in the prompt: 1, 2, ... (P5)
    GRAPH = "graph"  # the node in the user-item graph: u, or U + i (ELMRec)


class Method(NamedTuple):
    """A member of the paper family: its name, whole-word ids, and whether it has soft prompts."""

    title: str
    whole_words: dict[Task, WholeWords]
    soft_prompts: bool


_POSITIONS = dict.fromkeys(Task, WholeWords.POSITION)
METHODS = {
    # Sequential keeps positions: by graph ids a model recommends what is near the user's
    # early items rather than the recent ones.
    "elmrec": Method(
        "ELMRec",
        {
            Task.EXPLANATION: WholeWords.GRAPH,
            Task.SEQUENTIAL: WholeWords.POSITION,
            Task.DIRECT: WholeWords.GRAPH,
        },
        soft_prompts=True,
    ),
    "pod": Method("POD", _POSITIONS, soft_prompts=True),
    "p5": Method("P5", _POSITIONS, soft_prompts=False),
}


def schemes(method: str, changes: dict[str, str]) -> dict[Task, WholeWords]:
    """The whole-word ids of each task: the method's, and what an ablation changes of them.

    Args:
        changes: task -> scheme, by their names in files and on the command line.

    Raises:
        ValueError, KeyError: where a name is unknown.
    """
    own = {Task[task.upper()]: WholeWords(scheme) for task, scheme in changes.items()}
    return METHODS[method].whole_words | own


# {user} becomes "user_7", {items} becomes "item_3 item_9 ...". Both are between spaces, so
# that a mention's tokens are the same in every template. The first of a task is the short form,
# the only one used in validation and at test time.
TEMPLATES: dict[Task, tuple[str, ...]] = {
    Task.EXPLANATION: (
        "{user} {items}",
        "Say why {user} would enjoy {items}",
        "Explain to {user} what speaks for {items}",
        "Write one sentence in which {user} tells what is good or bad about {items}",
        "{user} was shown {items} . Give the reason",
        "Why should {items} be recommended to {user} ?",
        "What does {user} think of {items} ?",
    ),
    Task.SEQUENTIAL: (
        "{user} {items}",
        "So far {user} has bought {items} . What comes next?",
        "These are the purchases of {user} in order: {items} . Name the following one",
        "After {items} what will {user} choose?",
        "Continue the history of {user} : {items}",
        "{user} owns {items} and looks for one thing more",
        "Predict the item that {user} picks once {items} are in the basket",
    ),
    Task.DIRECT: (
        "{user} {items}",
        "Choose for {user} the best of {items}",
        "Which one of these would {user} like most? {items}",
        "From the candidates {items} select an item for {user}",
        "{user} has not met {items} yet. Pick the most fitting",
        "Only one among {items} suits {user} . Which?",
        "We can show {user} one of {items} . What should it be?",
    ),
}
