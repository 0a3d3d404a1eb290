"""A server for the tests of downloads."""

import pytest

from modules.preparation import transfer
from tests.preparation.servers import Server


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    own = Server()
    yield own
    own.http.shutdown()
    own.http.server_close()
