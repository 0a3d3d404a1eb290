"""What comes next for one person or many, and why: the sequential and the explanation task.

Whoever asks is a ``Person``. The sequential task reads positions and no graph, so
that a history is all it needs: somebody who is not in the data is written ``user_0``, a number
that no training prompt holds. Explanations read the graph; see ``NewcomerModel``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from modules.data.dataset import RecDataset
from modules.evaluation.decode import Decoding
from modules.evaluation.ranker import Ranker
from modules.evaluation.reranking import Ranked, rerank
from modules.evaluation.seen import most_dropped
from modules.evaluation.texts import write_reasons
from modules.loader.batches import Batch, BatchSize
from modules.loader.prompts import Prompts
from modules.loader.ragged import Ragged
from modules.model.elmrec import ELMRec
from modules.people import NEWCOMER, Person
from modules.runs.run import Run
from modules.tasks import MAX_HISTORY, Task, WholeWords
from utils.console import columns, printable, printable_json, terminal_columns
from utils.tables import cut, markdown, markdown_text, one_line

FEWEST_COLUMNS = 20  # for a title, however narrow the terminal is


class Answer(NamedTuple):
    """A list for a person, best first."""

    person: Person
    items: list[int]
    probabilities: list[float]  # of each item among the whole catalogue
    texts: list[str]  # why, for the first of the items


# ------------------------------------------------------------------------------------ model


class NewcomerModel(nn.Module):
    """The model for one person who is not in its graph.

    Where mentions of users carry their nodes, the person's carries the mean of the propagated nodes
    of the history's items, for there is no node of the person's own.
    """

    def __init__(self, model: ELMRec, prompts: Prompts, history: np.ndarray) -> None:
        super().__init__()
        self.t5, self.item_scores, self.graph_says = model.t5, model.item_scores, model.graph_says
        self._model, self._prompts = model, prompts
        self._nodes = torch.from_numpy(history.astype(np.int64)) + model.config.n_users

    def encode(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``ELMRec.encode``, for prompts in the short form, which begin with the user."""
        embeds, mask = self._model.embed(batch)  # (B, K + S, D)
        if self._prompts.user_has_node(batch.task):
            table = self._model.whole_word_table(WholeWords.GRAPH)
            mean = table[self._nodes.to(table.device)].mean(dim=0) - table[0]
            # User 0 is no node, so that the first id other than 0 is the first item's.
            of_user = (batch.whole_word_ids.cumsum(dim=1) == 0).to(embeds.dtype)  # (B, S)
            k = embeds.shape[1] - of_user.shape[1]
            of_user = nn.functional.pad(of_user, (k, 0))[..., None]  # (B, K + S, 1)
            embeds = embeds + self._model.config.alpha * of_user * mean
        return self._model.states(embeds, mask, batch.target_places)


def newcomer_remark(run: Run, explained: int) -> str:
    """What a reader of a newcomer's answer must know. explained: texts that are generated."""
    text = "not in the data: the prompt says user_0, which training never used"
    by_graph = [t.label for t in _tasks(explained) if run.prompts.user_has_node(t)]
    if by_graph:
        text += (
            f"; not in the graph either: for the {' and '.join(by_graph)} task, the mean of the "
            "history's item nodes takes the place of the user's node"
        )
    return text


def _parts(run: Run, people: Sequence[Person], explained: int) -> list[list[int]]:
    """Places of people who are asked for together: all; or each newcomer alone, where a task gives
    users their nodes, for which a newcomer has a stand-in."""
    by_node = any(map(run.prompts.user_has_node, _tasks(explained)))
    alone = {n for n, person in enumerate(people) if by_node and person.user == NEWCOMER}
    parts = [[n for n in range(len(people)) if n not in alone], *([n] for n in sorted(alone))]
    return [part for part in parts if part]


def _tasks(explained: int) -> list[Task]:
    """The tasks that answers need."""
    return [Task.SEQUENTIAL] + [Task.EXPLANATION] * (explained > 0)


def _run_for(run: Run, people: Sequence[Person]) -> Run:
    """The run with the model that answers some people of one part (``_parts``)."""
    if len(people) > 1 or people[0].user != NEWCOMER:
        return run
    return replace(run, model=NewcomerModel(run.model, run.prompts, people[0].history).eval())


# ---------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Lists:
    """How lists are made; ``of`` makes those of some people.

    Attributes:
        top_n: items of a list.
        explained: generate a text for the first so many of each list; 0 = none.
        keep_seen: lists may hold what a person already had.
        shown: progress bars, where there is more than one batch.
    """

    run: Run
    top_n: int
    explained: int
    batch_size: int
    keep_seen: bool = False
    shown: bool = True

    def of(self, people: Sequence[Person]) -> list[Answer]:
        """The next items of each person, and why."""
        answers: dict[int, Answer] = {}
        for part in _parts(self.run, people, self.explained):
            answers |= zip(part, self._of([people[n] for n in part]))
        return [answers[n] for n in range(len(people))]

    def _of(self, people: Sequence[Person]) -> list[Answer]:
        """``of`` people of one part (``_parts``)."""
        run, size = _run_for(self.run, people), self.batch_size
        dropped = [p.history[:0] if self.keep_seen else p.history for p in people]
        ranked = _next_items(run, people, dropped, self.top_n, size, self.shown)
        texts = _explain(run, people, ranked.items[:, : self.explained], size, self.shown)
        answers = []
        for person, line, scores, why in zip(people, *ranked[:2], texts):
            found = line > 0  # a small catalogue may end before the list does
            chances = np.exp(scores[found].astype(np.float64))
            answers.append(Answer(person, line[found].tolist(), chances.tolist(), why))
        return answers


