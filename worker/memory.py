"""Hold the process that trains to its share of the memory, so that too large a job harms nobody else."""

import contextlib
import resource
from pathlib import Path

_FIRST_TO_GO = "500"
"""Should the machine run out of memory after all, its kernel ends the training before the services."""


def limit_memory(max_bytes: int) -> None:
    """Let this process take so many more bytes; what asks for more raises `MemoryError`. Does nothing where there is
    no /proc."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = now + max_bytes
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
