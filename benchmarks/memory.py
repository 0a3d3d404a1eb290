"""The memory of a process; importing this takes none, unlike torch."""

import re
from pathlib import Path


def peak_memory_gb(process: int | str = "self") -> float:
    """Peak resident memory of a process so far, on Linux; 0 of one that is ending.

    Not getrusage's: that of a process starts at its parent's.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 2**20 if found else 0.0
