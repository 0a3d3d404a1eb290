"""Files as the authors' code writes them: classes of those names, made for a test and taken away.

Written from what the files hold, with transformers alone: nothing of our modules is used here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

D = 32
TASK_PROMPTS = 2  # K


@contextmanager
def authors_module(name: str) -> Iterator[type]:
    """The class ``<name>.Solomon``, importable only inside."""
    parts = name.split(".")
    made = {dotted: ModuleType(dotted) for dotted in map(".".join, accumulate([p] for p in parts))}
    solomon = type("Solomon", (T5ForConditionalGeneration,), {"__module__": name})
    made[name].Solomon = solomon
    with pytest.MonkeyPatch.context() as patch:
        for dotted, module in made.items():
            module.__path__ = []
            module.__file__ = __file__  # transformers looks up where a model's class is
            patch.setitem(sys.modules, dotted, module)
        yield solomon


def new_solomon(solomon: type, vocabulary: int, feed_forward: str = "relu") -> nn.Module:
    """POD's module: T5 with prompts and positions; large random weights."""
    torch.manual_seed(3)
    config = T5Config(
        vocab_size=vocabulary,
        d_model=D,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
        feed_forward_proj=feed_forward,
    )
    model = solomon(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" not in name:
                parameter.mul_(1.5)
    model.prompts_per_task = TASK_PROMPTS
    model.model_device = torch.device("cuda")
    model.prompt_embeddings = nn.Embedding(3 * TASK_PROMPTS, D)
    model.whole_word_embeddings = nn.Embedding(512, D)
    model.prompt_offset = torch.arange(TASK_PROMPTS)
    return model.train()


def dense_adjacency(pairs: list[tuple[int, int]], users: int, items: int) -> torch.Tensor:
    """A_hat of a graph where a pair counts as often as it is there, in float64."""
    a = torch.zeros(users + items + 1, users + items + 1, dtype=torch.float64)
    for user, item in pairs:
        a[user, users + item] += 1
        a[users + item, user] += 1
    scale = a.sum(1).clamp(min=1e-9) ** -0.5
    return scale[:, None] * a * scale


def add_graph(model: nn.Module, pairs: list[tuple[int, int]], users: int, items: int) -> None:
    """What ELMRec's module has beyond POD's."""
    model.alpha, model.L = 3, 2
    model.user_num, model.item_num = users, items
    model.user_item_embeddings = nn.Embedding(users + items + 1, D, padding_idx=0)
    nn.init.normal_(model.user_item_embeddings.weight, std=2.0)  # row 0 as well
    a = dense_adjacency(pairs, users, items)
    at = a.nonzero().T
    with torch.sparse.check_sparse_tensor_invariants():
        model.sparse_norm_adj = torch.sparse_coo_tensor(at, a[at[0], at[1]].float(), a.shape)


def save_on_gpu(model: object, path: Path) -> Path:
    """``torch.save`` as a machine with a GPU and transformers 4.39 does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        config = getattr(model, "config", None)
        if isinstance(config, T5Config):
            patch.delattr(config, "scale_decoder_outputs")  # of version 5; 4.39 does not know it
            patch.setitem(vars(config), "torch_dtype", torch.float32)
        with path.open("wb") as file:
            torch.save(model, file)
    return path


@torch.no_grad()
def reference_logits(
    model: nn.Module,
    task: int,
    ids: torch.Tensor,
    whole_words: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    pairs: list[tuple[int, int]] | None = None,
) -> torch.Tensor:
    """Logits of the published forward pass, by plain T5 on embeddings put together here. The mask
    is the encoder's alone."""
    model = model.eval()
    table, alpha = model.whole_word_embeddings.weight.double(), getattr(model, "alpha", 1)
    if pairs is not None and task != 1:
        a = dense_adjacency(pairs, model.user_num, model.item_num)
        e = model.user_item_embeddings.weight.double()
        table = torch.stack([torch.linalg.matrix_power(a, k) @ e for k in range(model.L + 1)])
        table = table.mean(0)
    text = model.shared(ids) + alpha * table[whole_words].float()
    rows = model.prompt_embeddings.weight[task * TASK_PROMPTS : (task + 1) * TASK_PROMPTS]
    embeds = torch.cat([rows.expand(len(ids), -1, -1), text], dim=1)
    mask = torch.cat([mask.new_ones(len(mask), TASK_PROMPTS), mask], dim=1)
    states = model.encoder(inputs_embeds=embeds, attention_mask=mask)
    return model(encoder_outputs=states, labels=labels).logits
