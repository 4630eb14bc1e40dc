"""What a training does between epochs: report, and see whether it should end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from storage import Claim, JobStore, TrainingSpec

REPORT_EVERY_S = 0.2
"""A job's record follows its training with about this delay."""

VALUES_BETWEEN_LOOKS = 2_000_000
"""About so many values go through a network between two looks at the clock, some milliseconds of work."""


class HandedBackError(Exception):
    """The process was asked to stop in the middle of the training; another attempt will go on."""


class Watch:
    """Looks at the clock between epochs: reports progress, and says when to end."""

    def __init__(
        self, claim: Claim, jobs: JobStore, clock: Callable[[], float], stop_requested: Callable[[], bool]
    ) -> None:
        self._claim = claim
        self._jobs = jobs
        self._clock = clock
        self._stop_requested = stop_requested
        self._started_at = clock()
        self._reported_at = float("-inf")

    def is_time_up(
        self, epoch: int, cost: float | None, validation_cost: float | None, *, is_last: bool, **more: Any
    ) -> bool:
        """Note an epoch, and say whether the job's time limit has passed.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
            HandedBackError: the process is to stop.
        """
        spec = self._claim.job.spec
        now = self._clock()
        elapsed_s = now - self._started_at
        is_up = spec.time_limit_s is not None and elapsed_s >= spec.time_limit_s
        if is_last or is_up or now - self._reported_at >= REPORT_EVERY_S:
            max_epochs = spec.training.max_epochs
            finish_at = datetime.now(UTC) + timedelta(seconds=elapsed_s / epoch * (max_epochs - epoch))
            progress = {
                "epoch": epoch,
                "max_epochs": max_epochs,
                "cost": cost,
                "validation_cost": validation_cost,
                "estimated_finish_at": finish_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                **more,
            }
            self._jobs.record_progress(self._claim, progress)
            self._reported_at = now
        if not is_last and not is_up and self._stop_requested():
            raise HandedBackError
        return is_up


def epochs_between_looks(spec: TrainingSpec, n_networks: int = 1) -> int:
    """Return how many epochs may pass before `Watch` is asked again."""
    n_values = spec.data.n_instances * (
        spec.data.n_features + sum(spec.network.hidden_layers) * n_networks + n_networks
    )
    return max(1, min(VALUES_BETWEEN_LOOKS // n_values, 1000))
