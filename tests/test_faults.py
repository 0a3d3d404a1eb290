"""Whatever is wrong with a file of a data folder or a model's folder: one message that names it.

Each row: what is wrong, how it is made, words that the message must contain.
``pytest -s tests/test_faults.py tests/test_fault_handling.py`` prints all messages.
"""

import errno
import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.data.reader import load_dataset
from modules.runs import run as runs
from tests.faults import (
    both,
    change,
    check,
    config,
    cut,
    entry,
    failing,
    instead,
    put,
    set_tensor,
    stamped,
    swap,
    table,
    tensors,
)
from utils.errors import UserError
from utils.runtime import Machine

SEQUENTIAL, MAPS = "data/sequential.txt", "data/datamaps.json"
NEGATIVE, TEXTS = "data/negative.txt", "data/explanation.json"
RUN, CONFIG, WEIGHTS = "run/run.json", "run/config.json", "run/model.safetensors"
NUMBERS, TOKENIZER = "run/item_numbers.json", "run/tokenizer.json"
DEEP, LONG, MILLION = "[" * 100_000, "9" * 30, " 3" * 10**6
LINE = "3 7 8 9 1 2 3"
PROMPTS, BLOCK = "elmrec.prompts.weight", "encoder.block.0.layer.0.SelfAttention.q.weight"


def load(place):
    return load_dataset(place.data)


def open_run(place):
    return runs.open_run(place.run, place.data, Machine(torch.device("cpu"), "fp32"))


