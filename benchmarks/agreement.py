"""Results unchanged: the fast path against the plain one, and bf16 against float32.

    python -m benchmarks.agreement --data_dir ./data/beauty --run checkpoint/beauty-mini

The plain path is transformers' own encoder and decoder, a row for every branching prefix of every
user, the trie a Python dictionary. Lists must be the same, ties aside: two items may change places
where the plain path's log-probabilities of them differ by less than ``TIE``.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.inference import samples_of
from benchmarks.measure import default_data, print_table
from modules.data.dataset import HeldOut
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import rank_of, rerank
from modules.loader.batches import Batch, BatchSize
from modules.model.elmrec import ELMRec
from modules.runs.run import Run, open_run
from modules.tasks import Task
from utils.console import progress
from utils.metrics.ranking import CUTOFFS, ranking_metrics
from utils.runtime import Machine, pick_device

TIE = 2e-5  # float32 sums of a few log-probabilities of about -10
TOP = 25  # items compared: top_n + N of the authors' table


class Agreement(NamedTuple):
    """How far two rankings are the same."""

    users: int
    same: int  # users with the same list, to the letter
    same_but_ties: int  # ... or up to ties
    largest_gap: float  # between the two log-probabilities of one item


def continuations(targets: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    """Every prefix that has two continuations or more, and these."""
    follow = defaultdict(set)
    for target in targets:
        for length in range(len(target)):
            follow[target[:length]].add(target[length])
    return {prefix: sorted(tokens) for prefix, tokens in follow.items() if len(tokens) > 1}


@torch.no_grad()
def plain_scores(
    model: ELMRec, states: torch.Tensor, mask: torch.Tensor, targets: Sequence[tuple[int, ...]]
) -> np.ndarray:
    """(C,) log-probability of each target for one user.

    Args:
        states: (1, K + S, D) encoder states of the user.
        mask: (1, K + S).
        targets: C token strings, end mark included.
    """
    branching = continuations(targets)
    prefixes = list(branching)
    width = 1 + max(map(len, prefixes))
    pad = model.t5.config.pad_token_id
    inputs = torch.full((len(prefixes), width), pad)
    inputs[:, 0] = model.t5.config.decoder_start_token_id
    for row, prefix in enumerate(prefixes):
        inputs[row, 1 : 1 + len(prefix)] = torch.tensor(prefix, dtype=torch.long)
    logits = model.t5(
        encoder_outputs=BaseModelOutput(last_hidden_state=states.expand(len(inputs), -1, -1)),
        attention_mask=mask.expand(len(inputs), -1),
        decoder_input_ids=inputs.to(states.device),
    ).logits
    step = {}
    for row, prefix in enumerate(prefixes):
        scores = logits[row, len(prefix), branching[prefix]].log_softmax(dim=0).tolist()
        step.update({(*prefix, token): s for token, s in zip(branching[prefix], scores)})
    return np.array([sum(step.get(t[: n + 1], 0.0) for n in range(len(t))) for t in targets])


def plain_states(model: ELMRec, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoder states by transformers' own encoder."""
    with torch.no_grad():
        embeds, mask = model.embed(batch.to(model.t5.device))
        return model.t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask


def agreement(run: Run, folder: str, task: Task, users: int) -> Agreement:
    """Compare the two paths on so many users, evenly spread."""
    samples, candidates = samples_of(run, folder, task, users, BatchSize(16))
    ranker = Ranker.of(run, Decoding("exact"), show_progress=False)
    items, scores, _ = ranker.rank(samples, candidates, TOP)
    flat, starts = run.prompts.pieces.item_targets
    target_of = [tuple(flat[a:b].tolist()) for a, b in pairwise(starts)]
    same = alike = 0
    largest = 0.0
    bar = progress(users, f"{task.label}, plain path", "user")
    for rows, batch in samples:
        states, mask = plain_states(run.model, batch)
        for n, row in enumerate(rows):
            mine = candidates[0 if len(candidates) == 1 else row]
            plain = plain_scores(
                run.model, states[n : n + 1], mask[n : n + 1], [target_of[i] for i in mine]
            )
            score_of = dict(zip(mine.tolist(), plain))
            order = mine[np.argsort(-plain, kind="stable")][:TOP]
            gaps = [abs(score_of[a] - score_of[b]) for a, b in zip(items[row], order)]
            same += bool((items[row] == order).all())
            alike += bool(max(gaps) < TIE)
            largest = max(largest, np.abs(scores[row] - [score_of[i] for i in items[row]]).max())
            bar.update()
    bar.close()
    return Agreement(users, same, alike, float(largest))


def metrics_of(run: Run, folder: str, task: Task) -> dict[str, float]:
    """The test metrics over all users, as the scripts have them."""
    dataset = run.dataset
    samples, candidates = samples_of(run, folder, task, dataset.n_users, BatchSize(16))
    ranked = Ranker.of(run, Decoding("exact")).rank(samples, candidates, TOP)
    if task is Task.SEQUENTIAL:
        ranked = rerank(ranked, dataset.had(samples.users, HeldOut.TEST), 10)
    return ranking_metrics(rank_of(ranked.items[:, :10], dataset.test_items), CUTOFFS)


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", default=str(default_data()))
    parser.add_argument("--run", required=True, help="a run's folder")
    parser.add_argument("--users", type=int, default=500, help="users of the plain path")
    parser.add_argument("--all_users", action="store_true", help="also bf16 against float32")
    args = parser.parse_args()
    tasks = (Task.SEQUENTIAL, Task.DIRECT)
    machine = Machine(pick_device(False), "fp32")
    exact = open_run(args.run, args.data_dir, machine, writes=False)
    rows = [[task.label, *agreement(exact, args.run, task, args.users)] for task in tasks]
    name = Path(args.data_dir).name
    header = ["task", "users", "same list", "same, ties aside", "largest gap of log-probability"]
    print_table(f"Fast and plain path, float32, {name}, the best {TOP} items", header, rows)
    if not args.all_users:
        return
    rounded = replace(exact, machine=machine._replace(precision="bf16"))
    rows = []
    for task in tasks:
        pair = [metrics_of(run, args.run, task) for run in (exact, rounded)]
        for metric, value in pair[0].items():
            rows.append([task.label, metric, value, pair[1][metric], pair[1][metric] - value])
    header = ["task", "metric", "fp32", "bf16", "difference"]
    print_table(f"bf16 and float32, {name}, all users", header, rows)


if __name__ == "__main__":
    main()
