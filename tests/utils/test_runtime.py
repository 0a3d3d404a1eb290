"""What the process does with memory that PyTorch frees."""

import subprocess
import sys

import pytest

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
