"""The numbers of the method, checked: what config.json says under ``elmrec``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modules.model.graph import PROPAGATIONS
from modules.presets import ITEM_GRAPHS, MAX_LAYERS, MAX_PROMPTS, OWN_EDGES
from modules.tasks import METHODS, Task, WholeWords, schemes
from utils.errors import UserError, limit
from utils.flag_types import LARGEST
from utils.json_files import check_type, read_json

CONFIG_FILE = "config.json"
_Value = bool | int | float | str | dict[str, str] | None


@dataclass(frozen=True)
class ELMRecConfig:
    """The numbers of the method, with the paper's symbols.

    Attributes:
        n_users, n_items: U and I.
        method: ``elmrec``, ``pod`` or ``p5``.
        prompt_num: K, soft prompts a task.
        alpha: weight of the whole-word embeddings.
        sigma: standard deviation of E0, the random features that are propagated.
        graph_layers: L, hops of the propagation.
        causal: sequential prompts are read from left to right, and an item is predicted from the
            state of the last token before it. So a pass over a history has a target after every
            item, as in SASRec (Kang & McAuley 2018).
        whole_words: for ablations: whole-word ids by task, where they are not the method's.
        propagation: what makes W of E0, by its name in ``PROPAGATIONS`` (modules/model/graph.py).
        own_edges: ``drop``: the edges that a training step asks about leave the graph of that step,
            and causal prompts tell no user by a node; ``keep``: as published.
        decoder_sees_pads: the decoder attends to the states at pads too, as the published modules
            do; what it says then depends on the length of the longest prompt of the batch.
        train_row_0: row 0 of the whole-word tables, which tokens outside of mentions and pads get,
            is random and learned, as published; else it is zero.
        item_graph: ``linear``, ``paths`` or ``both``: rankings are also by what these graphs say of
            a history (modules/model/item_scores.py); ``none``: by the T5 alone.
        through_users: the graph ``paths`` is kept as the way from items to users, which each of its
            hops goes there and back.
    """

    n_users: int
    n_items: int
    method: str = "elmrec"
    prompt_num: int = 3
    alpha: float = 1.0
    sigma: float = 1.0
    graph_layers: int = 4
    causal: bool = False
    whole_words: dict[str, str] = field(default_factory=dict)
    propagation: str = "lightgcn"
    own_edges: str = "keep"
    item_graph: str = "none"
    through_users: bool = False
    decoder_sees_pads: bool = False
    train_row_0: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError, naming the entry, its value and the limit."""
        names = {"method": METHODS, "propagation": PROPAGATIONS, "own_edges": OWN_EDGES}
        names |= {"item_graph": ITEM_GRAPHS}
        for name, known in names.items():
            value = getattr(self, name)
            if type(value) is not str or value not in known:
                raise ValueError(f"{name!r} is {limit(value)}, none of {', '.join(known)}")
        try:
            self.schemes()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            value = limit(self.whole_words)
            raise ValueError(f"'whole_words' is {value}, no tasks and their ids") from error
        for name in ("causal", "decoder_sees_pads", "train_row_0", "through_users"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise ValueError(f"{name!r} is {limit(value)}, neither true nor false")
        counts = {"n_users": (1, 2**31), "n_items": (1, 2**31)}
        counts |= {"prompt_num": (1, MAX_PROMPTS), "graph_layers": (0, MAX_LAYERS)}
        for name, (low, high) in counts.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(
                    f"{name!r} is {limit(value)}, not a whole number from {low} to {high}"
                )
        for name, low in (("alpha", -LARGEST), ("sigma", 0)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not low <= value <= LARGEST:
                raise ValueError(
                    f"{name!r} is {limit(value)}, not a number from {low} to {LARGEST}"
                )

    def schemes(self) -> dict[Task, WholeWords]:
        """The whole-word ids of each task."""
        return schemes(self.method, self.whole_words)

    @property
    def has_graph(self) -> bool:
        """Whether any task reads the graph."""
        return WholeWords.GRAPH in self.schemes().values()

    def graph_columns(self, name: str) -> int | None:
        """Columns of an item graph; None: as many as rows."""
        return self.n_users + 1 if name == "paths" and self.through_users else None

    @property
    def n_nodes(self) -> int:
        """Nodes of the graph: U + I, and 0 for "no whole word"."""
        return self.n_users + self.n_items + 1


def own_config(path: Path, table: Any) -> ELMRecConfig:
    """The entry ``elmrec`` of what config.json holds.

    path: of the file, for errors.

    Raises:
        UserError: where it is missing, or a number is out of its limits.
    """
    own = table.get("elmrec") if isinstance(table, dict) else None
    if not isinstance(own, dict):
        raise UserError(f"{path}: no 'elmrec' entry; this is not a model folder of ELMRec.")
    check_type(path, own, dict[str, _Value])  # flat: all of it can be shown in a message
    try:
        return ELMRecConfig(**own)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: in 'elmrec': {error}.") from error


def read_config(folder: Path) -> ELMRecConfig:
    """``own_config`` of a model's folder, without its tensors."""
    path = folder / CONFIG_FILE
    return own_config(path, read_json(path))
