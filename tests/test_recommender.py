"""``Recommender``: what recommend.py answers, from the run's folder alone; and bad input."""

import json
import math
import shutil
import subprocess
import sys

import pytest
import torch

import modules
from modules.evaluation.ranker import Ranker
from modules.recommender import Recommendation, Recommender
from modules.tasks import METHODS, Task, WholeWords
from tests.conftest import HISTORIES, N_ITEMS, ROOT, script, write_folder
from tests.test_recommend import reading
from utils.errors import UserError

ITEMS = [f"I{n}" for n in range(1, N_ITEMS + 1)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A data folder with titles, the folder of a run on it, and one of a run without histories."""
    base = tmp_path_factory.mktemp("library")
    data = write_folder(base / "data")
    (data / "items.json").write_text('{"2": {"title": "warm lamp"}, "9": {"title": "tea"}}')
    small = ["--backbone", "tiny", "--batch_size", 2, "--negative_num", 5, "--max_steps", 2]
    small += ["--preset", "readme", "--precision", "fp32"]
    for name, flags in (
        ("mine", []),
        ("private", ["--no_histories"]),
        ("silent", ["--tasks", "sequential,direct"]),
        ("mute", ["--tasks", "explanation"]),
    ):
        done = script("pretrain.py", data, *small, "--checkpoint", base / name, *flags)
        assert done.returncode == 0, done.stderr
    return base


@pytest.fixture(scope="module")
def mine(folders) -> Recommender:
    shutil.move(folders / "data", folders / "elsewhere")  # the run's folder alone is enough
    try:
        return Recommender.load(folders / "mine")
    finally:
        shutil.move(folders / "elsewhere", folders / "data")


def as_script(folders, *flags):
    """What recommend.py answers: (ids, titles, probabilities), and reasons."""
    how = ["--checkpoint", folders / "mine", "--json"]
    done = script("recommend.py", folders / "data", *how, *flags)
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    found = [Recommendation(i["item_id"], i["title"], i["probability"]) for i in items]
    return found, [i["why"] for i in items]


def test_known_people_get_what_the_script_says(folders, mine):
    for user in ("U1", "U3"):
        found, why = as_script(folders, "--user", user)
        assert mine.recommend(user) == found
        assert mine.explain(user, found[0].item_id) == why[0]
        assert mine.explain(user, found[-1].item_id) == why[-1]
    found, _ = as_script(folders, "--user", "U1", "--keep_seen", "--top_n", 3)
    assert mine.recommend("U1", k=3, exclude_seen=False) == found


def test_newcomers_get_what_the_script_says(folders, mine):
    found, why = as_script(folders, "--history", "I9,I2")
    assert mine.recommend(["I9", "I2"]) == found
    assert mine.explain(["I9", "I2"], found[0].item_id) == why[0]
    assert {item.title for item in mine.recommend(["I1"])} == {"warm lamp", "tea", None}


def same(found, expected):
    assert [item.item_id for item in found] == [item.item_id for item in expected]
    chances = [item.probability for item in expected]
    assert [item.probability for item in found] == pytest.approx(chances, rel=1e-3)


def test_many_are_asked_for_together_and_get_what_each_gets_alone(mine, monkeypatch):
    histories = [["I1"], ["I9", "I2", "I3"], ["I1", "I1", "I4"], ["I12"]]
    users = ["U3", "U1", "U4"]
    alone = [mine.recommend(row, k=4) for row in histories]
    each = [mine.recommend(user, k=4) for user in users]
    calls = []
    rank = Ranker.rank
    monkeypatch.setattr(Ranker, "rank", lambda *args: calls.append(1) or rank(*args))
    for found, expected in zip(mine.recommend(histories, k=4), alone, strict=True):
        same(found, expected)
    assert len(calls) == 1
    for found, expected in zip(mine.recommend_users(users, k=4), each, strict=True):
        same(found, expected)
    assert len(calls) == 2
    assert mine.recommend_users([]) == []


@pytest.mark.parametrize("by_node", [True, False])
def test_newcomers_whose_node_is_read_are_each_told_by_their_own_items(run, by_node, monkeypatch):
    schemes = dict.fromkeys(Task, WholeWords.GRAPH) if by_node else METHODS["pod"].whole_words
    model = Recommender(reading(run, schemes))
    histories = [["I1"], ["I9", "I2", "I3"], ["I12"]]
    alone = [model.recommend(row) for row in histories]
    calls = []
    rank = Ranker.rank
    monkeypatch.setattr(Ranker, "rank", lambda *args: calls.append(1) or rank(*args))
    for found, expected in zip(model.recommend(histories), alone, strict=True):
        same(found, expected)
    assert len(calls) == (3 if by_node else 1)


def test_scores_are_log_probabilities_of_the_whole_catalogue(mine):
    for who in ("U2", ["I5", "I6"]):
        found = mine.recommend(who, k=N_ITEMS, exclude_seen=False)
        ids = [item.item_id for item in found]
        assert sorted(ids) == sorted(ITEMS)
        expected = [math.log(item.probability) for item in found]
        assert mine.score(who, ids) == pytest.approx(expected, rel=1e-5)
        assert math.fsum(map(math.exp, mine.score(who, ITEMS))) == pytest.approx(1, abs=1e-5)
        some = [ids[3], ids[0], ids[3]]
        assert mine.score(who, some) == pytest.approx([expected[3], expected[0], expected[3]])
    assert mine.score("U2", []) == []


def test_a_list_holds_nothing_that_was_had(mine):
    for user, row in HISTORIES.items():
        found = [item.item_id for item in mine.recommend(f"U{user}", k=99)]
        assert sorted(found) == sorted(set(ITEMS) - {f"I{item}" for item in row})
    assert len(mine.recommend(["I4"], k=3)) == 3


def test_what_it_knows(mine):
    assert mine.item_ids == tuple(ITEMS)
    assert mine.user_ids == ("U1", "U2", "U3", "U4")
    assert mine.history("U2") == [f"I{item}" for item in HISTORIES[2]]
    assert (mine.title("I2"), mine.title("I3")) == ("warm lamp", None)
    assert set(mine.tasks) == {"explanation", "sequential", "direct"}


def test_without_histories_nobody_is_known(folders, mine):
    private = Recommender.load(folders / "private")
    assert private.user_ids == ()
    assert private.item_ids == mine.item_ids
    assert private.title("I2") == "warm lamp"
    same(private.recommend(["I9", "I2"], k=3), mine.recommend(["I9", "I2"], k=3))
    for ask in (private.recommend, private.history, lambda who: private.score(who, ["I1"])):
        for who in ("U1", "", "nobody"):
            with pytest.raises(UserError, match=r"holds nobody's history .* data folder"):
                ask(who)
    told = Recommender.load(folders / "private", folders / "data")
    same(told.recommend("U1"), mine.recommend("U1"))


def test_a_folder_of_an_older_version_needs_the_data_folder(folders, mine, tmp_path):
    shutil.copytree(folders / "mine", tmp_path / "old")
    record = json.loads((tmp_path / "old" / "run.json").read_text())
    del record["files"]["library.safetensors"], record["arguments"]["no_histories"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(record))
    (tmp_path / "old" / "library.safetensors").unlink()
    with pytest.raises(UserError, match=r"Pass the data folder .* Recommender.load\(folder, data"):
        Recommender.load(tmp_path / "old")
    old = Recommender.load(tmp_path / "old", data_dir=folders / "data")
    assert old.recommend("U1") == mine.recommend("U1")


def test_a_model_is_asked_for_what_it_learned(folders):
    silent, mute = (Recommender.load(folders / name) for name in ("silent", "mute"))
    assert len(silent.recommend("U1", k=2)) == 2
    with pytest.raises(UserError, match="trained on sequential, direct; this needs the explan"):
        silent.explain("U1", "I1")
    assert isinstance(mute.explain("U1", "I1"), str)
    for ask in (mute.recommend, lambda who: mute.score(who, ["I1"])):
        with pytest.raises(UserError, match="this needs the sequential task"):
            ask("U1")


BAD = {
    "user 'U9' is not in the data. Recommender.user_ids are all 4": lambda m: m.recommend("U9"),
    "user: blank": lambda m: m.recommend(" "),
    "history: item 'I13' is not in the data": lambda m: m.recommend(["I1", "I13"]),
    "history 2: item 'x' is not in": lambda m: m.recommend([["I1"], ["x"]]),
    "history: is empty": lambda m: m.recommend([]),
    "history 1: is empty": lambda m: m.recommend([[]]),
    "history 2: is 'I1'; it must be a list": lambda m: m.recommend([["I1"], "I1"]),
    "history: 7 is no string": lambda m: m.score([7], ["I1"]),
    "history 1: is 7; it must be a list": lambda m: m.recommend([7]),
    "who: is 7; it must be a list": lambda m: m.recommend(7),
    "who: is None": lambda m: m.recommend(None),
    "user_ids: is 'U1'; it must be a list": lambda m: m.recommend_users("U1"),
    "user: 1 is no string": lambda m: m.history(1),
    "item_ids: is 'I1'; it must be a list": lambda m: m.score("U1", "I1"),
    "item_ids: item 'I99' is not in the data": lambda m: m.score("U1", ["I99"]),
    "item: item 'I99' is not in the data": lambda m: m.explain("U1", "I99"),
    "item: item 'tea' is not": lambda m: m.title("tea"),
    "k: is 0; it must be a whole number": lambda m: m.recommend("U1", k=0),
    "k: is True": lambda m: m.recommend("U1", k=True),
    "k: is 2.0": lambda m: m.recommend("U1", k=2.0),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input(words, mine):
    with pytest.raises(UserError) as caught:
        BAD[words](mine)
    assert words in str(caught.value)


def test_bad_settings(folders):
    with pytest.raises(UserError, match="precision 'fp16'"):
        Recommender.load(folders / "mine", precision="fp16")
    with pytest.raises(UserError, match="batch_size: is 0"):
        Recommender.load(folders / "mine", batch_size=0)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="has no CUDA device"):
            Recommender.load(folders / "mine", cuda=True)


def test_the_package_is_imported_without_torch():
    assert modules.Recommender is Recommender
    program = "import sys, modules; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
