"""Ctrl-C while a job is waited for: the job does not know of it, so somebody must be asked."""

from __future__ import annotations

import sys


def wants_cancel(job_id: str) -> bool:
    """Ask whether a job shall be cancelled. Where nobody can answer, say how to come back to it."""
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print(f"\n{job_id} still runs. Cancel it? [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            if sys.stdin.readline().strip().lower() in ("y", "yes"):
                return True
        except KeyboardInterrupt:
            print(file=sys.stderr)
    print(f'{job_id} goes on. To come back to it: client.jobs.wait("{job_id}")', file=sys.stderr, flush=True)
    return False
