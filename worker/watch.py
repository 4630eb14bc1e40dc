"""What a training does between epochs: report, and see whether it should end."""

from collections.abc import Callable, Mapping
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
        self._last_point = 0

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
            self._jobs.record_progress(self._claim, progress, point=self._point(progress, is_last or is_up, **more))
            self._reported_at = now
        if not is_last and not is_up and self._stop_requested():
            raise HandedBackError
        return is_up

    def _point(self, progress: Mapping[str, Any], is_last: bool, **more: Any) -> dict[str, Any] | None:
        """Give the point of the learning curve, unless it is too near the one before."""
        epoch = progress["epoch"]
        # A curve of a million epochs has about 700 points so, each 2 % further than the one before. Where the epochs
        # begin anew, with a refit or another candidate, so does the curve.
        if not is_last and self._last_point <= epoch < self._last_point * 1.02:
            return None
        self._last_point = epoch
        names = ("epoch", "cost", "validation_cost")
        return {"attempt": self._claim.attempt, **{name: progress[name] for name in names}, **more}


def epochs_between_looks(spec: TrainingSpec, n_networks: int = 1) -> int:
    """Return how many epochs may pass before `Watch` is asked again."""
    n_values = spec.data.n_instances * (
        spec.data.n_features + sum(spec.network.hidden_layers) * n_networks + n_networks
    )
    return max(1, min(VALUES_BETWEEN_LOOKS // n_values, 1000))
