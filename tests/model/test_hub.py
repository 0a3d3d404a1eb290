"""The hub is asked once a process, by whoever asks first."""

import pytest

from modules.model import backbone, hub
from modules.training.defaults import default_backbone
from utils.errors import UserError


@pytest.fixture
def asked(monkeypatch):
    """The addresses that were asked; nothing is kept on this machine."""
    found = []
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, timeout: found.append(url))
    hub.ask_hub.cache_clear()
    yield found
    hub.ask_hub.cache_clear()


def test_the_default_backbone_is_asked_for_once(asked, monkeypatch):
    monkeypatch.setattr(backbone, "_load", lambda name, *_: name)
    monkeypatch.setattr(backbone.T5Config, "from_pretrained", lambda name: None)
    assert default_backbone() is None
    assert backbone.build_backbone("t5-small", False, []) == "t5-small"
    assert len(asked) == 1
    backbone.build_backbone("t5-base", False, [])
    assert ["t5-small" in url for url in asked] == [True, False]


def test_a_no_is_asked_for_again(asked, monkeypatch):
    def no(url, timeout):
        asked.append(url)
        raise OSError("no such model")

    monkeypatch.setattr(hub, "get_hf_file_metadata", no)
    for _ in range(2):
        with pytest.raises(UserError, match="no such model"):
            backbone.build_backbone("somebody/model", False, [])
    assert len(asked) == 2
