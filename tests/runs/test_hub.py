"""A run's folder from the hub and to it. No network: what the hub's library does is replaced, or
fails because it is offline."""

import json
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from modules.recommender import Recommender
from modules.runs import hub
from modules.runs.library import LIBRARY_FILE
from tests.conftest import script
from utils.errors import UserError
from utils.files import sha256

PRIVATE_FILES = {"train_log.jsonl", "report.html", "state", "sequential.jsonl", "sequential.json"}


class Hub:
    """A hub in a folder: what the library's calls would do there."""

    def __init__(self, folder, public=()):
        self.folder, self.private, self.calls = folder, dict.fromkeys(public, False), []

    def create_repo(self, repo_id, private, exist_ok):
        assert exist_ok
        self.private.setdefault(repo_id, private)

    def model_info(self, repo_id):
        return SimpleNamespace(private=self.private[repo_id])

    def create_commit(self, repo_id, operations, commit_message):
        place = self.folder / repo_id
        place.mkdir(parents=True, exist_ok=True)
        for part in operations:
            with part.as_file() as file:  # the library's own class, so that what it takes is tried
                (place / part.path_in_repo).write_bytes(file.read())
        self.calls.append(commit_message)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def snapshot_download(self, repo_id, revision, allow_patterns):
        """As in the hub's cache: a folder of links, of the files asked for alone."""
        place = self.folder / "cache" / repo_id
        place.mkdir(parents=True)
        for path in (self.folder / repo_id).iterdir():
            if path.name in allow_patterns:
                (place / path.name).symlink_to(path)
        self.calls.append(revision)
        return str(place)


@pytest.fixture
def a_hub(tmp_path, monkeypatch) -> Hub:
    found = Hub(tmp_path / "hub", public=["me/public"])
    monkeypatch.setattr(hub, "HfApi", lambda: found)
    monkeypatch.setattr(hub, "snapshot_download", found.snapshot_download)
    return found


@pytest.fixture(scope="module")
def evaluated(trained_once, tmp_path_factory):
    """A copy of the run, with results."""
    base = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(trained_once, base, dirs_exist_ok=True)
    done = script("seq_reranker.py", base / "data", "--checkpoint", base / "run")
    assert done.returncode == 0, done.stderr
    return base / "run"


@pytest.mark.parametrize("histories", [False, True])
def test_there_and_back(evaluated, a_hub, histories):
    mine = Recommender.load(evaluated)
    before = {path: path.read_bytes() for path in evaluated.iterdir() if path.is_file()}
    url = mine.push_to_hub("me/model", histories=histories)
    assert url == "https://hub/me/model/commit/1"
    assert a_hub.private["me/model"] is True
    assert before == {path: path.read_bytes() for path in evaluated.iterdir() if path.is_file()}
    sent = {path.name: path for path in (a_hub.folder / "me" / "model").iterdir()}
    assert not sent.keys() & PRIVATE_FILES
    named = json.loads(sent["run.json"].read_text())["files"]
    assert named[LIBRARY_FILE] == sha256(sent[LIBRARY_FILE])
    assert (b'"U3"' in sent[LIBRARY_FILE].read_bytes()) is histories

    theirs = Recommender.load("me/model", revision="v1")
    assert a_hub.calls[-1] == "v1"
    history = mine.history("U3")
    assert theirs.recommend(history, k=4) == mine.recommend(history, k=4)
    if histories:
        assert theirs.recommend("U3") == mine.recommend("U3")
    else:
        assert theirs.user_ids == ()
        with pytest.raises(UserError, match="holds nobody's history"):
            theirs.recommend("U3")
        with pytest.raises(UserError, match=r"histories: .* holds none"):
            theirs.push_to_hub("me/other", histories=True)


def test_the_card_on_the_hub_is_one_that_the_hub_reads(evaluated, a_hub):
    Recommender.load(evaluated).push_to_hub("me/model")
    path = a_hub.folder / "me" / "model" / "README.md"
    card = ModelCard.load(path)  # the hub's own reader
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "text-ranking"
    assert {"recommendation", "elmrec", "sequential"} <= set(card.data.tags)
    assert card.data.datasets == ["data"]
    metrics = json.loads((evaluated / "sequential.json").read_text())["metrics"]
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == metrics
    assert {result.dataset_name for result in card.data.eval_results} == {"data"}
    assert 'Recommender.load("me/model")' in card.content
    assert "Recommender.load" in ModelCard.load(evaluated / "README.md").content


def test_a_public_repository_is_not_taken_for_a_private_one(evaluated, a_hub):
    model = Recommender.load(evaluated)
    with pytest.raises(UserError, match="me/public: is there already, and public"):
        model.push_to_hub("me/public")
    assert a_hub.calls == []
    model.push_to_hub("me/public", private=False)
    assert len(a_hub.calls) == 1


def test_a_folder_that_is_damaged_is_not_put_there(place, a_hub):
    model = Recommender.load(place.run)
    (place.run / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not the tokenizer"):
        model.push_to_hub("me/model")
    assert a_hub.calls == []


@pytest.mark.parametrize("name", ["nobody/nothing", "checkpoint/not-there"])
def test_offline_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=f"{name}: no such folder here, and .* the network"):
        Recommender.load(name)


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "./nowhere", "/nowhere", "", "a/b c", "../x"])
def test_no_folder_and_no_name_of_a_repository(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("the hub is asked"))
    if name:
        with pytest.raises(UserError, match=r"no such folder\. Name one"):
            Recommender.load(name)
    with pytest.raises(UserError, match=r"no such folder\. Name one"):
        Recommender.load(tmp_path / "nowhere")


def test_a_folder_has_no_revisions(evaluated):
    with pytest.raises(UserError, match="which has no revisions"):
        Recommender.load(evaluated, revision="main")


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, HfHubHTTPError, OSError, ValueError])
def test_what_the_hub_refuses(kind, evaluated, a_hub, monkeypatch):
    def refuse(*_, **__):
        error = kind.__new__(kind)
        error.args = ("401: not yours\nmore",)
        raise error

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match="me/none: no such folder here") as caught:
        Recommender.load("me/none")
    assert "\n" not in str(caught.value)
    a_hub.create_commit = refuse
    with pytest.raises(UserError, match="me/model: the Hugging Face hub does not take it"):
        Recommender.load(evaluated).push_to_hub("me/model")
