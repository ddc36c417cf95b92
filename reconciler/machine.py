"""What this machine, or the container that this is, has of memory: all of it, and what is free."""

from __future__ import annotations

import re
from pathlib import Path

UNKNOWN = 2**30
"""What is taken for free where nothing tells."""
_ROOT = Path("/")
_UNLIMITED = 2**60
"""What the first kind of control groups says where there is no limit is above this."""
_KINDS = (  # of both kinds of control groups: the folder, its limit, what is in use, and what of that can be dropped
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def all_memory(root: Path = _ROOT) -> int:
    """Give the bytes of memory that there are for this process and all others; 0 where nothing tells."""
    limits = [limit for limit, _used in _groups(root)]
    return min([*limits, *filter(None, [_of_machine(root, "MemTotal")])], default=0)


def free_memory(root: Path = _ROOT) -> int:
    """Give the bytes of memory that can be had now without anybody being swapped out."""
    rooms = [max(limit - used, 0) for limit, used in _groups(root)]
    free = _of_machine(root, "MemAvailable")
    return min([*rooms, *([free] if free is not None else [])], default=UNKNOWN)


def _of_machine(root: Path, name: str) -> int | None:
    found = re.search(rf"^{name}:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _groups(root: Path) -> list[tuple[int, int]]:
    """Give the limit of the control group that this runs in, where it has one, and what is in use of it."""
    found = []
    for folder, limit, used, cached in _KINDS:
        most, now = (_read(root / folder / name).strip() for name in (limit, used))
        if most.isdigit() and now.isdigit() and int(most) < _UNLIMITED:
            dropped = re.search(rf"^{cached} (\d+)$", _read(root / folder / "memory.stat"), re.MULTILINE)
            found.append((int(most), int(now) - (int(dropped[1]) if dropped else 0)))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
