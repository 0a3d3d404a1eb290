"""A released ``Solomon`` module -> ``ELMRec``.

    shared, encoder, decoder, lm_head -> T5          prompt_embeddings     -> prompts
    user_item_embeddings              -> nodes       whole_word_embeddings -> positions

What the file does not say is taken from the published code. Its prompts give user u the whole-word
id u and item i the id U + i, and its tasks are in the order explanation, sequential, direct: the
rows of its tables mean what ours mean (modules/model/graph.py, modules/tasks.py). Row 0 was random
there and is kept. The decoder saw pads there, and does so here. Items are written by the data
folder's own numbers. Nothing here reads or writes files.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch

from modules.data.dataset import RecDataset
from modules.data.protocols import TrainView, held_out_keys, train_view
from modules.loader.batches import POSITION_ROWS
from modules.model.config import ELMRecConfig
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph, normalized_adjacency
from modules.released.reader import ReleasedModel, released_t5
from modules.tasks import Task
from utils.errors import UserError

NODES = "user_item_embeddings.weight"
POSITIONS = "whole_word_embeddings.weight"
PROMPTS = "prompt_embeddings.weight"
ADJACENCY = "sparse_norm_adj"
SETTINGS = ("alpha", "L", "user_num", "item_num", "prompts_per_task")
SYMMETRY = 1e-5  # rounding of float32 between two equal entries, none of which is above 1


class Imported(NamedTuple):
    """The model, what its training saw, and an account for the user."""

    model: ELMRec
    view: TrainView
    found: list[str]
    left: list[str]


def import_model(
    released: ReleasedModel, dataset: RecDataset, alpha: float | None, layers: int | None
) -> Imported:
    """ELMRec where the file has a table of nodes; else POD, or without prompts P5.

    Args:
        released: what the file holds.
        dataset: the data set that it was trained on.
        alpha, layers: α and L, where the file does not say them.

    Raises:
        UserError: where tensors and numbers do not fit each other or the data set.
    """
    _check_counts(released, dataset)
    try:
        config = _config(released, dataset, alpha, layers)
    except ValueError as error:
        raise UserError(f"{released.path}: {error}.") from error
    t5 = released_t5(released)
    shapes = {POSITIONS: (POSITION_ROWS, "a row for each mention of a prompt, and row 0")}
    if config.method != "p5":
        shapes[PROMPTS] = (len(Task) * config.prompt_num, "the prompts of three tasks")
    if config.method == "elmrec":
        why = f"{dataset.n_users} users and {dataset.n_items} items of {dataset.folder}, and row 0"
        shapes[NODES] = (dataset.n_users + dataset.n_items + 1, why)
    tables = {
        name: released.tensor(name, (rows, t5.config.d_model), why)
        for name, (rows, why) in shapes.items()
    }
    graph, view, account = None, train_view(dataset, "paper"), []
    if config.method == "elmrec":
        graph, view, account = _graph(released, dataset, view)
    model = ELMRec(t5, config, graph)
    ours = {POSITIONS: model.positions, PROMPTS: model.prompts, NODES: model.nodes}
    with torch.no_grad():
        for name, table in tables.items():
            ours[name].weight.copy_(table)
    used = {*t5.state_dict(), *tables}
    return Imported(
        model.eval(), view, _found(released, model, tables) + account, _left(released, used)
    )


# ------------------------------------------------------------------------------- its numbers


def _check_counts(released: ReleasedModel, dataset: RecDataset) -> None:
    for name, have in (("user_num", dataset.n_users), ("item_num", dataset.n_items)):
        said = released.number(name, whole=True, low=1)
        if said not in (None, have):
            raise UserError(
                f"{released.path}: {name} is {said:,}, but {dataset.folder} has {have:,}. Pass "
                "the data folder that the model was trained on."
            )


def _config(
    released: ReleasedModel, dataset: RecDataset, alpha: float | None, layers: int | None
) -> ELMRecConfig:
    pod = ELMRecConfig(dataset.n_users, dataset.n_items, "pod", decoder_sees_pads=True)
    if NODES in released.tensors:
        return replace(
            pod,
            method="elmrec",
            prompt_num=_prompt_num(released),
            alpha=float(_setting(released, "alpha", alpha, whole=False)),
            # No file says σ; this is what training has made of it.
            sigma=float(released.tensors[NODES].float().std()),
            graph_layers=_setting(released, "L", layers, whole=True),
        )
    for flag, value in (("--alpha", alpha), ("--L", layers)):
        if value is not None:
            raise UserError(
                f"{flag} {value:g}: {released.path} has no {NODES}, so it is no ELMRec but POD or "
                f"P5, which know no {flag}. Leave it out."
            )
    if PROMPTS in released.tensors:
        return replace(pod, prompt_num=_prompt_num(released))
    return replace(pod, method="p5")


def _setting(released: ReleasedModel, name: str, given: float | None, whole: bool) -> float:
    """alpha or L: the file's, or the flag's where the file has none."""
    value = released.number(name, whole, low=0)
    if value is None and given is None:
        raise UserError(f"{released.path}: the module has no attribute {name}. Give --{name}.")
    if None not in (value, given) and value != given:
        raise UserError(
            f"--{name} {given:g}: {released.path} was made with {name} {value:g}. Leave --{name} "
            "out."
        )
    return given if value is None else value


def _prompt_num(released: ReleasedModel) -> int:
    """K, from the prompt table: the tasks' rows lie one after the other."""
    table = released.tensors.get(PROMPTS)
    if table is None or table.ndim != 2:
        raise UserError(f"{released.path}: the module has no table {PROMPTS}.")
    said = released.number("prompts_per_task", whole=True, low=1)
    count = said or len(table) // len(Task)
    if count == 0 or len(table) != count * len(Task):
        raise UserError(
            f"{released.path}: {PROMPTS} has {len(table)} rows, not {len(Task)} tasks times "
            f"{said or 'as many'} prompts."
        )
    return count