def recommend(
    run: Run,
    people: Sequence[Person],
    top_n: int,
    explained: int,
    batch_size: int,
    keep_seen: bool = False,
) -> list[Answer]:
    """The next ``top_n`` items of each person, and why: see ``Lists``."""
    return Lists(run, top_n, explained, batch_size, keep_seen).of(people)


def score(run: Run, person: Person, items: Sequence[int]) -> np.ndarray:
    """(n,) float64 log-probabilities of n items, each among the whole catalogue."""
    run = _run_for(run, [person])
    ranked = _next_items(run, [person], [person.history[:0]], run.dataset.n_items, 1, False)
    scores = np.full(run.dataset.n_items + 1, -np.inf)
    scores[ranked.items[0]] = ranked.scores[0]
    return scores[np.asarray(items)]


def explain(run: Run, person: Person, item: int) -> str:
    """Why an item would please a person: a generated text."""
    ((text,),) = _explain(_run_for(run, [person]), [person], np.array([[item]]), 1, False)
    return text


def _next_items(
    run: Run,
    people: Sequence[Person],
    dropped: list[np.ndarray],
    top_n: int,
    batch_size: int,
    shown: bool,
) -> Ranked:
    samples = run.prompts.sequential(
        np.array([person.user for person in people]),
        Ragged.of([person.history[-MAX_HISTORY:].tolist() for person in people]),
        np.zeros(len(people), dtype=np.int64),  # nothing is held out
        BatchSize(batch_size),
    )
    ranker = Ranker.of(run, Decoding("auto"), show_progress=shown and len(people) > batch_size)
    ranked = ranker.rank(samples, run.dataset.catalogue, top_n + most_dropped(dropped))
    return rerank(ranked, dropped, top_n)


def _explain(
    run: Run, people: Sequence[Person], items: np.ndarray, batch_size: int, shown: bool
) -> list[list[str]]:
    """Why each of (n, m) items, 0 = none, would please its person."""
    rows, places = np.nonzero(items)
    if not len(rows):
        return [[] for _ in people]
    users = np.array([person.user for person in people])[rows]
    shown = shown and len(rows) > batch_size
    chosen, size = items[rows, places], BatchSize(batch_size)
    texts = write_reasons(run, users, chosen, size, show_progress=shown)
    out: list[list[str]] = [[] for _ in people]
    for row, text in zip(rows, texts):
        out[row].append(text)
    return out


def as_table(dataset: RecDataset, answer: Answer) -> str:
    """An answer for people to read: the history that the model reads, and the list."""
    person = answer.person
    read = person.history[-MAX_HISTORY:].tolist()
    earlier = len(person.history) - len(read)
    name = person.name if person.user == NEWCOMER else f"{person.name} (user {person.user})"
    head = f"{name} had {len(person.history)} items, oldest first" + (
        f", of which the model reads the last {len(read)}:" if earlier else ":"
    )
    rows = [
        [str(place), dataset.item_names[item], f"{100 * chance:.3g} %"]
        for place, (item, chance) in enumerate(zip(answer.items, answer.probabilities), start=1)
    ]
    header = ["", "item", "probability"]
    if answer.texts:
        header.append("why (generated)")
        rows = [[*row, *answer.texts[n : n + 1]] for n, row in enumerate(rows)]
        rows = [row if len(row) == len(header) else [*row, ""] for row in rows]
    if dataset.titles:
        header, rows = _with_titles(header, rows, [dataset.titles[item] for item in answer.items])
    return f"{printable(head)}\n{_history(dataset, read)}\n\n{markdown(header, rows)}\n"


def _history(dataset: RecDataset, items: list[int]) -> str:
    """Ids in one line; where the data have titles, an item a line."""
    names = [printable(dataset.item_names[item]) for item in items]
    if not dataset.titles:
        return f"  {' '.join(names)}"
    lines = []
    for name, item in zip(names, items):
        room = max(terminal_columns() - columns(f"  {name}  "), FEWEST_COLUMNS)
        lines.append(f"  {name}  {one_line(cut(dataset.titles[item], room))}".rstrip())
    return "\n".join(lines)


def _with_titles(
    header: list[str], rows: list[list[str]], titles: list[str]
) -> tuple[list[str], list[list[str]]]:
    """A table of items with their titles behind the ids, as long as the terminal's line allows."""

    def table(titles: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        rows_with = [[*row[:2], title, *row[2:]] for row, title in zip(rows, titles)]
        return [*header[:2], "title", *header[2:]], rows_with

    line = markdown(*table([""] * len(rows))).partition("\n")[0]
    room = max(terminal_columns() - columns(line) + len("title"), FEWEST_COLUMNS)
    return table([cut(title, room, markdown_text) for title in titles])


def as_json(dataset: RecDataset, answer: Answer) -> str:
    """An answer for programs, in one line of JSON: ids are the original ones, to the character.
    Titles are there where the data have any; null for an item without one."""
    person = answer.person
    table = {
        "user_id": None if person.user == NEWCOMER else person.name,
        "history": [dataset.item_names[item] for item in person.history],
        "items": [
            {
                "item_id": dataset.item_names[item],
                "probability": chance,
                "why": answer.texts[place] if place < len(answer.texts) else None,
            }
            for place, (item, chance) in enumerate(zip(answer.items, answer.probabilities))
        ],
    }
    if dataset.titles:
        table["history_titles"] = [dataset.titles[item] or None for item in person.history]
        for entry, item in zip(table["items"], answer.items):
            entry["title"] = dataset.titles[item] or None
    return printable_json(json.dumps(table, ensure_ascii=False))
