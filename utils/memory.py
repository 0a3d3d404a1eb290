"""How much memory there is."""

from pathlib import Path

from utils.errors import UserError

_FREE = Path("/proc/meminfo")
# What a container may use, and uses, by both versions of control groups.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def free_memory() -> int | None:
    """Bytes that a process can still have; None where the system does not say."""
    found = []
    if _FREE.exists():
        rows = (line.split() for line in _FREE.read_text().splitlines())
        found += [1024 * int(row[1]) for row in rows if row[0] == "MemAvailable:"]
    for limit, used in _LIMITS:
        if Path(limit).exists() and (most := Path(limit).read_text().strip()).isdigit():
            found.append(int(most) - int(Path(used).read_text()))
    return min(found, default=None)


def lack_of_memory(needed: int) -> str | None:
    """What to say where there is less memory than needed, bytes; None where there is enough, or
    nobody knows."""
    free = free_memory()
    if free is None or needed <= free:
        return None
    return f"needs {needed / 1e9:.1f} GB of memory, and {max(free, 0) / 1e9:.1f} GB are free"


def check_memory(needed: int, what: str, remedy: str) -> None:
    """UserError where there is less memory than needed, bytes: what it is for, what to do."""
    if lack := lack_of_memory(needed):
        raise UserError(f"{what} {lack}. {remedy}")
