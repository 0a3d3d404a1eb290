"""TREC files scored by ir_measures: the same HR and NDCG as ours."""

from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success, nDCG

from utils.metrics.ranking import NOT_RANKED, hit_rate, mrr, ndcg
from utils.metrics.trec import qrels_lines, run_lines, trec_files


def random_rows(seed, users=300, items=60):
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(1, users + 1):
        length = generator.integers(0, 11)  # some users get no list at all
        listed = (generator.permutation(items)[:length] + 1).tolist()
        target = int(generator.integers(1, items + 1))
        rank = listed.index(target) if target in listed else None
        rows.append({"user": user, "items": listed, "target": target, "rank": rank})
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_an_outside_tool_finds_the_same(tmp_path, seed):
    rows = random_rows(seed)
    for name, content in trec_files(tmp_path, "direct", rows).items():
        (tmp_path / name).write_text(content)
    measures = [Success @ 1, Success @ 5, Success @ 10, nDCG @ 5, nDCG @ 10, RR @ 10]
    outside = ir_measures.calc_aggregate(
        measures,
        ir_measures.read_trec_qrels(str(tmp_path / "direct.qrels.trec")),
        ir_measures.read_trec_run(str(tmp_path / "direct.run.trec")),
    )
    ranks = np.array([NOT_RANKED if row["rank"] is None else row["rank"] for row in rows])
    assert 0 < hit_rate(ranks, 10) < 1
    for k in (1, 5, 10):
        assert outside[Success @ k] == pytest.approx(hit_rate(ranks, k), abs=1e-6)
    for k in (5, 10):
        assert outside[nDCG @ k] == pytest.approx(ndcg(ranks, k), abs=1e-6)
    assert outside[RR @ 10] == pytest.approx(mrr(ranks, 10), abs=1e-6)


def test_lines_by_hand():
    rows = [{"user": 7, "items": [30, 4], "target": 4, "rank": 1}]
    assert run_lines(rows, "a") == ["7 Q0 30 1 2 a", "7 Q0 4 2 1 a"]
    assert qrels_lines(rows) == ["7 0 4 1"]


def test_the_tag_is_the_name_that_was_typed(tmp_path, monkeypatch):
    (tmp_path / "run 7").mkdir()
    (tmp_path / "toys").symlink_to(tmp_path / "run 7")
    monkeypatch.chdir(tmp_path)
    for typed, tag in (("toys", "toys"), ("run 7/../toys/.", "toys"), ("run 7", "run-7")):
        files = trec_files(Path(typed), "direct", random_rows(0, users=3))
        tags = {line.split()[-1] for line in files["direct.run.trec"].splitlines()}
        assert tags == {tag}
