"""Decoding against transformers' ``generate``, teacher-forced forwards, and toy models."""

import numpy as np
import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from modules.data.protocols import item_numbers
from modules.decoding.beam import Allowed, BeamOptions, Marks, beam_search
from modules.decoding.exact import prefix_tree, rank_exact
from modules.loader.pieces import prompt_pieces
from modules.loader.trie import build_trie
from modules.model.decoder import PrefixDecoder
from tests.conftest import random_t5

B, S = 3, 9
MARKS = Marks(start=0, end=1, pad=0)


@pytest.fixture(params=[0, 1, 2])
def setting(request, tokenizer):
    """A random model, random inputs with pads, and the trie of 150 shuffled numbers."""
    seed = request.param
    t5 = random_t5(len(tokenizer), seed)
    torch.manual_seed(seed)
    embeds = torch.randn(B, S, 32)
    mask = torch.ones(B, S, dtype=torch.long)
    mask[1, 6:] = 0
    numbers = item_numbers("random", 150, np.random.default_rng(seed))
    targets = prompt_pieces(tokenizer, 1, numbers).item_targets
    return t5, embeds, mask, targets, build_trie(targets, start_token=0)


def decoder_of(t5, embeds, mask, depth=8):
    states = t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
    return PrefixDecoder(t5, states, mask, depth)


def teacher_forced(t5, embeds, mask, rows):
    """(B, tokens) rows -> (B, tokens, V) log-probabilities, by transformers alone."""
    with torch.no_grad():
        logits = t5(inputs_embeds=embeds, attention_mask=mask, labels=rows).logits
    return logits.log_softmax(dim=-1)


def test_prefix_decoder_gives_transformers_logits(setting):
    """A branching set of prefixes, in two calls, with rows of their own."""
    t5, embeds, mask, _, _ = setting
    with torch.no_grad():
        decoder = decoder_of(t5, embeds, mask)
        # Nodes: 0 start; 1, 2 its children; 3 a child of 1; 4 of 3; 5 of 2.
        tokens, depths = torch.tensor([[0, 9, 11]]), torch.tensor([[0, 1, 1]])
        eye = torch.eye(3, dtype=torch.bool)
        eye[1:, 0] = True
        first = decoder.logits(decoder.extend(tokens, depths, eye[None]))
        more = torch.tensor([[20, 30, 40]]).repeat(B, 1)
        more[2] = torch.tensor([21, 31, 41])
        visible = torch.zeros(B, 3, 6, dtype=torch.bool)
        for node, ancestors in enumerate([[0, 1, 3], [0, 1, 3, 4], [0, 2, 5]]):
            visible[:, node, ancestors] = True
        second = decoder.logits(decoder.extend(more, torch.tensor([[2, 3, 2]]), visible))
        states = t5.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        for row in range(B):
            a, b, c = more[row].tolist()
            for got, path in (
                (first[row, 0], [0]),
                (first[row, 2], [0, 11]),
                (second[row, 0], [0, 9, a]),
                (second[row, 1], [0, 9, a, b]),
                (second[row, 2], [0, 11, c]),
            ):
                outside = t5(
                    encoder_outputs=BaseModelOutput(last_hidden_state=states[row : row + 1]),
                    attention_mask=mask[row : row + 1],
                    decoder_input_ids=torch.tensor([path]),
                ).logits[0, -1]
                torch.testing.assert_close(got, outside, atol=2e-5, rtol=1e-4)


def exact_item_by_item(t5, embeds, mask, targets, candidates):
    """(B, C): sums of log-probabilities renormalised over the trie, a forward an item."""
    rows = {i: targets.gather(np.array([i])).flat.tolist() for i in np.unique(candidates)}
    scores = np.zeros(candidates.shape)
    for b in range(B):
        follow: dict[tuple, set] = {}
        for item in candidates[b]:
            for t, token in enumerate(rows[item]):
                follow.setdefault(tuple(rows[item][:t]), set()).add(token)
        for c, item in enumerate(candidates[b]):
            log_probs = teacher_forced(
                t5, embeds[b : b + 1], mask[b : b + 1], torch.tensor([rows[item]])
            )[0]
            for t, token in enumerate(rows[item]):
                among = sorted(follow[tuple(rows[item][:t])])
                scores[b, c] += float(log_probs[t, token] - log_probs[t, among].logsumexp(0))
    return scores


