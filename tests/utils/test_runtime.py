"""What the process does with memory that PyTorch frees, and what a GPU is set to."""

import subprocess
import sys

import pytest
import torch

from utils.runtime import pick_device

MEGABYTES = 300  # of a block: of those that are mapped anew
# A block comes and goes in each turn, as the gradient of a table does, and something small stays.
TURNS = """
import sys
import torch
from utils.runtime import pick_device

pick_device(cuda=False)
size, kept = int(sys.argv[1]) << 18, []
for _ in range(30):
    del_me = torch.ones(size)
    del del_me
    kept.append(torch.ones(1 << 16))
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("RssAnon")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_blocks_that_come_and_go_leave_no_holes() -> None:
    """Thirty turns of one block take no more than ten blocks; with holes they take thirty."""
    command = [sys.executable, "-c", TURNS, str(MEGABYTES)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    libraries = 200
    assert int(found) / 1000 < 10 * MEGABYTES + libraries


def test_a_gpu_makes_no_plan_for_each_length(monkeypatch) -> None:
    asked = []
    for name in ("set_device", "is_available"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *a: asked.append(a) or True)
    was = torch.backends.cuda.cudnn_sdp_enabled(), torch.get_float32_matmul_precision()
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        assert pick_device(cuda=True) == torch.device("cuda", 0)
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was[0])
        torch.set_float32_matmul_precision(was[1])
    assert asked == [(), (0,)]
