"""Where the time of a training step goes on a GPU: its kernels, by class."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

# The first pattern that is found in a kernel's name says its class.
CLASSES = {
    "attention, softmax": r"fmha|flash|attention|softmax",
    "sparse products": r"csr|spmm|cusparse",
    "products": r"gemm|cutlass|xmma|nvjet|cublas|splitk",
    "dropout": r"dropout",
    "optimizer": r"multi_tensor|adam",
    "rows of tables": r"embedding|index|gather|scatter|sort|radix|unique|scan",
    "copies and casts": r"copy|memcpy|memset|catarray|fill",
    "sums": r"reduce",
}
REST = "other passes"


def kernel_class(name: str) -> str:
    """The class of a kernel, by its name."""
    found = (kind for kind, pattern in CLASSES.items() if re.search(pattern, name, re.IGNORECASE))
    return next(found, REST)


def kernel_seconds(work: Callable[[], Any]) -> tuple[dict[str, float], list[tuple[str, float]]]:
    """Seconds of the kernels of ``work``: by class, and by name, the longest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
        torch.cuda.synchronize()
    by_class = dict.fromkeys((*CLASSES, REST), 0.0)
    by_name: dict[str, float] = {}
    for event in found.events():
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            seconds = event.self_device_time_total / 1e6
            by_class[kernel_class(event.name)] += seconds
            by_name[event.name] = by_name.get(event.name, 0.0) + seconds
    return by_class, sorted(by_name.items(), key=lambda pair: -pair[1])
