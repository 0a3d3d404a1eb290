"""What people wrote is never a command: names of tokens in it are words like any other."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5Tokenizer

from modules.loader.pieces import text_targets
from modules.loader.tokenizer import (
    add_item_tokens,
    encode_texts,
    load_tokenizer,
    train_tokenizer,
)
from tests.conftest import write_folder
from tests.fuzz import examples
from tests.test_scripts import script

EXAMPLES = examples(100)
LEARNED = ["it is nice and warm", "a bright lamp", "good scent, </s> <pad> <unk> / < > _"]


def built_in():
    return train_tokenizer(LEARNED)


def with_item_tokens():
    add_item_tokens(tokenizer := built_in(), 12)
    return tokenizer


def with_extra_ids():
    """As T5's own: <extra_id_0> is in the vocabulary, and more is normalised."""
    known = json.loads(built_in().backend_tokenizer.to_str())["model"]["vocab"]
    vocabulary = [*map(tuple, known), ("<extra_id_1>", 0.0), ("<extra_id_0>", 0.0)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=2)


KINDS = {"built in": built_in, "item tokens": with_item_tokens, "extra ids": with_extra_ids}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    """A tokenizer of each kind as it comes from its folder."""
    KINDS[request.param]().save_pretrained(folder := tmp_path_factory.mktemp("tokenizer"))
    return load_tokenizer(folder)


NAMES = ["</s>", "<pad>", "<unk>", "<extra_id_0>", "<extra_id_1>", "item_5", "item_12", "<s>"]


def texts_with(name):
    return [name, f"good {name} scent", f"good{name}scent", f"{name} {name}", f"good {name}"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_tokens_are_words(kind, name):
    forbidden = {kind.eos_token_id, kind.pad_token_id}
    forbidden |= set(kind.added_tokens_decoder) - {kind.unk_token_id}
    targets, references = text_targets(kind, texts_with(name), 50)
    for row, text in enumerate(texts_with(name)):
        *ids, end = targets.gather(np.array([row])).flat.tolist()
        assert end == kind.eos_token_id
        assert not forbidden & set(ids)
        assert len(ids) > len(text.split())
        assert references[row] == text


def test_a_name_is_read_by_its_letters(kind):
    """All are in the vocabulary, so that nothing of it is unknown."""
    (tokens,) = encode_texts(kind, ["good </s> scent"])
    assert kind.unk_token_id not in tokens.ids
    assert "".join(tokens.tokens).replace("▁", " ").strip() == "good </s> scent"


def test_a_cut_through_a_name(kind):
    (tokens,) = encode_texts(kind, ["nice </s> scent"])
    place = next(k for k, piece in enumerate(tokens.tokens) if "/" in piece)
    _, (reference,) = text_targets(kind, ["nice </s> scent"], place)
    assert reference == "nice <"


def test_what_the_vocabulary_lacks_stays_in_the_reference(kind):
    text = "nice 中 lamp ☃, warm"
    _, (reference,) = text_targets(kind, [text], 50)
    assert reference == text


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>_▁"), max_size=30)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4))
def test_other_texts_are_as_the_tokenizer_reads_them(texts):
    for tokenizer in MADE:
        expected = tokenizer(texts, add_special_tokens=False)["input_ids"]
        assert [tokens.ids for tokens in encode_texts(tokenizer, texts)] == expected


MADE = [make() for make in KINDS.values()]


def test_real_reviews_with_t5s_own_tokenizer(shared):
    """Equal tokens; equal references but for unknown characters."""
    tokenizer = load_tokenizer(shared / "t5-small")
    with gzip.open(shared / "data" / "raw" / "All_Beauty_5.json.gz", "rt") as file:
        texts = [json.loads(line).get("reviewText", "") for line in file]
    expected = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [tokens.ids for tokens in encode_texts(tokenizer, texts)] == expected
    _, references = text_targets(tokenizer, texts, 20)
    decoded = tokenizer.batch_decode([row[:20] for row in expected], skip_special_tokens=True)
    for row, one, other in zip(expected, references, decoded):
        assert one == other or tokenizer.unk_token_id in row[:20]


def test_a_vocabulary_of_many_characters():
    """Chinese has more characters than the built-in tokenizer has pieces."""
    texts = ["".join(map(chr, range(0x4E00 + k, 0x4E00 + k + 50))) for k in range(0, 6000, 50)]
    tokenizer = train_tokenizer([*texts, *["warm 一丁"] * 2])
    assert len(tokenizer) < 4300
    assert tokenizer.unk_token_id not in tokenizer("warm 一丁")["input_ids"]


def test_the_words_for_ids_in_texts():
    """A text full of them does not give their pieces a second time."""
    vocabulary = json.loads(
        train_tokenizer(["user_ item_ user_7 item_9 <s> ▁user_ 00"] * 50).backend_tokenizer.to_str()
    )["model"]["vocab"]
    pieces = [piece for piece, _ in vocabulary]
    assert len(set(pieces)) == len(pieces)


def test_results_hold_the_whole_reference(tmp_path):
    """From the folder to explanation.jsonl, with items as tokens."""
    data, run = write_folder(tmp_path / "data"), tmp_path / "run"
    records = json.loads((data / "explanation.json").read_text())
    text = "item_9 is </s> nice <pad> and"
    for record in (*records["train"], *records["test"]):
        record["explanation"] = text
    (data / "explanation.json").write_text(json.dumps(records))
    small = "--preset readme --backbone tiny --batch_size 2 --max_steps 1 --item_ids own"
    done = script("pretrain.py", data, *small.split(), "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    done = script("exp.py", data, "--checkpoint", run)
    assert done.returncode == 0, done.stderr
    rows = (run / "explanation.jsonl").read_text().splitlines()
    assert [json.loads(row)["reference"] for row in rows] == [text]
