"""``Recommender``: a trained model for programs in Python.

    from modules import Recommender

    model = Recommender.load("checkpoint/mine")
    for item in model.recommend("A1YJEY40YUW4SE", k=3):
        print(item.item_id, item.title, item.probability)

All ids are the original ones, as in the raw data. What recommend.py answers, this answers too.
"""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import NamedTuple, overload

from modules import people
from modules import recommend as advice
from modules.people import Name, Person
from modules.runs.hub import fetch, push
from modules.runs.library import library_bytes
from modules.runs.record import read_record
from modules.runs.run import Run, open_run, start_machine
from modules.tasks import Task
from utils.errors import UserError, limit

History = Sequence[str]  # original ids of items, oldest first


class Recommendation(NamedTuple):
    """An item of a list."""

    item_id: str
    title: str | None  # None where the data have none for it
    probability: float  # that it comes next, among all items of the catalogue


class Recommender:
    """A trained model, ready to be asked. Made by ``load``."""

    def __init__(self, run: Run, batch_size: int = 64) -> None:
        """
        Args:
            run: of ``open_run``.
            batch_size: people who are asked for at once.
        """
        self._run, self._batch_size = run, _positive("batch_size", batch_size)

    @classmethod
    def load(
        cls,
        source: str | PathLike[str],
        data_dir: str | PathLike[str] | None = None,
        *,
        revision: str | None = None,
        cuda: bool = False,
        precision: str | None = None,
        batch_size: int = 64,
    ) -> "Recommender":
        """A model from the folder of its run, or from the Hugging Face hub.

        Args:
            source: a folder that pretrain.py wrote; or, where there is no such folder, the name of
                a repository on the hub, ``name/of-repo``.
            data_dir: the data folder of the training. None: ids, titles and histories are those
                that the run's folder holds.
            revision: of the repository: a branch, a tag or a commit.
            cuda: on the GPU.
            precision: ``fp32`` or ``bf16``; None: as the test scripts choose it.
            batch_size: people who are asked for at once.

        Raises:
            UserError: where there is no such model, a file of it is damaged, or the folder holds no
                ids and ``data_dir`` is not given.
        """
        if precision not in (None, "fp32", "bf16"):
            raise UserError(f"precision {limit(precision)}: it must be fp32 or bf16, or None.")
        folder = fetch(source, revision)
        machine = start_machine(cuda, False, precision or read_record(folder).precision)
        return cls(open_run(folder, data_dir, machine, writes=False), batch_size)

    # ------------------------------------------------------------------------- what it knows

    @property
    def item_ids(self) -> tuple[str, ...]:
        """All items."""
        return self._run.dataset.item_names[1:]

    @property
    def user_ids(self) -> tuple[str, ...]:
        """All users; none where the folder holds nobody's history."""
        return self._run.dataset.user_names[1:] if self._knows_users else ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model was trained on: ``sequential``, ``direct``, ``explanation``."""
        return tuple(self._run.record.tasks)

    def title(self, item_id: str) -> str | None:
        """What an item is called; None where the data have no title for it.

        Raises:
            UserError: where there is no such item.
        """
        return self._title(self._items("item", [item_id])[0])

    def history(self, user_id: str) -> list[str]:
        """What a user had, oldest first.

        Raises:
            UserError: where there is no such user.
        """
        return [self._run.dataset.item_names[item] for item in self._user("user", user_id).history]

    # --------------------------------------------------------------------------------- asked

    @overload
    def recommend(
        self, who: str | History, k: int = 10, exclude_seen: bool = True
    ) -> list[Recommendation]: ...

    @overload
    def recommend(
        self, who: Sequence[History], k: int = 10, exclude_seen: bool = True
    ) -> list[list[Recommendation]]: ...

    def recommend(
        self, who: str | History | Sequence[History], k: int = 10, exclude_seen: bool = True
    ) -> list[Recommendation] | list[list[Recommendation]]:
        """What comes next.

        Args:
            who: the id of a user; or the history of somebody unknown, as a list of item ids, oldest
                first; or a list of such histories, which are asked for in batches. For many users
                see ``recommend_users``.
            k: items in a list. A list is shorter where fewer items are left.
            exclude_seen: no list holds what its reader already had.

        Returns:
            a list, best first; of a list of histories a list for each, in their order.

        Raises:
            UserError: where somebody or something is unknown, a history is empty, or the model was
                not trained on the sequential task.
        """
        if isinstance(who, str):
            return self._lists([self._user("user", who)], k, exclude_seen)[0]
        rows = _as_list("who", who)
        if all(isinstance(row, str) for row in rows):
            return self._lists([self._stranger("history", rows)], k, exclude_seen)[0]
        asked = [self._stranger(f"history {n}", row) for n, row in enumerate(rows, start=1)]
        return self._lists(asked, k, exclude_seen)

    def recommend_users(
        self, user_ids: Iterable[str], k: int = 10, exclude_seen: bool = True
    ) -> list[list[Recommendation]]:
        """``recommend`` for many users, in batches: a list for each, in their order."""
        asked = [self._user("user_ids", user) for user in _as_list("user_ids", user_ids)]
        return self._lists(asked, k, exclude_seen) if asked else []

    def score(self, who: str | History, item_ids: Iterable[str]) -> list[float]:
        """Log-probability of each of some items to come next, among the whole catalogue.

        Args:
            who: the id of a user, or the history of somebody unknown.
            item_ids: n items, also such as somebody already had.

        Returns:
            n natural logarithms, in the order of the items.

        Raises:
            UserError: as ``recommend``.
        """
        self._check_task(Task.SEQUENTIAL)
        items = self._items("item_ids", _as_list("item_ids", item_ids))
        return advice.score(self._run, self._person(who), items).tolist() if items else []

    def explain(self, who: str | History, item_id: str) -> str:
        """Why an item would please somebody: a text that the model generates.

        Args:
            who: the id of a user, or the history of somebody unknown.

        Raises:
            UserError: where the model was not trained on explanations, or somebody or something is
                unknown.
        """
        self._check_task(Task.EXPLANATION)
        return advice.explain(self._run, self._person(who), self._items("item", [item_id])[0])

    # ------------------------------------------------------------------------------- published

    def push_to_hub(
        self,
        repo_id: str,
        private: bool = True,
        histories: bool = False,
        message: str = "A model of ELMRec",
    ) -> str:
        """Put the model on the Hugging Face hub, with its model card.

        Rows of results, logs and reports stay here. run.json goes along, with the command and the
        paths that were typed.

        Args:
            repo_id: ``name/of-repo``; made where it is not there. Its README.md is replaced.
            private: nobody else may read it.
            histories: user ids and histories go along, so that ``load`` knows the users. Ask those
                whose histories they are.
            message: of the commit.

        Returns:
            the address of the commit.

        Raises:
            UserError: where the hub says no, or ``private`` and the repository is public, or the
                model has no ``histories``.
        """
        if histories and not self._knows_users:
            raise UserError(f"histories: {self._run.folder} holds none. Leave it out.")
        content = library_bytes(self._run.dataset, histories)
        return push(self._run.folder, repo_id, private, content, message)

    # --------------------------------------------------------------------------------- inside

    @property
    def _knows_users(self) -> bool:
        return len(self._run.dataset.items) > 0

    def _lists(self, asked: list[Person], k: int, exclude_seen: bool) -> list[list[Recommendation]]:
        self._check_task(Task.SEQUENTIAL)
        k, size = _positive("k", k), self._batch_size
        answers = advice.recommend(self._run, asked, k, 0, size, keep_seen=not exclude_seen)
        names = self._run.dataset.item_names
        return [
            [
                Recommendation(names[item], self._title(item), chance)
                for item, chance in zip(answer.items, answer.probabilities)
            ]
            for answer in answers
        ]

    def _person(self, who: str | History) -> Person:
        return self._user("user", who) if isinstance(who, str) else self._stranger("history", who)

    def _user(self, where: str, user_id: str) -> Person:
        if not self._knows_users:
            raise UserError(
                f"{where} {limit(user_id)}: {self._run.folder} holds nobody's history "
                "(--no_histories). Give the history, a list of item ids; or pass the data folder: "
                "Recommender.load(folder, data_dir)."
            )
        found, _ = people.known(self._run.dataset, _names(where, [user_id]), held_out=0)
        return found[0]

    def _stranger(self, where: str, history: History) -> Person:
        names = _names(where, _as_list(where, history))
        if not names:
            raise UserError(f"{where}: is empty. Give at least one item id.")
        return people.newcomer(self._run.dataset, names)

    def _items(self, where: str, item_ids: list[str]) -> list[int]:
        return people.items_of(self._run.dataset, _names(where, item_ids))

    def _title(self, item: int) -> str | None:
        titles = self._run.dataset.titles
        return (titles[item] or None) if titles else None

    def _check_task(self, task: Task) -> None:
        if task.label not in self.tasks:
            raise UserError(
                f"{self._run.folder}: the model was trained on {', '.join(self.tasks)}; this needs "
                f"the {task.label} task. Train with it."
            )


def _as_list(where: str, given: Iterable) -> list:
    """What was given as a list; a string is none, though Python could walk along it."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UserError(
            f"{where}: is {limit(given)}; it must be a list of original ids, which are strings."
        )
    return list(given)


def _names(where: str, ids: Iterable[str]) -> list[Name]:
    """Ids for messages and look-up; UserError where one is no string."""
    for name in ids:
        if not isinstance(name, str):
            raise UserError(
                f"{where}: {limit(name)} is no string. Ids are strings, as in the raw data."
            )
    return [Name(where, name) for name in ids]


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name}: is {limit(value)}; it must be a whole number from 1 up.")
    return value
