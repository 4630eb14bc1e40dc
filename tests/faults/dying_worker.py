"""A training worker that is killed at one point of its work: `python -m tests.faults.dying_worker POINT`.

The worker is the real one. The function at that point is wrapped: it kills -9 the worker and its child, before or after
the wrapped call.
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

PARENT = os.getpid()

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


def die(*_: Any) -> None:
    """Kill child and parent at once. The parent goes first: it would record the death of its child."""
    if os.getpid() != PARENT:
        os.kill(PARENT, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: type, name: str, is_after: bool) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not is_after:
            die()
        method(*args, **kwargs)
        die()

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    assert worker.tasks  # imported by the parent, as `worker.main` does
    wrap(*POINTS[sys.argv[1]])
    sys.exit(main())
