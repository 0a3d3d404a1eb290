"""A run's folder with anything changed in any file: each reader works, or says in one message what
is wrong; in little time and memory."""

import resource
import time
from copy import deepcopy

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.fuzz import changes, examples
from tests.reports.hostile import DEEP, INFINITY, OF_FILE, content_of, read, write_bad

EXAMPLES = examples(150)
VALUES = [
    None, True, 0, 1, -1, 1.5, -0.5, 2**31, 10**9, 10**40, -(10**40), 10**4000, 1e308, INFINITY,
    "", "x", "x" * 10**5, "\x1b]0;title\x07", "\ud800", "a\nb|c", "<script>", "=1+1", "../run",
    [], [1], [None], ["x"], [[]], DEEP, {}, {"a": 1}, {"sequential": "x"}, {"HR@1": "x"},
]  # fmt: skip


def places(value, at=()):
    """Every place in a value, from the outside in, a few levels deep."""
    yield at
    if isinstance(value, dict | list) and len(at) < 9:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


@st.composite
def damage(draw):
    """A file, and what is done to it: (place by number, value or removal) a few times."""
    file = draw(st.sampled_from(list(OF_FILE)))
    return file, draw(changes(VALUES))


def apply(content, made):
    for number, how, chosen in made:
        value = deepcopy(chosen)  # one by one: they must not come to hold each other
        every = list(places(content))
        at = every[number % len(every)]
        if not at:
            content = value if how == "set" and number % 7 == 0 else content
            continue
        holder = content
        for key in at[:-1]:
            holder = holder[key]
        if how == "remove":
            del holder[at[-1]]
        elif how == "set" or isinstance(holder, list):
            holder[at[-1]] = value
        else:
            holder[f"{at[-1]}+"] = value
    return content


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(what=damage())
def test_whatever_is_changed(whole, what):
    file, made = what
    path = whole / file
    others = [whole / "run" / name for name in ("run.json", "sequential.json", "explanation.json")]
    kept = {p: p.read_bytes() for p in {path, *others}}
    content = apply(content_of(path), made)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    try:
        write_bad(
            path, content if path.suffix == ".json" or isinstance(content, list) else [content]
        )
        for name in OF_FILE[file]:
            event(f"{name}: {'refused' if read(name, whole).startswith('UserError') else 'read'}")
    finally:
        for p, old in kept.items():
            p.write_bytes(old)
    assert time.perf_counter() - started < 10  # of a hang, not of a slow machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10  # KiB
