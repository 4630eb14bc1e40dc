"""A training worker that is killed, or stopped, at one point of its work: `python -m tests.faults.dying_worker POINT`.

The worker is the real one. The function at that point is wrapped: it kills -9 the worker and its child, or stops both
with SIGSTOP, before or after the wrapped call.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import worker.tasks
from storage.jobs.attempt import Attempt
from storage.jobs.store import JobStore
from worker.guard import WorkerChild
from worker.main import main
from worker.process import TrainingWorker
from worker.watch import Watch

POINTS: dict[str, tuple[type, str, bool]] = {
    # name: (class, method, whether to die after the call)
    "after the pop": (TrainingWorker, "execute_job", False),
    "after the fork": (TrainingWorker, "perform_job", False),
    "before the claim": (JobStore, "claim", False),
    "after the claim": (JobStore, "claim", True),
    "in the middle of training": (Watch, "after_epoch", True),
    "before publish": (Attempt, "publish", False),
    "after publish": (Attempt, "publish", True),
    "before the next job": (WorkerChild, "wait", False),
}


def work(point: str, number: signal.Signals = signal.SIGKILL) -> int:
    """Work, and send this signal to child and parent at the point."""
    assert worker.tasks  # imported by the parent, as `worker.main` does
    parent = os.getpid()

    def interrupt() -> None:
        # The parent goes first: it would record the death of its child.
        for pid in dict.fromkeys((parent, os.getpid())):
            os.kill(pid, number)

    _wrap(*POINTS[point], interrupt)
    return main()


def _wrap(owner: type, name: str, is_after: bool, interrupt: Callable[[], None]) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not is_after:
            interrupt()
        result = method(*args, **kwargs)
        if is_after:
            interrupt()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    sys.exit(work(sys.argv[1]))
