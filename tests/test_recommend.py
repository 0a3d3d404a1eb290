"""recommend.py: the lists and texts of the evaluations, newcomers, and bad input."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from modules.evaluation.ranker import Ranker
from modules.loader.batches import BatchSize
from modules.model.elmrec import ELMRec
from modules.model.graph import Graph
from modules.people import NEWCOMER, Name, Person, known, newcomer, split_history
from modules.recommend import NewcomerModel, as_table, newcomer_remark, recommend
from modules.runs.run import Run
from modules.tasks import METHODS, Task, WholeWords
from tests.conftest import HISTORIES, N_ITEMS, process, script, write_folder
from tests.test_scripts import SMALL


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A data folder, and the folder of a run on it with lists and texts."""
    base = tmp_path_factory.mktemp("run")
    data, run = write_folder(base / "few"), base / "checkpoint"
    how = ["--checkpoint", run, "--precision", "fp32"]
    for name, flags in (("pretrain", SMALL), ("seq_reranker", ["--N", "12"]), ("exp", [])):
        done = script(f"{name}.py", data, *flags, *how)
        assert done.returncode == 0, done.stderr
    return data, run


def answers(data, run, *flags):
    how = ["--checkpoint", run, "--precision", "fp32", "--json"]
    done = script("recommend.py", data, *how, *flags)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_lists_are_those_of_the_evaluation(evaluated, tmp_path):
    data, run = evaluated
    users = tmp_path / "users.txt"
    users.write_text("U3\nU1\nU4\nU2\n")
    found, remarks = answers(data, run, "--users_file", users, "--held_out", "1")
    lines = [json.loads(line) for line in (run / "sequential.jsonl").read_text().splitlines()]
    by_user = {line["user_id"]: line for line in lines}
    assert [answer["user_id"] for answer in found] == ["U3", "U1", "U4", "U2"]
    for answer in found:
        line = by_user[answer["user_id"]]
        assert [item["item_id"] for item in answer["items"]] == line["item_ids"]
        chances = [item["probability"] for item in answer["items"]]
        assert chances == pytest.approx(np.exp(line["scores"]), rel=1e-4)
        assert [item["why"] for item in answer["items"]] == [None] * len(chances)
        assert answer["history"] == [f"I{i}" for i in HISTORIES[int(answer["user_id"][1])][:-1]]
    assert "s to answer" in remarks


def test_texts_are_those_of_the_evaluation(evaluated):
    data, run = evaluated
    line = json.loads((run / "explanation.jsonl").read_text())
    assert (line["user"], line["item"]) == (4, 9)
    (answer,), _ = answers(data, run, "--user", "U4", "--held_out", "1", "--top_n", "12")
    assert {item["item_id"]: item["why"] for item in answer["items"]}["I9"] == line["text"]
    (answer,), _ = answers(data, run, "--user", "U4", "--explain", "2")
    assert [item["why"] is None for item in answer["items"]] == [False] * 2 + [True] * 6


def test_the_table_and_a_newcomer(evaluated):
    data, run = evaluated
    flags = ["--history", "I3, I1,I3", "--top_n", "3"]
    done = script("recommend.py", data, "--checkpoint", run, *flags)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "somebody who is not in the data had 3 items, oldest first:"
    assert lines[1].split() == ["I3", "I1", "I3"]
    assert [line.split("|")[1].strip() for line in lines[5:8]] == ["1", "2", "3"]
    assert not {line.split("|")[2].strip() for line in lines[5:8]} & {"I3", "I1"}
    assert "user_0" in done.stderr
    assert "the mean of the history's item nodes" in done.stderr


def test_a_model_that_never_learned_to_explain(evaluated, tmp_path):
    data, run = evaluated
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    record = json.loads((run / "run.json").read_text())
    record["arguments"]["tasks"] = ["sequential", "direct"]
    (copy / "run.json").write_text(json.dumps(record))
    (answer,), remarks = answers(data, copy, "--user", "U1")
    assert {item["why"] for item in answer["items"]} == {None}
    assert "not trained on that task" in remarks
    done = script("recommend.py", data, "--checkpoint", copy, "--user", "U1", "--explain", "1")
    assert done.returncode == 2
    assert "--explain 1" in done.stderr
    record["arguments"]["tasks"] = ["direct"]
    (copy / "run.json").write_text(json.dumps(record))
    done = script("recommend.py", data, "--checkpoint", copy, "--user", "U1")
    assert done.returncode == 2
    assert "trained on direct" in done.stderr


