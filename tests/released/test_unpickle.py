"""Unusual programs: read, or refused with a reason, in time in proportion to their size."""

import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.released.reader import read_released
from modules.released.unpickle import _has_repeating_tuples
from tests.fuzz import examples
from tests.released.test_reader import TUPLES, call, solomon, tensor, written
from utils.errors import UserError

EXAMPLES = examples(100)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_which_tuples_repeat(data):
    """As counted on the objects themselves; these are as Python's own pickler writes them."""
    made = [(), ("a",), 7]
    for _ in range(data.draw(st.integers(0, 40))):
        of = data.draw(st.lists(st.sampled_from(made[-3:]), max_size=4))
        made.append(data.draw(st.sampled_from([tuple, tuple, tuple, list]))(of))
    parts: dict[int, int] = {}
    for value in made:
        held = sum(parts[id(one)] for one in value if one != "a") if isinstance(value, tuple) else 0
        parts[id(value)] = 1 + held + (1 if value == ("a",) else 0)
    for protocol in range(1, 6):
        program = pickle.dumps({"key": made}, protocol=protocol)
        assert _has_repeating_tuples(program) == (max(parts.values()) > len(program))


UNUSUAL = {
    "lists, 50,000 deep": (b"]" * 50_000 + b"a" * 49_999, None),
    "dicts, 50,000 deep": (b"}" + b"N}" * 50_000 + b"s" * 50_000, None),
    "tuples, 50,000 deep, as a key": (b"}" + b")" + b"\x85" * 50_000 + b"Ns", None),
    "a list that holds one 50,000 times": (b"]q\x00(" + b"h\x00" * 50_000 + b"e", None),
    "2,000 tensors of one storage": (b"](" + tensor(0, 4, 1) * 2000 + b"e", None),
    "a number of 2^31 bytes": (b"\x8b\xff\xff\xff\x7f" + b"x" * 100, "damaged.*long4"),
    "a number of 4,301 digits": (b"I" + b"9" * 4301 + b"\n", "damaged.*limit"),
    "a text of 2^62 bytes": (b"\x8d" + struct.pack("<Q", 2**62) + b"x", "damaged.*remain"),
    "a frozenset": (b"c__builtin__\nfrozenset\n](" + TUPLES + b"e\x85R", "asks for .*frozenset"),
    "a set of sets": (call("__builtin__.set", b"](" + b"]e\x85"), "damaged.*unhashable"),
    "a memo out of range": (b"j\xff\xff\xff\xff", "damaged"),
    "a stack that is empty": (b"0" * 50 + b"\x86", "damaged"),
    "a storage of another folder": (tensor(0, 4, 1, key="../version"), "damaged.*version"),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_programs(case, tmp_path):
    """Read, or refused with a reason, in seconds."""
    program, message = UNUSUAL[case]
    path = written(tmp_path / "model.pt", solomon(program), ("../../outside", "x"), ("/root", "y"))
    if message is None:
        assert set(read_released(path, seconds=10).attributes) == {"a"}
    else:
        with pytest.raises(UserError, match=message):
            read_released(path, seconds=10)
    assert not (tmp_path.parent / "outside").exists()
