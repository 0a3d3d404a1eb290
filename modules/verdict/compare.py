"""A model that was just trained beside popularity, item-kNN and EASE, by the same validation users:
is it worth more than they are?"""

import os
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from modules.baselines.quick import quick_ranks
from modules.data.dataset import HeldOut
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import rank_of
from modules.evaluation.seen import DROP, dropped_items, validated_users
from modules.evaluation.texts import write_reasons
from modules.loader.batches import BatchSize
from modules.model.elmrec import ELMRec
from modules.randomness import Stream, rng
from modules.runs.kinds import Compared, Difference, LogLine, Verdict
from modules.runs.run import Run, spread
from modules.runs.verdict import VERDICT_FILE
from modules.tasks import Task
from modules.training.log import LOG_FILE
from modules.training.settings import Settings
from modules.training.validation import TOP, best_items, ranking_set
from modules.verdict.wording import sentence, warnings
from utils import distributed
from utils.console import say
from utils.errors import UserError
from utils.json_files import read_json, read_jsonl, write_json
from utils.metrics.ranking import user_hits, user_ndcg
from utils.metrics.significance import paired_test
from utils.runtime import is_out_of_memory

USERS = 2_000  # where --eval_users does not say how many
TEXTS = 50  # reasons that are written, to see whether they differ


class Answers(NamedTuple):
    """What the model says to n validation users."""

    users: np.ndarray  # (n,)
    seen: str  # DROP or KEEP: may lists hold what a user had?
    lists: np.ndarray  # (n, k) items, best first
    texts: list[str]  # why some of them would like the first item; none where it learned none


def write_verdict(run: Run, settings: Settings) -> None:
    """Compare the best model of a finished training with simple ones, say what comes of it, and
    write it to ``verdict.json``. All ranks must call it; the main one writes.

    Raises:
        UserError: where it cannot be made, or a file of that name is another program's.
    """
    if Task.SEQUENTIAL.label not in settings.tasks:
        say("no comparison with simple models: the sequential task was not trained")
        return
    if settings.shard:
        say("no comparison with simple models: --shard has split the model")
        return
    path = run.folder / VERDICT_FILE
    if os.path.lexists(path):
        read_json(path, Verdict)
    say("comparing the model with simple ones on validation users (--no_verdict skips it)")
    try:
        verdict = _made(run, settings)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("The comparison with simple models ran out of memory.") from error
    if verdict is None:
        return
    say(verdict.sentence)
    for warning in verdict.warnings:
        say(f"warning: {warning}")
    write_json(path, asdict(verdict))


def _made(run: Run, settings: Settings) -> Verdict | None:
    """The verdict; None on the ranks that have but helped to make it."""
    answers = _ask(run, settings)
    if not distributed.is_main():
        return None
    return judge(run, answers, read_jsonl(run.folder / LOG_FILE, LogLine, growing=True))


def _ask(run: Run, settings: Settings) -> Answers:
    """The best model's lists and texts."""
    best = ELMRec.from_pretrained(run.folder).to(run.machine.device)
    run = replace(run, model=best)
    dataset = run.dataset
    users, seen = validated_users(dataset, run.users(settings.eval_users or USERS), DROP)
    if len(users) < 2:
        raise UserError(f"{dataset.folder}: has {len(users)} validation user, and two are needed.")
    samples, catalogue = ranking_set(run, Task.SEQUENTIAL, users, settings)
    ranker = Ranker.of(run, Decoding("auto"), show_progress=False)
    dropped = dropped_items(dataset, users, HeldOut.VALIDATION, seen)
    lists = best_items(ranker, samples, catalogue, dropped).items
    texts = []
    if Task.EXPLANATION.label in settings.tasks:
        rows = spread(len(users), TEXTS)
        rows = rows[lists[rows, 0] > 0]
        size = BatchSize(settings.batch_size, settings.batch_tokens)
        texts = write_reasons(run, users[rows], lists[rows, 0], size)
    return Answers(users, seen, lists, texts)


def judge(run: Run, answers: Answers, log: list[LogLine]) -> Verdict:
    """The verdict on what the model says. log: lines of ``train_log.jsonl``."""
    dataset, users = run.dataset, answers.users
    own = rank_of(answers.lists, dataset.targets(users, HeldOut.VALIDATION))
    simple = quick_ranks(dataset, users, answers.seen, run.record.seed)
    rows = [_compared(title, ranks) for title, ranks in simple.items()]
    rows.sort(key=lambda row: -row.ndcg)
    best = simple[rows[0].title]
    generator = rng(run.record.seed, Stream.RESAMPLING)
    first = answers.lists[:, 0]
    checks = [line for line in log if line.valid is not None]
    verdict = Verdict(
        run_id=run.record.run_id,
        users=len(users),
        model=_compared(run.record.title.partition(",")[0], own),
        simple=rows,
        hr=_difference(user_hits(own, TOP) * 1.0 - user_hits(best, TOP), generator),
        ndcg=_difference(user_ndcg(own, TOP) - user_ndcg(best, TOP), generator),
        same_first=float(np.bincount(first).max() / len(first)),
        items=len(np.unique(answers.lists[answers.lists > 0])),
        texts=len(answers.texts),
        different_texts=len({" ".join(text.split()) for text in answers.texts}),
        improving=bool(checks) and checks[-1].improved,
        sentence="",
        warnings=[],
    )
    steps = max((line.step for line in log), default=0)
    warned = warnings(verdict, run.record, steps, dataset.n_items)
    return replace(verdict, sentence=sentence(verdict), warnings=warned)


def _compared(title: str, ranks: np.ndarray) -> Compared:
    hits, gains = user_hits(ranks, TOP).mean(), user_ndcg(ranks, TOP).mean()
    return Compared(title=title, hr=float(hits), ndcg=float(gains))


def _difference(values: np.ndarray, generator: np.random.Generator) -> Difference:
    found = paired_test(values, generator)
    return Difference(mean=found.mean, low=found.low, high=found.high)
