"""How processes find each other: names that dead ones never had, and what the launcher says."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from utils import distributed
from utils.distributed import Launch, agree
from utils.errors import UserError

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def meet(store: HashStore, world_size: int, ranks: range) -> list[str]:
    with ThreadPoolExecutor(world_size) as pool:
        joining = [pool.submit(agree, store, rank, world_size, 20.0) for rank in ranks]
        return [join.result() for join in joining]


@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_all_have_one_name_and_it_is_new_each_time(world_size) -> None:
    store = HashStore()
    names = [meet(store, world_size, range(world_size)) for _ in range(4)]
    assert all(len(set(name)) == 1 for name in names)
    assert len({name[0] for name in names}) == 4


def test_dead_processes_do_not_count(monkeypatch) -> None:
    """Two of three were killed while they waited for the third; then all three start anew."""
    store = HashStore()
    for rank in (0, 1):
        store.set(f"here/{rank}", f"dead{rank}")
    store.set("here/2", "dead2")
    store.set("seen/dead0-dead1-dead2/0", "")
    assert "dead" not in meet(store, 3, range(3))[0]


def test_one_that_does_not_come_is_waited_for_no_longer_than_that() -> None:
    store = HashStore()
    store.set("here/1", "dead")
    with pytest.raises(RuntimeError, match="do not answer"):
        agree(store, 0, 2, 0.2)


def environment(monkeypatch, **variables: str) -> None:
    for name in (*TORCHRUN, "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "left_over",
    [
        {},
        {"RANK": "1"},
        {"RANK": "3", "LOCAL_RANK": "1"},
        {"WORLD_SIZE": "1"},
        {"WORLD_SIZE": ""},
        {"RANK": "7", "WORLD_SIZE": "1"},
        {"TORCHELASTIC_RESTART_COUNT": "2"},
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "nowhere.invalid"},
    ],
)
def test_what_another_launcher_left_makes_no_group(left_over, monkeypatch) -> None:
    environment(monkeypatch, **left_over)
    assert Launch.from_environment() == Launch()
    assert distributed.is_main()
    assert not distributed.restarted()
    distributed.start(cuda=False)
    assert distributed.world_size() == 1


def test_what_torchrun_says(monkeypatch) -> None:
    environment(monkeypatch, **TORCHRUN, LOCAL_RANK="0", TORCHELASTIC_RESTART_COUNT="2")
    assert Launch.from_environment() == Launch(1, 2, 0, 2)
    assert not distributed.is_main()
    assert distributed.restarted()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "x"}, "RANK is 'x'; it must be a whole number"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"RANK": "2"}, "RANK=2: must be below WORLD_SIZE=2"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "9" * 99}, "WORLD_SIZE is '999"),
        ({"LOCAL_RANK": "1.5"}, "LOCAL_RANK is '1.5'"),
        ({"TORCHELASTIC_RESTART_COUNT": "x"}, "TORCHELASTIC_RESTART_COUNT is 'x'"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http'"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT: must be at most 65535"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set. Start them with torchrun"),
        ({"RANK": "", "MASTER_PORT": ""}, "RANK, MASTER_PORT is not set"),
    ],
)
def test_an_environment_that_makes_no_sense(change, message, monkeypatch) -> None:
    environment(monkeypatch, **TORCHRUN | change)
    with pytest.raises(UserError, match=message):
        Launch.from_environment()


def test_nobody_else_comes(monkeypatch) -> None:
    monkeypatch.setattr(distributed, "JOIN_SECONDS", 1.0)
    environment(monkeypatch, **TORCHRUN | {"MASTER_PORT": "1"})
    with pytest.raises(UserError, match="process 1 of 2 has waited 1 s for the others"):
        distributed.start(cuda=False)
