"""Warnings of a verdict, and the commands to run next."""

import shlex
from dataclasses import replace

import pytest

from modules.runs.kinds import Compared, Difference, Verdict
from modules.runs.record import RunRecord
from modules.runs.results import interval
from modules.training.settings import Settings
from modules.verdict.next_steps import next_steps
from modules.verdict.wording import warnings

NONE = Difference(mean=0.0, low=0.0, high=0.0)
GOOD = Verdict(
    run_id="", users=2537, model=Compared(title="ELMRec", hr=0.1, ndcg=0.05),
    simple=[Compared(title="EASE", hr=0.1, ndcg=0.05)], hr=NONE, ndcg=NONE, same_first=0.02,
    items=900, texts=50, different_texts=40, improving=False, sentence="", warnings=[],
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"items": 14}, ["14 of 1,200 items fill all 2,537"]),
        ({"same_first": 0.5}, ["50% of the lists begin with the same item"]),
        ({"users": 4, "same_first": 1.0, "items": 10}, []),  # too few to say
        ({"different_texts": 1}, ["texts repeat: of 50 that were written, 1 differ"]),
        ({"texts": 0, "different_texts": 0}, []),  # it was not trained to explain
        ({"improving": True}, ["more epochs may help"]),
    ],
)
def test_warnings_of_the_answers(dataset, changes, words):
    record = RunRecord.now({"warmup": 0}, dataset, 0, 0)
    found = warnings(replace(GOOD, **changes), record, 100, 1200)
    assert len(found) == len(words)
    assert all(word in warning for word, warning in zip(words, found))
    small = warnings(replace(GOOD, **changes), record, 100, 40)
    assert not any("fill all" in warning for warning in small)


@pytest.mark.parametrize(("warmup", "steps", "warned"), [(50, 100, 0), (51, 100, 1), (500, 100, 1)])
def test_a_warm_up_that_takes_most_of_the_run(dataset, warmup, steps, warned):
    found = warnings(GOOD, RunRecord.now({"warmup": warmup}, dataset, 0, 0), steps, 1200)
    assert len(found) == warned
    assert all(f"in {min(warmup, steps)} of {steps} steps" in warning for warning in found)


def test_leaks_are_said(dataset):
    (found,) = warnings(GOOD, RunRecord.now({"warmup": 0}, dataset, 7, 0), 100, 1200)
    assert "figures are too high" in found


def test_intervals():
    assert interval(Difference(mean=0.0127, low=-0.011, high=1.0)) == "+.0127 (-.0110 to +1.0000)"


WHERE = {"data_dir": "data/my shop", "checkpoint": "runs/it's"}


@pytest.mark.parametrize(
    ("settings", "scripts"),
    [
        ({}, ["seq_reranker.py", "topn.py", "exp.py", "recommend.py", "compare.py"]),
        ({"tasks": ["sequential"]}, ["seq_reranker.py", "topn.py", "recommend.py", "compare.py"]),
        ({"tasks": ["direct"]}, ["topn.py", "compare.py"]),
        ({"tasks": ["explanation"]}, ["exp.py", "compare.py"]),
    ],
)
def test_next_steps_are_what_was_trained(dataset, settings, scripts):
    words = [shlex.split(line) for line in next_steps(Settings(**WHERE, **settings), dataset)]
    assert [line[:2] for line in words] == [["python", name] for name in scripts]
    assert all("data/my shop" in line for line in words)
    assert all("runs/it's" in line for line in words[:-1])


@pytest.mark.parametrize("name", ["U 1", "O'Neil", "$(reboot)", "-0Ji", "--json", "用户"])
def test_a_real_user_is_asked_for(dataset, name):
    renamed = replace(dataset, user_names=("", "\x1b[31m", name, "U3", "U4"))
    settings = Settings(**WHERE, cuda=True, negative_num=30, seed=4)
    *_, asked, simple = next_steps(settings, renamed)
    words = shlex.split(asked)
    assert words[-1] == f"--user={name}" or words[-2:] == ["--user", name]
    assert "--cuda" in words
    assert shlex.split(simple)[-4:] == ["--negative_num", "30", "--seed", "4"]