@pytest.mark.parametrize("shared_candidates", [True, False])
def test_exact_equals_item_by_item(setting, shared_candidates):
    t5, embeds, mask, targets, trie = setting
    if shared_candidates:
        candidates = np.arange(1, 151)[None]
    else:
        rng = np.random.default_rng(0)
        candidates = np.stack([rng.permutation(150)[:20] + 1 for _ in range(B)])
    tree = prefix_tree(trie, candidates)
    with torch.no_grad():
        scores = rank_exact(decoder_of(t5, embeds, mask), tree, torch.from_numpy(trie.vocabulary))
    everyone = np.broadcast_to(candidates, (B, candidates.shape[1]))
    outside = exact_item_by_item(t5, embeds, mask, targets, everyone)
    np.testing.assert_allclose(scores, outside, atol=1e-4)
    np.testing.assert_allclose(scores.exp().sum(dim=1), np.ones(B), atol=1e-5)


def test_one_candidate_is_certain(setting):
    t5, embeds, mask, _, trie = setting
    tree = prefix_tree(trie, np.array([[4], [9], [150]]))
    with torch.no_grad():
        scores = rank_exact(decoder_of(t5, embeds, mask), tree, torch.from_numpy(trie.vocabulary))
    assert torch.equal(scores, torch.zeros(B, 1))


def test_no_item_has_no_probability(setting):
    """Candidates of which some are none (0) are ranked as without them."""
    t5, embeds, mask, targets, trie = setting
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.permutation(150)[:20] + 1 for _ in range(B)])
    candidates[:, 7] = candidates[0, 0] = 0
    tree = prefix_tree(trie, candidates)
    with torch.no_grad():
        scores = rank_exact(decoder_of(t5, embeds, mask), tree, torch.from_numpy(trie.vocabulary))
    np.testing.assert_array_equal(np.isneginf(scores.numpy()), candidates == 0)
    for row in range(B):
        items = candidates[row][candidates[row] > 0][None].repeat(B, axis=0)
        outside = exact_item_by_item(t5, embeds, mask, targets, items)[row]
        np.testing.assert_allclose(scores[row][candidates[row] > 0], outside, atol=1e-4)


def allowed_by_plain_sets(targets, candidates):
    follow: list[dict[tuple, list]] = []
    for row in candidates:
        table: dict[tuple, set] = {}
        for item in row:
            tokens = targets.gather(np.array([item])).flat.tolist()
            for t, token in enumerate(tokens):
                table.setdefault(tuple(tokens[:t]), set()).add(token)
        follow.append({k: sorted(v) for k, v in table.items()})

    def allowed(batch_id, beam):
        path = tuple(beam.tolist()[1:])
        return follow[batch_id].get(path, [1])  # an ended beam: anything

    return allowed


