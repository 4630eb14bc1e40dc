"""Shows the best network so far of a running job, to be predicted with before the job is done."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from perceptron import Network, Standardization
from storage.availability import is_unavailable
from storage.codec import encode_model
from storage.jobs.record import Claim
from storage.jobs.store import JobStore

EVERY_S = 1.0
SHARE = 0.02
"""Showing takes no more of the time than this: what takes long to write is shown less often."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Best:
    """The best network so far."""

    network: Network
    standardization: Standardization
    epoch: int
    cost: float | None
    validation_cost: float | None


class BestSoFar:
    """The best networks of one attempt, each in the place of the one before."""

    def __init__(self, claim: Claim, jobs: JobStore, *, began_at: float) -> None:
        self._claim = claim
        self._jobs = jobs
        self._due_at = began_at + EVERY_S
        self._shown: int | None = None

    def show(self, find: Callable[[], Best | None], now: float) -> None:
        """Show what `find` gives, if it is time for it.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        if now < self._due_at:
            return
        started = time.perf_counter()
        best = find()
        if best is not None and best.epoch != self._shown:
            weights = encode_model(best.network, best.standardization)
            figures = {"epoch": best.epoch, "cost": best.cost, "validation_cost": best.validation_cost}
            try:
                self._jobs.record_best(self._claim, weights, figures)
                self._shown = best.epoch
            except Exception as error:
                if not is_unavailable(error):
                    raise
                _log.warning("job %s: its best network cannot be shown: %s", self._claim.job.id, error)
        self._due_at = now + max(EVERY_S, (time.perf_counter() - started) / SHARE)