# --------------------------------------------------------------------------------- the graph


def _graph(
    released: ReleasedModel, dataset: RecDataset, view: TrainView
) -> tuple[Graph, TrainView, list[str]]:
    """A_hat of the file, or of the data folder; what of the folder training saw; an account."""
    names = [ADJACENCY] if ADJACENCY in released.sparse else list(released.sparse)
    if len(names) > 1:
        raise UserError(
            f"{released.path}: has {len(names)} sparse tensors ({', '.join(names[:5])}), none "
            f"of them called {ADJACENCY}, as the graph must be. Rename that one and save it again."
        )
    if names:
        graph = _file_graph(released, names[0], dataset.n_users + dataset.n_items + 1)
        view, note = _with_edges(graph, dataset, view)
        return graph, view, [f"{names[0]} -> the graph: {note}"]
    graph = normalized_adjacency(view.edges, dataset.n_users, dataset.n_items)
    note = f"no adjacency in the file: the graph of {dataset.folder}, {view.edges.shape[1]:,} edges"
    if view.explanations is None:
        note += " (train interactions: without explanation.json the published edges are unknown)"
    elif repeated := len(view.explanations.users) - view.edges.shape[1]:
        note += f"; {repeated:,} repeated records count once (published: as often as they occur)"
    return graph, view, [note]


def _file_graph(released: ReleasedModel, name: str, n: int) -> Graph:
    """A_hat as the file has it; repeated entries are summed, as PyTorch multiplies by them."""
    where, tensor = f"{released.path}: {name}", released.sparse[name]
    indices, values, size = tensor._indices(), tensor._values(), tuple(tensor.shape)
    if size != (n, n):
        raise UserError(f"{where} is {size}; it must be {(n, n)}: a row for each node of the data.")
    fits = indices.dtype == torch.int64 and tuple(indices.shape) == (2, values.numel())
    if not fits or values.ndim != 1 or not values.is_floating_point():
        raise UserError(
            f"{where} has indices {tuple(indices.shape)} of {indices.dtype} for values "
            f"{tuple(values.shape)} of {values.dtype}; it must be a matrix of real numbers."
        )
    if values.numel() and (indices.min() < 0 or indices.max() >= n):
        raise UserError(
            f"{where} has entries at {int(indices.min())} to {int(indices.max())}; they must be "
            f"from 0 to {n - 1}, the last node."
        )
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{where} holds values that are not finite.")
    entries = (values.double().numpy(), (indices[0].numpy(), indices[1].numpy()))
    matrix = scipy.sparse.coo_array(entries, shape=(n, n)).tocsr()
    if matrix.nnz and abs(matrix - matrix.T).max() > SYMMETRY:
        raise UserError(f"{where} is not symmetric, as a graph of users and items must be.")
    matrix.sort_indices()
    return Graph(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data.astype(np.float32)),
    )


def _with_edges(graph: Graph, dataset: RecDataset, view: TrainView) -> tuple[TrainView, str]:
    """The view with the graph's own edges, and how these compare with the data folder's."""
    rows = np.repeat(np.arange(len(graph.crow) - 1), np.diff(graph.crow.numpy()))
    cols, users = graph.col.numpy(), dataset.n_users
    pair = (rows >= 1) & (rows <= users) & (cols > users)
    edges = np.stack([rows[pair], cols[pair] - users])
    keys, expected = (dataset.pair_key(*pairs) for pairs in (edges, view.edges))
    held_out = int(np.isin(keys, held_out_keys(dataset)).sum())
    missing, more = len(np.setdiff1d(expected, keys)), len(np.setdiff1d(keys, expected))
    note = "the pairs of the data folder's train records"
    if dataset.explanations is None:
        note = "the data folder has no explanation.json to compare them with"
    elif missing or more:
        note = f"NOT those of the data folder's train records ({missing:,} missing, {more:,} more)"
    return view._replace(edges=edges, held_out_edges=held_out), f"{len(keys):,} edges, {note}"


# ------------------------------------------------------------------------------- the account


def _found(released: ReleasedModel, model: ELMRec, tables: dict[str, torch.Tensor]) -> list[str]:
    t5, config = model.t5.config, model.config
    ours = {POSITIONS: "positions", PROMPTS: "prompts", NODES: "nodes"}
    lines = [
        f"{released.class_name}, method {config.method}",
        f"shared, encoder, decoder, lm_head -> T5: D {t5.d_model}, {t5.num_layers}+"
        f"{t5.num_decoder_layers} layers, {t5.vocab_size:,} tokens",
    ]
    for name, table in tables.items():
        line = f"{name} {tuple(table.shape)} -> {ours[name]}"
        if name != PROMPTS:
            line += f", row 0 as it is (norm {table[0].norm():.3g})"
        lines.append(line)
    said = [(name, released.attributes.get(name)) for name in SETTINGS]
    said = [f"{name} {value}" for name, value in said if type(value) in (int, float)]
    lines.append(f"numbers: {', '.join(said) or 'none'}")
    if config.method == "elmrec":
        lines.append(
            f"used: α {config.alpha:g}, L {config.graph_layers}; σ, which no file has, is "
            f"written as the standard deviation of the nodes, {config.sigma:.3g}"
        )
    return lines


def _left(released: ReleasedModel, used: set[str]) -> list[str]:
    attributes = set(released.attributes) - {*SETTINGS, ADJACENCY, *released.sparse}
    return sorted(attributes | set(released.tensors) - used)
