"""What a worker does while a store is full or away: wait for it, or do without it."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from storage.availability import is_unavailable
from storage.jobs.attempt import Attempt
from worker.deadline import HandedBackError

TRY_EVERY_S = 1.0
SAY_EVERY_S = 60.0

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Asks a store again until it answers or the process must stop.

    It waits as long as it takes: no answer about the store may end a job. Meanwhile the heartbeat continues, and ends
    the process if the job is cancelled.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    stop_requested: Callable[[], bool]

    def with_store(self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer.

        Raises:
            HandedBackError: the process must stop.
        """
        say_at = self.clock()
        while True:
            try:
                return ask()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if self.clock() >= say_at:
                    _log.warning("waiting for a store: %s", error)
                    say_at = self.clock() + SAY_EVERY_S
                if self.stop_requested():
                    raise HandedBackError from error
            self.sleep(TRY_EVERY_S)


@contextlib.contextmanager
def optional(attempt: Attempt, what: str) -> Iterator[None]:
    """Do what a training can do without: if a store is away, only log that it was not done.

    Args:
        what: what the log says is missing.
    """
    try:
        yield
    except Exception as error:
        if not is_unavailable(error):
            raise
        _log.warning("job %s: %s: %s", attempt.job.id, what, error)


def tell(attempt: Attempt, message: str) -> None:
    """Add a line to the worker's log and, if Redis takes it, to the events of the job.

    Raises:
        StaleAttemptError: the attempt no longer owns the job.
    """
    _log.info("job %s: %s", attempt.job.id, message)
    with optional(attempt, "the line could not be added to its events"):
        attempt.log(message)
