"""A model's folder -> the model: read strictly, every tensor is there and none is left over."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from transformers import T5Config, T5ForConditionalGeneration

from modules.model.config import CONFIG_FILE, ELMRecConfig
from modules.model.graph import Graph
from modules.model.weights import PREFIX, WEIGHTS_FILE, check_fit, read_model, to_file, to_model
from modules.presets import ITEM_GRAPHS
from utils.files import readable

_Model = TypeVar("_Model", bound=torch.nn.Module)


def load_model(kind: Callable[..., _Model], folder: Path) -> _Model:
    """The model of a folder, in evaluation mode. kind: ``ELMRec``.

    Raises:
        UserError: naming the file, where it is missing, damaged, or does not fit the other.
    """
    t5_config, config, tensors = read_model(folder)
    # Shapes first: what is wrong with a model must not take all memory to be found out.
    names = ITEM_GRAPHS[config.item_graph]
    sizes = {"graph": config.n_nodes} | {f"{n}_graph": config.n_items + 1 for n in names}
    with torch.device("meta"), readable(str(folder / CONFIG_FILE)):
        sketches = {
            name: Graph.sketch(n, tensors.get(f"{PREFIX}{name}_col")) for name, n in sizes.items()
        }
        plan = _made(kind, t5_config, config, sketches)
    check_fit(folder, to_file(plan.state_dict()), tensors)
    graphs = {}
    for name in sizes:
        if f"{PREFIX}{name}_col" not in tensors:
            continue
        graphs[name] = Graph(*(tensors[f"{PREFIX}{name}_{part}"] for part in Graph._fields))
        with readable(f"{folder / WEIGHTS_FILE}, the {name.replace('_', ' ')} in it"):
            columns = config.graph_columns(name.removesuffix("_graph"))
            graphs[name].matrix(check=True, columns=columns)
    model = _made(kind, t5_config, config, graphs)
    model.load_state_dict(to_model(tensors), strict=True)
    return model.eval()


def _made(
    kind: Callable[..., _Model],
    t5_config: T5Config,
    config: ELMRecConfig,
    graphs: Mapping[str, Graph],
) -> _Model:
    """A model of these shapes. graphs: by the names of their tensors."""
    items = {name: graphs[f"{name}_graph"] for name in ITEM_GRAPHS[config.item_graph]}
    t5 = T5ForConditionalGeneration(t5_config)
    return kind(t5, config, graphs.get("graph"), item_graphs=items)