@pytest.mark.parametrize("num_beams", [1, 5, 20])
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.0])
def test_beam_search_equals_generate(setting, num_beams, length_penalty):
    t5, embeds, mask, targets, trie = setting
    rng = np.random.default_rng(1)
    candidates = np.stack([rng.permutation(150)[:60] + 1 for _ in range(B)])
    length = trie.paths.shape[1]
    with torch.no_grad():
        ours = beam_search(
            decoder_of(t5, embeds, mask),
            BeamOptions(num_beams, max_length=length, length_penalty=length_penalty),
            MARKS,
            Allowed(trie, candidates, t5.config.vocab_size),
        )
        theirs = t5.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            num_beams=num_beams,
            num_return_sequences=num_beams,
            max_new_tokens=length,
            do_sample=False,
            prefix_allowed_tokens_fn=allowed_by_plain_sets(targets, candidates),
            length_penalty=length_penalty,
            return_dict_in_generate=True,
            output_scores=True,
        )
    sequences = theirs.sequences[:, 1:].unflatten(0, (B, num_beams))
    if num_beams == 1:  # greedy search in transformers: no scores
        assert torch.equal(ours.tokens[:, 0, : sequences.shape[2]], sequences[:, 0])
        return
    scores = theirs.sequences_scores.unflatten(0, (B, num_beams))
    real = scores > -1e8
    torch.testing.assert_close(ours.scores[real], scores[real], atol=1e-4, rtol=0)
    assert torch.equal(ours.scores > -1e8, real)
    for mine, outside in zip(ours.tokens[real].tolist(), sequences[real].tolist()):
        assert mine[: mine.index(1) + 1] == outside[: outside.index(1) + 1]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_free_text_beams_equal_generate(setting, early_stopping):
    t5, embeds, mask, _, _ = setting
    options = BeamOptions(7, 15, min_length=4, early_stopping=early_stopping)
    with torch.no_grad():
        ours = beam_search(decoder_of(t5, embeds, mask, 15), options, MARKS)
        theirs = t5.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            num_beams=7,
            num_return_sequences=1,
            max_new_tokens=15,
            min_new_tokens=4,
            early_stopping=early_stopping,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
        )
    torch.testing.assert_close(ours.scores[:, 0], theirs.sequences_scores, atol=1e-4, rtol=0)
    sequences = theirs.sequences[:, 1:]
    assert torch.equal(ours.tokens[:, 0, : sequences.shape[1]], sequences)


def test_exact_equals_beams_as_many_as_items(setting):
    """Under the same normalisation: a toy decoder whose logits are those of the trie alone."""
    t5, embeds, mask, targets, trie = setting
    candidates = np.arange(1, 31)[None]
    vocabulary = torch.from_numpy(trie.vocabulary)
    tree = prefix_tree(trie, candidates)
    with torch.no_grad():
        exact = rank_exact(decoder_of(t5, embeds, mask), tree, vocabulary)
        allowed = Allowed(trie, candidates, t5.config.vocab_size)
        renormalised = _Renormalised(decoder_of(t5, embeds, mask), allowed)
        options = BeamOptions(30, trie.paths.shape[1], length_penalty=0.0)
        beams = beam_search(renormalised, options, MARKS, allowed)
    torch.testing.assert_close(
        beams.scores, exact.sort(dim=1, descending=True).values, atol=1e-4, rtol=0
    )
    order = exact.argsort(dim=1, descending=True)
    for b in range(B):
        for n in range(30):
            item = int(candidates[0, order[b, n]])
            row = targets.gather(np.array([item])).flat.tolist()
            assert beams.tokens[b, n, : len(row)].tolist() == row


class _Renormalised:
    """A decoder whose softmax runs over the trie's continuations: for the test above."""

    def __init__(self, decoder, allowed):
        self._decoder, self._allowed = decoder, allowed
        self._paths = None
        self.batch_size, self.device = decoder.batch_size, decoder.device

    def extend(self, tokens, depths, visible):
        if self._paths is None:
            self._nodes = [[[]] for _ in range(self.batch_size)]
        else:
            for b in range(self.batch_size):
                new = []
                for q in range(tokens.shape[1]):
                    seen = visible[b, q].nonzero().flatten().tolist()[:-1]
                    new.append([*self._nodes[b][seen[-1]], int(tokens[b, q])])
                self._nodes[b] += new
        self._paths = [rows[-tokens.shape[1] :] for rows in self._nodes]
        return self._decoder.extend(tokens, depths, visible)

    def logits(self, hidden):
        k = hidden.shape[1]
        paths = [rows if len(rows) == k else rows * k for rows in self._paths]
        mask = self._allowed.mask(torch.tensor(paths).reshape(len(paths), k, -1).long())
        return self._decoder.logits(hidden).masked_fill(~mask & mask.any(dim=2, keepdim=True), -1e4)


# --------------------------------------------------------------------------- toy, known paths


