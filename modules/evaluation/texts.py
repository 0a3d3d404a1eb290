"""Generate a text for every row of an evaluation set; the figures and rows of the texts."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from modules.data.dataset import RecDataset
from modules.decoding.beam import BeamOptions, Marks, beam_search
from modules.evaluation.ranker import own_batches
from modules.evaluation.reranking import Seconds
from modules.loader.batches import BatchSize
from modules.loader.evaluation_set import EvaluationSet
from modules.model.decoder import PrefixDecoder
from modules.model.elmrec import ELMRec
from modules.runs.examples import example_rows
from modules.runs.run import Run
from modules.tasks import NEW_TOKENS, Task
from utils import distributed
from utils.metrics.explanation import explanation_metrics
from utils.metrics.text import text_metrics
from utils.provenance import seconds_since_start


def text_beams(
    num_beams: int = 21, groups: int = 3, diversity_penalty: float = 0.0, min_len: int = 10
) -> BeamOptions:
    """The search for explanations, by default the published one: without a penalty its three groups
    are one search of 7 beams. min_len: tokens at least, the start token counted."""
    return BeamOptions(
        num_beams,
        NEW_TOKENS,
        max(min_len - 1, 0),
        groups=groups,
        diversity_penalty=diversity_penalty,
        early_stopping=True,
    )


def write_texts(
    run: Run, samples: EvaluationSet, options: BeamOptions, show_progress: bool = True
) -> tuple[list[str], Seconds]:
    """``generate_texts`` by a run's model and tokenizer."""
    how = (run.written, run.machine.autocast, show_progress)
    return generate_texts(run.model, samples, options, *how)


def write_reasons(
    run: Run, users: np.ndarray, items: np.ndarray, size: BatchSize, show_progress: bool = False
) -> list[str]:
    """Why each of (n,) users would like an item of theirs, by the published search."""
    no_reference = run.prompts.pieces.item_targets.gather(np.zeros(len(users), dtype=np.int64))
    samples = run.prompts.explanation(users, items, no_reference, size)
    return write_texts(run, samples, text_beams(), show_progress)[0]


def add_reasons(run: Run, rows: list[dict[str, Any]], size: BatchSize) -> None:
    """Write into the rows of lists that a report shows, as ``reason``, why the first item; where
    the model was trained to explain. rows: as of ``ranking_rows``."""
    if Task.EXPLANATION.label not in run.record.tasks:
        return
    drawn, hits = example_rows([row["rank"] for row in rows], run.record.seed)
    shown = [rows[n] for n in drawn + hits if rows[n]["items"][:1] not in ([], [0])]
    if not shown:
        return
    users, items = (np.array(one) for one in zip(*((r["user"], r["items"][0]) for r in shown)))
    for row, text in zip(shown, write_reasons(run, users, items, size)):
        row["reason"] = text


def generate_texts(
    model: ELMRec,
    samples: EvaluationSet,
    options: BeamOptions,
    decode: Callable[[list[list[int]]], list[str]],
    autocast: Callable = nullcontext,
    show_progress: bool = True,
) -> tuple[list[str], Seconds]:
    """The best beam of every row as text. decode: token rows -> texts, special tokens left out."""
    device = next(model.parameters()).device
    marks = Marks.of(model.t5.config)
    texts = np.full(len(samples.users), "", dtype=object)
    load, encode, search = seconds_since_start(), 0.0, 0.0
    model.eval()
    done = []
    with torch.no_grad(), autocast():
        for rows, batch in own_batches(samples, "explanations", "text", show_progress):
            started = time.perf_counter()
            states, mask = model.encode(batch.to(device))
            decoder = PrefixDecoder(model.t5, states, mask, depth=options.max_length)
            encoded = time.perf_counter()
            found = beam_search(decoder, options, marks)
            texts[rows] = decode(found.tokens[:, 0].tolist())
            encode += encoded - started
            search += time.perf_counter() - encoded
            done.append(rows)
    distributed.merge_rows(done, texts)
    return texts.tolist(), Seconds(load, encode, search)


def text_figures(
    dataset: RecDataset, chosen: np.ndarray, texts: list[str], references: list[str]
) -> dict[str, float]:
    """The metrics of n texts. chosen: (n,) the test records that they are of."""
    records = dataset.explanations["test"]
    features = [records.features[row] for row in chosen]
    named = {f for split in dataset.explanations.values() for f in split.features}
    return text_metrics(texts, references) | explanation_metrics(texts, features, named)


def text_rows(
    dataset: RecDataset, chosen: np.ndarray, texts: list[str], references: list[str]
) -> list[dict[str, Any]]:
    """A row a text for ``explanation.jsonl``. chosen: (n,) the test records that they are of."""
    records = dataset.explanations["test"]
    return [
        {
            "user": int(records.users[row]),
            "item": int(records.items[row]),
            "reference": reference,
            "text": text,
        }
        for row, reference, text in zip(chosen, references, texts)
    ]


def published_text(rows: list[dict[str, Any]]) -> str:
    """Rows of ``text_rows`` as the published script writes them: reference, text, blank line."""
    texts = (row[key] for row in rows for key in ("reference", "text"))
    lines = [" ".join(text.split()) for text in texts]
    pairs = zip(lines[::2], lines[1::2])
    return "".join(f"{reference}\n{text}\n\n" for reference, text in pairs)
