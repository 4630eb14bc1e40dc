"""What a training does between epochs: report, and see whether it should end."""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from perceptron import OPTIMIZERS
from storage.availability import is_unavailable
from storage.jobs.record import Claim
from storage.jobs.spec import TrainingSpec
from storage.jobs.store import JobStore
from worker.best import Best, BestSoFar
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline, TimeUpError

REPORT_EVERY_S = 0.2
"""A job's record follows its training with about this delay."""

VALUES_BETWEEN_LOOKS = 2_000_000
"""About so many values go through a network between two looks at the clock, some milliseconds of work."""


SLOW_S = 0.5
"""From here on, a look after every epoch costs nothing to speak of."""

LONGEST_ESTIMATE_S = 1e9
"""Thirty years: beyond, it says nothing, and the calendar ends."""

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class HandedBackError(Exception):
    """The process was asked to stop in the middle of the training; another attempt will go on."""


class Watch:
    """Looks at the clock between epochs: reports progress, writes checkpoints, and says when to end.

    Args:
        used_s: how much of the job's time limit earlier attempts have used.
    """

    def __init__(
        self,
        claim: Claim,
        jobs: JobStore,
        checkpoints: Checkpoints,
        clock: Callable[[], float],
        stop_requested: Callable[[], bool],
        deadline: Deadline,
        *,
        used_s: float = 0.0,
    ) -> None:
        self._claim = claim
        self._jobs = jobs
        self._checkpoints = checkpoints
        self._clock = clock
        self._stop_requested = stop_requested
        self._deadline = deadline
        self._began_at = self._looked_at = clock()
        self._best = BestSoFar(claim, jobs, began_at=self._began_at)
        self._used_s = used_s
        self._reported_at = float("-inf")
        self._last_point = 0
        self._stage: Mapping[str, Any] = {}
        self._epochs_before = 0
        self.is_slow = False
        """Whether epochs take so long that one may be interrupted: what it leaves behind is unfinished."""

    def begin_stage(self, stage: Mapping[str, Any], *, epochs_before: int) -> None:
        """Begin another part of the training.

        Args:
            stage: what its checkpoints say of the parts before.
            epochs_before: done in the parts before.
        """
        self._stage = stage
        self._epochs_before = epochs_before

    def epochs(self, results: Iterator[Result], *, has_any: bool = False) -> Iterator[Result]:
        """Pass on what a training yields, until it ends or is interrupted because its time is up.

        Args:
            has_any: whether there is a result already, of an earlier attempt.

        Raises:
            TimeUpError: its time is up and it has yielded nothing.
        """
        while True:
            try:
                with self._deadline.interruptible():
                    result = next(results, None)
            except TimeUpError:
                if not has_any:
                    raise
                return
            if result is None:
                return
            has_any = True
            yield result

    def is_time_up(
        self,
        epoch: int,
        cost: float | None,
        validation_cost: float | None,
        *,
        is_last: bool,
        total_epochs: int,
        state: Callable[[], Any],
        best: Callable[[], Best | None],
        **more: Any,
    ) -> bool:
        """Note an epoch, and say whether the job's time limit has passed.

        Args:
            total_epochs: done in this part of the training, by all attempts.
            state: gives what the training can be gone on with.
            best: gives the best network so far, if there is any.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
            HandedBackError: the process is to stop; there is a checkpoint of where the training is.
        """
        spec = self._claim.job.spec
        now = self._clock()
        self.is_slow, self._looked_at = now - self._looked_at >= SLOW_S, now
        elapsed_s = now - self._began_at + self._used_s
        is_up = spec.time_limit_s is not None and elapsed_s >= spec.time_limit_s
        if is_last or is_up or now - self._reported_at >= REPORT_EVERY_S:
            max_epochs = spec.training.max_epochs
            left_s = min(elapsed_s / epoch * (max_epochs - epoch), LONGEST_ESTIMATE_S)
            finish_at = datetime.now(UTC) + timedelta(seconds=left_s)
            progress = {
                "epoch": epoch,
                "max_epochs": max_epochs,
                "cost": cost,
                "validation_cost": validation_cost,
                "estimated_finish_at": finish_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                **more,
            }
            with self._deadline.suspended():
                self._report(progress, self._point(progress, is_last or is_up, **more))
            self._reported_at = now
        if is_last or is_up:
            return is_up
        with self._deadline.suspended():
            self._best.show(best, now)
        is_to_stop = self._stop_requested()
        if is_to_stop or self._checkpoints.is_due(now, began_at=self._began_at):
            total_epochs += self._epochs_before
            with self._deadline.suspended():
                self._checkpoints.save(state(), total_epochs=total_epochs, used_s=elapsed_s, stage=self._stage)
        if is_to_stop:
            raise HandedBackError
        return False

    def _report(self, progress: Mapping[str, Any], point: Mapping[str, Any] | None) -> None:
        try:
            self._jobs.record_progress(self._claim, progress, point=point)
        except Exception as error:
            # A training can do without being watched.
            if not is_unavailable(error):
                raise
            _log.warning("job %s: no progress reported: %s", self._claim.job.id, error)

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
    if OPTIMIZERS[spec.training.optimizer].uses_hessian:
        return 1  # an epoch takes long, however little data there is
    n_values = spec.data.n_instances * (
        spec.data.n_features + sum(spec.network.hidden_layers) * n_networks + n_networks
    )
    return max(1, min(VALUES_BETWEEN_LOOKS // n_values, 1000))
