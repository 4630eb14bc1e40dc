"""Waits for a store that takes or gives nothing now: it is full, or away."""

import logging
from collections.abc import Callable
from typing import TypeVar

from storage.availability import is_unavailable
from worker.watch import HandedBackError

PATIENCE_S = 300.0
"""A trained network waits so long for a place; its heartbeat goes on."""

TRY_EVERY_S = 1.0

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


class Patience:
    """Asks again until a store answers, the patience is over or the process is to stop."""

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], None], stop_requested: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._stop_requested = stop_requested

    def with_store(self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer.

        Raises:
            HandedBackError: the process is to stop.
            One of UNAVAILABLE_ERRORS: the patience is over.
        """
        give_up_at: float | None = None
        while True:
            try:
                return ask()
            except Exception as error:
                if not is_unavailable(error):
                    raise
                if give_up_at is None:
                    _log.warning("waiting for a store: %s", error)
                    give_up_at = self._clock() + PATIENCE_S
                if self._clock() >= give_up_at:
                    raise
                if self._stop_requested():
                    raise HandedBackError from error
            self._sleep(TRY_EVERY_S)
