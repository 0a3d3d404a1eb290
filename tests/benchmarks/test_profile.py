"""The clock at each operator: what it counts, and which class it counts it for."""

import torch

from benchmarks.profile import OperatorClock, profiled
from modules.model.attention import biased_attention
from modules.model.dropout import dropout
from modules.model.graph import normalized_adjacency, propagate


def classes(clock: OperatorClock) -> set[str]:
    return {kind for kind, n in clock.bytes.items() if n}


def test_products_by_flops_and_bytes():
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    with OperatorClock() as clock:
        a @ b
        a.T  # noqa: B018  a view moves nothing
    assert clock.flops == 2 * 10 * 20 * 30
    assert clock.bytes["products"] == 4 * (200 + 600 + 300)
    assert classes(clock) == {"products"}


def test_a_class_is_the_part_of_the_model_that_asked():
    x = torch.ones(8, requires_grad=True)
    q = torch.ones(1, 2, 3, 4, requires_grad=True)
    bias = torch.zeros(1, 2, 3, 3)
    features = torch.ones(4, 3, requires_grad=True)
    graph = normalized_adjacency(torch.ones(2, 1).long().numpy(), 1, 2)
    for work, kind in (
        (lambda: dropout(x, 0.5), "dropout"),
        (lambda: biased_attention(q, q, q, bias, None), "attention"),
        (lambda: propagate(features, graph, 2), "propagation"),
    ):
        with OperatorClock() as clock:
            work()
        assert classes(clock) - {"products"} == {kind}


def test_the_parts_make_the_whole():
    seconds, moved, flops = profiled(lambda n: torch.ones(n, n) @ torch.ones(n, n), [300, 300], 0.5)
    assert flops == 2 * 300**3
    assert moved["products"] == 3 * 4 * 300**2
    assert seconds["data"] == 0.5
    assert seconds["products"] > 0