def test_warnings_are_no_part_of_the_answer(evaluated, tmp_path):
    data, run = evaluated
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    record = json.loads((run / "run.json").read_text())
    record["versions"]["torch"] = "0.1"
    (copy / "run.json").write_text(json.dumps(record))
    found, remarks = answers(data, copy, "--user", "U1")  # reads each line as JSON
    assert len(found) == 1
    assert "warning: trained with torch '0.1'" in remarks


def test_a_reader_that_has_seen_enough(evaluated):
    data, run = evaluated
    read, write = os.pipe()
    os.close(read)
    done = process("recommend.py", data, "--checkpoint", run, "--user", "U1", stdout=write)
    os.close(write)
    assert done.returncode == 128 + 13
    assert "Error" not in done.stderr


def test_bad_input(evaluated, tmp_path):
    data, run = evaluated
    lines = tmp_path / "users.txt"
    lines.write_text("U1\nU99\n")

    def refused(*flags):
        done = script("recommend.py", data, "--checkpoint", run, *flags)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "arguments --user --users_file --all_users --history --history_file is" in refused()
    assert "--user: user 'U5' is not in the data" in refused("--user", "U5")
    assert "users.txt, line 2: user 'U99'" in refused("--users_file", lines, "--strict")
    assert "shorten --history" in refused("--history", "I1", "--held_out", "1").lower()


def test_unknown_users_are_named_and_skipped(evaluated, tmp_path):
    data, run = evaluated
    path = tmp_path / "users.txt"
    path.write_bytes("\ufeffU3\r\nU99\r\n\r\nU1\r\n\r\n".encode())
    found, remarks = answers(data, run, "--users_file", path)
    assert [answer["user_id"] for answer in found] == ["U3", "U1"]
    assert f"{path}, line 2: user 'U99' is not in the data; skipped" in remarks
    assert f"{path}, line 3: a blank line; skipped" in remarks
    assert remarks.endswith(f"2 of 4 lines of {path} name nobody: skipped\n")
    path.write_text("U98\nU99\n")
    done = script("recommend.py", data, "--checkpoint", run, "--users_file", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 1: user 'U98' is not in the data" in done.stderr


def test_keep_seen(evaluated):
    data, run = evaluated
    (answer,), _ = answers(data, run, "--user", "U1", "--top_n", "99", "--keep_seen")
    assert sorted(item["item_id"] for item in answer["items"]) == sorted(
        f"I{item}" for item in range(1, N_ITEMS + 1)
    )


# ------------------------------------------------------------------------------- in process


def everyone(dataset):
    return known(dataset, [Name("test", f"U{user}") for user in HISTORIES], 0)[0]


def stranger(dataset, text):
    return newcomer(dataset, split_history(dataset, text))


def test_many_are_ranked_in_one_call_and_as_each_alone(run, monkeypatch):
    people = everyone(run.dataset)
    alone = [recommend(run, [person], 5, 2, 8)[0] for person in people]
    calls = []
    rank = Ranker.rank
    monkeypatch.setattr(Ranker, "rank", lambda *args: calls.append(1) or rank(*args))
    together = recommend(run, people, 5, 2, 2)
    assert len(calls) == 1
    for one, other in zip(alone, together):
        assert one.items == other.items
        assert one.texts == other.texts
        assert len(one.texts) == 2
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-4)


def test_all_that_was_not_had_is_listed_with_what_is_left_of_certainty(run):
    (answer,) = recommend(run, [stranger(run.dataset, "I12")], 99, 0, 4)
    assert sorted(answer.items) == list(range(1, N_ITEMS))  # all but I12
    assert answer.probabilities == sorted(answer.probabilities, reverse=True)
    assert 0.5 < sum(answer.probabilities) < 1
    assert answer.texts == []


def test_a_list_is_full_whatever_its_reader_had(run):
    person = stranger(run.dataset, ",".join(f"I{i}" for i in range(1, 10)))
    (answer,) = recommend(run, [person], 3, 0, 4)
    assert sorted(answer.items) == [10, 11, 12]