DATA = [
    ("empty sequences", cut(SEQUENTIAL, 0), "sequential.txt: the file is empty"),
    (
        "sequences cut in the middle",
        cut(SEQUENTIAL, 0.5),
        "user 4 of datamaps.json has no line; 3 of 4 have",
    ),
    ("sequences cut in the last line", cut(SEQUENTIAL, 0.97), "line 4: user 4 has 3 items"),
    ("sequences cut after a line", put(SEQUENTIAL, "1 3 1 4 2 5\n"), "user 2 of datamaps.json"),
    ("an id of 30 digits", swap(SEQUENTIAL, LINE, f"3 7 {LONG} 1 2"), "line 3: '999", "18 digits"),
    ("a user of 30 digits", swap(SEQUENTIAL, LINE, f"{LONG} 7 8 9 1"), "line 3: '999"),
    ("a negative id", swap(SEQUENTIAL, LINE, "3 7 -8 9 1 2"), "line 3: '-8' is not an id"),
    ("an id with a point", swap(SEQUENTIAL, LINE, "3 7 8.0 9 1 2"), "line 3: '8.0' is not"),
    ("a NUL byte", swap(SEQUENTIAL, LINE, "3 7 8\0 9 1 2"), "line 3: '8\\x00' is not an id"),
    ("bytes that are not UTF-8", swap(SEQUENTIAL, LINE, b"3 7 \xff 9 1 2"), "line 3: '\ufffd'"),
    ("UTF-16", change(SEQUENTIAL, lambda b: b.decode().encode("utf-16")), "line 1:", "not an id"),
    ("a vertical tab", swap(SEQUENTIAL, LINE, "3 7\x0b8 9 1 2"), "line 3: '7\\x0b8' is not"),
    ("commas", swap(SEQUENTIAL, LINE, "3,7,8,9,1,2,3"), "line 3: '3,7,8,9,1,2,3' is not an id"),
    ("a blank line between", swap(SEQUENTIAL, LINE, "\n" + LINE), "line 3: the line is blank"),
    ("10^6 items, a wrong one", swap(SEQUENTIAL, LINE, LINE + MILLION + " 13"), "line 3: item 13"),
    ("10^6 blanks and a letter", swap(SEQUENTIAL, LINE, LINE + " " * 10**6 + "x"), "3: 'x' is not"),
    ("users without items", put(SEQUENTIAL, "1\n2\n3\n4\n"), "line 1: user 1 has 0 items"),
    ("a folder for sequences", instead(SEQUENTIAL, "folder"), "sequential.txt: a folder"),
    ("a pipe for sequences", instead(SEQUENTIAL, "pipe"), "sequential.txt: a folder or a device"),
    ("a link to itself", instead(SEQUENTIAL, "loop"), "sequential.txt: cannot be read", "symbolic"),
    ("no permission", failing("pathlib.Path.read_bytes", errno.EACCES), "(Permission denied)"),
    ("a broken disk", failing("pathlib.Path.read_bytes", errno.EIO), "(Input/output error)"),
    ("empty maps", cut(MAPS, 0), "datamaps.json, line 1, column 1: broken JSON"),
    ("maps cut at a tenth", cut(MAPS, 0.1), "datamaps.json, line 1", "cut short"),
    ("maps cut in the middle", cut(MAPS, 0.5), "datamaps.json, line 1", "cut short"),
    ("maps without the last byte", cut(MAPS, 1), "datamaps.json, line 1", "cut short"),
    ("a number for maps", put(MAPS, "7"), "datamaps.json: key 'id2user' must hold a map"),
    ("a list for a map", entry(MAPS, "id2item", value=["I1"]), "key 'id2item' must hold a map"),
    ("two items of one id", entry(MAPS, "id2item", "3", value="I5"), "'3' and '5' are both 'I5'"),
    ("two users of one id", entry(MAPS, "id2user", "4", value="U1"), "'1' and '4' are both 'U1'"),
    ("an empty id", entry(MAPS, "id2user", "2", value=""), "id2user '2' is '', which is blank"),
    ("a blank id", swap(MAPS, '"I3"', '" \\t"'), "id2item '3' is ' \\t', which is blank"),
    ("a number for a name", entry(MAPS, "id2item", "3", value=7), "'3' is 7"),
    ("a gap in the ids", entry(MAPS, "id2item", "3"), "id2item has 11 entries but '3' is None"),
    ("a key twice", swap(MAPS, '"1": "U1"', '"1": "U1", "1": "U9"'), "key '1'", "twice"),
    ("NaN", swap(MAPS, '"I3"', "NaN"), "datamaps.json: NaN"),
    ("minus infinity", swap(MAPS, '"I3"', "-Infinity"), "datamaps.json: -Infinity"),
    ("a number of 5000 digits", swap(MAPS, '"I3"', "9" * 5000), "a number that is too long"),
    ("lists 100,000 deep", put(MAPS, DEEP), "datamaps.json: lists or maps are nested too deep"),
    ("maps 100,000 deep", put(MAPS, '{"a":' * 100_000), "datamaps.json:", "nested too deep"),
    ("a NUL byte in a name", swap(MAPS, '"I3"', '"I\0"'), "datamaps.json, line 1", "control char"),
    ("maps in Latin-1", swap(MAPS, '"I3"', '"\u00e9"'.encode("latin-1")), "is not UTF-8"),
    ("maps in UTF-16", change(MAPS, lambda b: b.decode().encode("utf-16")), "0 is not UTF-8"),
    ("half of a character", swap(MAPS, '"I3"', '"\\ud83d"'), "'3' is '\\ud83d'"),
    ("a folder for maps", instead(MAPS, "folder"), "datamaps.json: a folder"),
    ("empty negatives", cut(NEGATIVE, 0), "negative.txt: the file is empty"),
    (
        "negatives cut short",
        cut(NEGATIVE, 0.6),
        "negative.txt: user 4 of datamaps.json has no line",
    ),
    ("a negative below 0", swap(NEGATIVE, "1 6", "1 -6"), "negative.txt, line 1: '-6' is not"),
    ("a line of 10^6 negatives", swap(NEGATIVE, "1 6", "1 6" + MILLION), "line 1: negative 3 is"),
    ("a folder for negatives", instead(NEGATIVE, "folder"), "negative.txt: a folder"),
    ("a link to nowhere", instead(NEGATIVE, "link to nowhere"), "negative.txt: no such file"),
    (
        "negatives that link to themselves",
        instead(NEGATIVE, "loop"),
        "negative.txt: cannot be read",
    ),
    ("empty explanations", cut(TEXTS, 0), "explanation.json, line 1, column 1: broken JSON"),
    ("explanations cut in the middle", cut(TEXTS, 0.5), "explanation.json, line 1", "cut short"),
    ("explanations without the last byte", cut(TEXTS, 1), "explanation.json, line 1", "cut short"),
    ("a user twice in a record", swap(TEXTS, '"user": 1', '"user": 1, "user": 2'), "key 'user'"),
    ("a user that is NaN", swap(TEXTS, '"user": 1', '"user": NaN'), "explanation.json: NaN"),
    ("a user that is 1.0", entry(TEXTS, "train", 1, "user", value=1.0), "train[1]: 'user' is 1.0"),
    ("an item below 0", entry(TEXTS, "val", 0, "item", value=-3), "val[0]: 'item' is -3"),
    ("an item of 30 digits", entry(TEXTS, "test", 0, "item", value=10**29), "'item' is 10000"),
    ("a list for a text", entry(TEXTS, "train", 0, "explanation", value=["a"]), "is ['a']"),
    ("half of a character in a text", swap(TEXTS, "nice", "\\udc00"), "train[0]: 'explanation' is"),
    ("a text in Latin-1", swap(TEXTS, b"nice", b"ni\xe7e"), "is not UTF-8"),
    ("a list for the splits", put(TEXTS, "[]"), "the lists 'train', 'val' and 'test'"),
    ("texts 100,000 deep", put(TEXTS, DEEP), "explanation.json:", "nested too deep"),
    ("a folder for explanations", instead(TEXTS, "folder"), "explanation.json: a folder"),
    ("a file for the data folder", instead("data", "file"), "data folder"),
    ("a data folder that links to itself", instead("data", "loop"), "data folder"),
]

