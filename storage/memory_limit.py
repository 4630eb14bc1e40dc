"""How much memory a training may take: what the API refuses to exceed, and what the worker's child is held to."""

import os
from collections.abc import Mapping
from pathlib import Path

from storage.store_settings import at_least_one

MAX_TRAINING_BYTES = "MAX_TRAINING_BYTES"
_OTHERS_BYTES = 256 * 1024**2
"""For the processes around the training."""
_SHARE = 0.75
_LEAST = 128 * 1024**2

_CGROUP = Path("/sys/fs/cgroup")
_LIMIT_FILES = ("memory.max", "memory/memory.limit_in_bytes")  # of the second and the first version


def max_training_bytes(env: Mapping[str, str]) -> int:
    """Return MAX_TRAINING_BYTES, or else three quarters of this machine's or container's memory.

    Raises:
        ValueError: the setting is no whole number of at least 1.
    """
    return at_least_one(env, MAX_TRAINING_BYTES, share_of_memory(1))


def share_of_memory(n_trainings: int) -> int:
    """Return how many bytes each of so many trainings at the same time may take."""
    return max(int(_SHARE * (memory_bytes() - _OTHERS_BYTES)) // n_trainings, _LEAST)


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container if that has less."""
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([of_machine, *filter(None, map(_limit, _cgroup_files()))])


def _cgroup_files() -> list[Path]:
    """Return the files that may hold a limit: the root's, which is the container's own, and this process's group's."""
    files = [_CGROUP / name for name in _LIMIT_FILES]
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return files
    for _, controllers, path in (line.split(":", 2) for line in groups):
        if controllers == "":
            files.append(_CGROUP / path.lstrip("/") / "memory.max")
        elif "memory" in controllers.split(","):
            files.append(_CGROUP / "memory" / path.lstrip("/") / "memory.limit_in_bytes")
    return files


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": none