def by_hand(model, tokenizer, history, item):
    """Encoder states of "user_0 item_<item>", written out: HF's encoder, W by dense matrices."""
    user = tokenizer("user_0", add_special_tokens=False)["input_ids"]
    other = tokenizer(f"item_{item}", add_special_tokens=False)["input_ids"]
    size = len(model.nodes.weight)
    graph = torch.zeros(size, size)
    crow = model.graph_crow.tolist()
    for row in range(size):
        for at in range(crow[row], crow[row + 1]):
            graph[row, model.graph_col[at]] = model.graph_values[at]
    layers = [model.nodes.weight]
    for _ in range(model.config.graph_layers):
        layers.append(graph @ layers[-1])
    table = torch.stack(layers).mean(dim=0)
    mean = torch.stack([table[model.config.n_users + i] for i in history]).mean(dim=0)
    node = table[model.config.n_users + item]
    words = [mean] * len(user) + [node] * len(other) + [torch.zeros_like(mean)]
    tokens = model.t5.shared(torch.tensor([*user, *other, tokenizer.eos_token_id]))
    prompts = model.prompts.weight[: model.config.prompt_num]  # of task 0
    embeds = torch.cat([prompts, tokens + model.config.alpha * torch.stack(words)])[None]
    return model.t5.encoder(inputs_embeds=embeds).last_hidden_state


@pytest.mark.parametrize("own_encoder", [True, False])
def test_a_newcomers_node_is_the_mean_of_the_items(prompts, model, tokenizer, own_encoder):
    graph = Graph(model.graph_crow, model.graph_col, model.graph_values)
    other = ELMRec(model.t5, model.config, graph, own_encoder=own_encoder).eval()
    other.load_state_dict(model.state_dict())
    model = other
    calls = []
    model.t5.encoder.register_forward_hook(lambda *_: calls.append(1))
    history = np.array([3, 7, 7])
    nothing = prompts.pieces.item_targets.gather(np.zeros(2, dtype=np.int64))
    nobody = np.zeros(2, dtype=np.int64)
    samples = prompts.explanation(nobody, np.array([10, 4]), nothing, BatchSize(2))
    with torch.no_grad():
        for rows, batch in samples:
            calls.clear()
            states, mask = NewcomerModel(model, prompts, history).eval().encode(batch)
            assert bool(calls) is not own_encoder  # the model's own encoder was asked for, or not
            plain, _ = model.encode(batch)
            for row, line in zip(rows, range(len(rows))):
                expected = by_hand(model, tokenizer, history, int(samples.samples.items.flat[row]))
                found = states[line, mask[line] > 0]
                torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-4)
                assert not torch.allclose(plain[line, mask[line] > 0], found, atol=1e-2)


def reading(run, schemes):
    """The run, its tasks with other whole-word ids."""
    run.model.schemes = schemes
    return replace(run, prompts=replace(run.prompts, schemes=schemes))


def test_where_no_graph_is_read_a_newcomer_needs_none(run):
    """The sequential task reads positions: the stand-in changes nothing."""
    person = stranger(run.dataset, "I3,I7")
    (answer,) = recommend(run, [person], 5, 0, 4)
    run = reading(run, METHODS["pod"].whole_words)
    (other,) = recommend(run, [person], 5, 3, 4)
    assert answer.items == other.items
    assert "graph" not in newcomer_remark(run, 3)
    run = reading(run, dict.fromkeys(Task, WholeWords.GRAPH))
    assert "for the sequential task" in newcomer_remark(run, 0)
    (third,) = recommend(run, [person], 5, 0, 4)
    assert third.probabilities != pytest.approx(answer.probabilities, rel=1e-3)


def test_where_users_have_no_node_nobody_has_one(run):
    """Known users and a newcomer are told by their items alone, as in training."""
    prompts = replace(run.prompts, causal=True, drop_own_edges=True)
    run = reading(replace(run, prompts=prompts), dict.fromkeys(Task, WholeWords.GRAPH))
    run.model.graph_values.zero_()  # so that no item hears of its users

    def chances(run: Run, who: Person) -> list[float]:
        return recommend(run, [who], 5, 0, 4)[0].probabilities

    told = replace(run, prompts=replace(run.prompts, drop_own_edges=False))
    for who in (stranger(run.dataset, "I3,I7"), Person(2, "U2", np.array([3, 7]))):
        before = chances(run, who)
        assert chances(told, who) != before
        run.model.nodes.weight.data[1:5] += 3.0
        assert chances(run, who) == before
    assert "graph" not in newcomer_remark(run, 0)


def test_a_long_history_is_read_from_its_end(run):
    long = stranger(run.dataset, ",".join(f"I{1 + n % 9}" for n in range(30)))
    short = Person(NEWCOMER, long.name, long.history[-20:])
    (one,), (other,) = (recommend(run, [p], 3, 0, 4) for p in (long, short))
    assert one.probabilities == other.probabilities
    text = as_table(run.dataset, one)
    assert "had 30 items, oldest first, of which the model reads the last 20:" in text
    assert len(text.splitlines()[1].split()) == 20