class Toy:
    """A decoder over 6 tokens (0 pad/start, 1 end) whose next token depends on the last alone."""

    def __init__(self, table, b=1):
        self._table = torch.tensor(table).clamp_min(1e-9).log()
        self.batch_size, self.device = b, torch.device("cpu")

    def extend(self, tokens, depths, visible):
        return self._table[tokens]

    def logits(self, hidden):
        return hidden.clone()  # fresh ones, as a product makes them


TABLE = [
    [0.0, 0.0, 0.6, 0.4, 0.0, 0.0],  # start: 2 looks best ...
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.5, 0.0, 0.0, 0.3, 0.2],  # ... but ends at .30
    [0.0, 0.9, 0.0, 0.0, 0.1, 0.0],  # 3 then end: .36
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
]


def test_beams_find_what_greed_misses():
    plain = BeamOptions(2, 4, length_penalty=0.0)
    found = beam_search(Toy(TABLE), plain, MARKS)
    assert found.tokens[0, 0, :2].tolist() == [3, 1]
    torch.testing.assert_close(found.scores[0, 0].exp(), torch.tensor(0.36))
    greedy = beam_search(Toy(TABLE), plain._replace(num_beams=1), MARKS)
    assert greedy.tokens[0, 0, :2].tolist() == [2, 1]


def test_minimum_length_forbids_the_end():
    options = BeamOptions(3, 5, min_length=2, length_penalty=0.0)
    found = beam_search(Toy(TABLE), options, MARKS)
    assert found.tokens[0, 0, :3].tolist() == [2, 4, 1]


def diverse_by_hand(table, groups, size, penalty, max_length):
    """Diverse beam search with plain lists; finished beams are kept by their group."""
    log = np.log(np.maximum(table, 1e-9))
    running = [[((), 0.0)] for _ in range(groups)]
    finished: list[list] = [[] for _ in range(groups)]
    for length in range(1, max_length + 1):
        chosen = np.zeros(log.shape[1])
        for g in range(groups):
            grown = [
                ((*path, token), score + log[path[-1] if path else 0, token] - penalty * n)
                for path, score in running[g]
                for token, n in enumerate(chosen)
            ]
            grown.sort(key=lambda pair: -pair[1])
            ended = [p for p in grown[:size] if p[0][-1] == 1 or length == max_length]
            finished[g] = sorted(finished[g] + ended, key=lambda p: -p[1])[:size]
            running[g] = [p for p in grown[: 2 * size] if p[0][-1] != 1][:size]
            for path, _ in running[g]:
                chosen[path[-1]] += 1
    return sorted((p for rows in finished for p in rows), key=lambda p: -p[1])


@pytest.mark.parametrize("penalty", [0.4, 1.5])
@pytest.mark.parametrize("groups", [2, 3])
def test_diverse_beams_equal_plain_lists(penalty, groups):
    rng = np.random.default_rng(groups)
    table = rng.dirichlet(np.ones(8) * 0.7, size=8).astype(np.float32)
    options = BeamOptions(
        2 * groups, 4, length_penalty=0.0, groups=groups, diversity_penalty=penalty
    )
    found = beam_search(Toy(table.tolist()), options, MARKS)
    outside = diverse_by_hand(table, groups, 2, penalty, 4)
    for n, (path, score) in enumerate(outside[: 2 * groups]):
        if score < -15:  # near-impossible tokens: ties of the floor
            break
        assert found.scores[0, n].item() == pytest.approx(score, abs=1e-4)
        assert found.tokens[0, n, : len(path)].tolist() == list(path)


def test_groups_without_penalty_are_one_search(setting):
    t5, embeds, mask, _, _ = setting
    with torch.no_grad():
        grouped = beam_search(
            decoder_of(t5, embeds, mask, 12), BeamOptions(21, 12, groups=3), MARKS
        )
        plain = beam_search(decoder_of(t5, embeds, mask, 12), BeamOptions(7, 12), MARKS)
    assert torch.equal(grouped.tokens[:, 0], plain.tokens[:, 0])


def test_beams_must_split_evenly():
    with pytest.raises(ValueError, match="cannot be split"):
        beam_search(Toy(TABLE), BeamOptions(5, 4, groups=2), MARKS)