MODEL = [
    ("empty record", cut(RUN, 0), "run.json, line 1, column 1: broken JSON"),
    ("record cut in the middle", cut(RUN, 0.5), "run.json, line", "cut short"),
    ("record without its last bytes", cut(RUN, 0.999), "run.json, line", "cut short"),
    ("a list for the record", put(RUN, "[1]"), "run.json: expected object, got array"),
    ("a record 100,000 deep", put(RUN, DEEP), "run.json:", "nested too deep"),
    ("a record in UTF-16", change(RUN, lambda b: b.decode().encode("utf-16")), "is not UTF-8"),
    ("a seed twice", swap(RUN, '"seed": 0', '"seed": 0, "seed": 1'), "key 'seed'", "twice"),
    ("a seed that is NaN", swap(RUN, '"seed": 0', '"seed": NaN'), "run.json: NaN"),
    (
        "a seed that is a text",
        entry(RUN, "arguments", "seed", value="0"),
        "seed is '0': expected int, got str",
    ),
    ("a seed below 0", entry(RUN, "arguments", "seed", value=-1), "seed is -1: expected int >= 0"),
    (
        "a seed of 30 digits",
        entry(RUN, "arguments", "seed", value=10**29),
        "in arguments: expected int <=",
    ),
    ("no exp_len", entry(RUN, "arguments", "exp_len"), "missing required field exp_len"),
    (
        "no tasks",
        entry(RUN, "arguments", "tasks"),
        "missing required field tasks",
    ),
    (
        "a task of no name",
        entry(RUN, "arguments", "tasks", value=["dance"]),
        "tasks[0] is 'dance': invalid enum value 'dance'",
    ),
    (
        "negatives that are True",
        entry(RUN, "arguments", "negative_num", value=True),
        "negative_num is True",
    ),
    ("an unknown protocol", entry(RUN, "arguments", "protocol", value="x"), "protocol is 'x'"),
    (
        "no fingerprints",
        entry(RUN, "fingerprints"),
        "run.json: object missing required field fingerprints",
    ),
    (
        "a list for versions",
        entry(RUN, "versions", value=[]),
        "run.json: versions is []: expected object",
    ),
    ("a folder for the record", instead(RUN, "folder"), "run.json: a folder"),
    ("no files named", entry(RUN, "files", value={}), "'files' does not name item_numbers.json"),
    ("a file for the run's folder", instead("run", "file"), "run: no such folder"),
    ("a run's folder that links to itself", instead("run", "loop"), "run: no such folder"),
    ("another sequential.txt", swap(SEQUENTIAL, "4 2 5", "4 5 2"), "whose sequential.txt is not"),
    ("another datamaps.json", swap(MAPS, "I3", "J3"), "whose datamaps.json is not", "put the orig"),
    ("empty configuration", cut(CONFIG, 0), "config.json, line 1, column 1: broken JSON"),
    ("configuration cut in the middle", cut(CONFIG, 0.5), "config.json, line", "cut short"),
    ("configuration without its end", cut(CONFIG, 0.99), "config.json, line", "cut short"),
    ("another alpha", swap(CONFIG, '"alpha": 1', '"alpha": 2'), "config.json: not the file that"),
    (
        "d_model twice",
        swap(CONFIG, '"d_model"', '"d_model": 3, "d_model"'),
        "'d_model'",
        "twice",
    ),
    ("a list for the configuration", put(CONFIG, "[]"), "no 'elmrec' entry"),
    ("another program's configuration", entry(CONFIG, "elmrec"), "no 'elmrec' entry"),
    (
        "d_model that is a text",
        config("d_model", value="64"),
        "config.json: d_model is '64': expected int",
    ),
    ("d_model of 30 digits", config("d_model", value=10**29), "config.json: d_model is 1000"),
    ("d_model of a million", config("d_model", value=10**6), "does not fit config.json"),
    (
        "10^9 layers",
        config("num_layers", value=10**9),
        "num_layers is 1000000000: expected int <= 256",
    ),
    ("-1 layers", config("num_layers", value=-1), "config.json: num_layers is -1"),
    ("a start token beyond all", config("decoder_start_token_id", value=10**6), "from 0 to"),
    ("-3 buckets", config("relative_attention_num_buckets", value=-3), "num_buckets is -3"),
    ("users that are a text", config("elmrec", "n_users", value="4"), "'n_users' is '4'"),
    ("a user less", config("elmrec", "n_users", value=3), "elmrec.graph_crow is (18,), not (17,)"),
    ("10^9 hops", config("elmrec", "graph_layers", value=10**9), "'graph_layers' is 1000000000"),
    (
        "10^12 prompts",
        config("elmrec", "prompt_num", value=10**12),
        "'prompt_num' is 1000000000000",
    ),
    ("an alpha of Infinity", config("elmrec", "alpha", value=np.inf), "Infinity"),
    (
        "an alpha of 1e999",
        both(tensors(lambda t: None), swap(CONFIG, '"alpha": 1', '"alpha": 1e999')),
        "'alpha' is inf",
    ),
    ("alpha of 10^40", config("elmrec", "alpha", value=10**40), "'alpha' is 1000"),
    ("an unknown method", config("elmrec", "method", value="x"), "'method' is 'x', none of elmrec"),
    ("an unknown entry", config("elmrec", "beta", value=1), "config.json: in 'elmrec'", "'beta'"),
    (
        "a method without the graph",
        config("elmrec", "method", value="pod"),
        "graph_col is left over",
    ),
    ("empty weights", cut(WEIGHTS, 0), "model.safetensors: cannot be read", "cut short"),
    ("weights cut in the header", cut(WEIGHTS, 0.001), "model.safetensors: cannot be read"),
    ("weights cut in the middle", cut(WEIGHTS, 0.5), "model.safetensors: cannot be read"),
    ("weights without the last byte", cut(WEIGHTS, 1), "model.safetensors: cannot be read"),
    (
        "one bit of the weights",
        change(WEIGHTS, lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]),
        "model.safetensors: damaged",
        "(checksum)",
    ),
    ("text for weights", put(WEIGHTS, "x" * 99), "model.safetensors: cannot be read"),
    ("no weights", lambda place: os.remove(place.run / "model.safetensors"), "no such file"),
    ("a folder for weights", instead(WEIGHTS, "folder"), "model.safetensors: a folder"),
    ("a tensor missing", tensors(lambda t: t.pop(BLOCK)), f"{BLOCK} is missing"),
    ("no shared embedding", tensors(lambda t: t.pop("shared.weight")), "shared.weight is missing"),
    ("no graph", tensors(lambda t: t.pop("elmrec.graph_col")), "elmrec.graph_col is missing"),
    ("a tensor left over", tensors(lambda t: t.update(x=torch.ones(1))), "x is left over"),
    (
        "a tensor of another shape",
        tensors(lambda t: t.update({PROMPTS: torch.ones(9, 63)})),
        f"{PROMPTS} is (9, 63), not (9, 64)",
    ),
    (
        "a tensor of whole numbers",
        tensors(lambda t: t.update({PROMPTS: t[PROMPTS].long()})),
        f"{PROMPTS} is of torch.int64",
    ),
    ("a weight that is NaN", set_tensor(PROMPTS, 0, np.nan), f"'{PROMPTS}' holds numbers that"),
    ("a weight that is infinite", set_tensor(BLOCK, 5, np.inf), f"'{BLOCK}' holds numbers that"),
    ("a node beyond the graph", set_tensor("elmrec.graph_col", 0, 10**6), "the graph in it"),
    ("numbers cut in the middle", cut(NUMBERS, 0.5), "item_numbers.json: not the item numbers"),
    (
        "two numbers changed",
        change(NUMBERS, lambda b: json.dumps(json.loads(b)[::-1]).encode()),
        "item_numbers.json: not the item numbers",
    ),
    ("no item numbers", lambda place: os.remove(place.run / "item_numbers.json"), "no such file"),
    ("tokenizer cut in the middle", cut(TOKENIZER, 0.5), "tokenizer.json: not the tokenizer"),
    (
        "another tokenizer",
        swap(TOKENIZER, "▁user_", "▁loser_"),
        "tokenizer.json: not the tokenizer",
    ),
    (
        "other tokenizer settings",
        cut("run/tokenizer_config.json", 0.5),
        "tokenizer_config.json: not",
    ),
    ("a link to nowhere for the tokenizer", instead(TOKENIZER, "link to nowhere"), "no such file"),
]
NEVER_RIGHT = [
    ("cut short", "[1, 2", "broken JSON"),
    ("too few", "[1, 2, 3]", "each number from 1 to 12 once"),
    ("one twice", str([1, *range(1, 12)]), "each number from 1 to 12 once"),
    ("a text", json.dumps([*range(1, 12), "12"]), "each number from 1 to 12 once"),
    ("a float", str([*range(1, 12), 12.0]), "each number from 1 to 12 once"),
    ("below 0", str([-1, *range(2, 13)]), "each number from 1 to 12 once"),
    ("30 digits", str([*range(1, 12), 10**29]), "each number from 1 to 12 once"),
    ("a map", "{}", "each number from 1 to 12 once"),
    ("NaN", "[NaN]", "NaN"),
]
MODEL += [
    (f"item numbers never right: {name}", stamped("item_numbers.json", put(NUMBERS, text)), word)
    for name, text, word in NEVER_RIGHT
]
MODEL += [
    (f"a tokenizer never right: {name}", stamped("tokenizer.json", fault), word)
    for name, fault, word in [
        ("cut short", cut(TOKENIZER, 0.5), "the tokenizer in it: cannot be read"),
        ("a list", put(TOKENIZER, "[]"), "the tokenizer in it: cannot be read"),
        ("not UTF-8", put(TOKENIZER, b'{"a": "\xff"}'), "the tokenizer in it: cannot be read"),
    ]
]


@table(DATA)
def test_data(row, place):
    check(row, load, place)


@table(MODEL)
def test_model(row, place):
    check(row, open_run, place)


def test_weights_of_another_run(place):
    """Those of this run, and of older versions, which say nothing, are taken."""
    weights, record = place.run / "model.safetensors", json.loads(place.file(RUN).read_text())
    state = load_file(weights)
    for run_id in (record["run_id"], ""):
        save_file(state, weights, {"run_id": run_id})
        open_run(place)
    save_file(state, weights, {"run_id": "another"})
    with pytest.raises(UserError, match=r"holds files of two runs: model\.safetensors is"):
        open_run(place)
    place.file(RUN).write_text(json.dumps(record | {"run_id": ""}))  # an older record
    with pytest.raises(UserError, match="holds files of two runs"):
        open_run(place)
