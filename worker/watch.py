"""What happens between the epochs of a training: report, show the best network, save, and decide whether to end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from perceptron import OPTIMIZERS, Network, Standardization, TableEncoder
from storage.codec import encode_model
from storage.jobs.attempt import Attempt
from storage.jobs.checkpoints import Checkpoint, RefitStage, State
from storage.jobs.reports import Figures, Progress
from storage.jobs.spec import TrainingSpec
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline, HandedBackError, TimeUpError
from worker.pace import Pace
from worker.stores import optional, tell

REPORT_EVERY_S = 0.2
"""A job's record follows its training with about this delay."""

SHOW_EVERY_S, SHOW_SHARE = 1.0, 0.02
"""How often the best network is written to Redis; it takes no more than this share of the time."""

SAVE_EVERY_S, SAVE_SHARE = 5.0, 0.03
"""How often a checkpoint is written: the most training that a dying worker loses, apart from its current epoch."""

VALUES_BETWEEN_LOOKS = 2_000_000
"""About this many values go through a network between two looks at the clock, some milliseconds of work."""

LONGEST_ESTIMATE_S = 1e9
"""Thirty years: a longer estimate means nothing, and dates end somewhere."""

CURVE_STEP = 1.02
"""Each point of the learning curve is 2 % further than the one before: a million epochs have about 700 points."""

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class BestNetwork:
    """The best network so far."""

    network: Network
    standardization: Standardization
    figures: Figures


@dataclass(frozen=True, eq=False)
class Position:
    """Where a training stands after an epoch."""

    epoch: int
    cost: float | None
    validation_cost: float | None
    is_last: bool
    total_epochs: int
    """The epochs of this stage of the training, by all attempts."""
    state: Callable[[], State]
    """Gives what the training can be resumed from."""
    best: Callable[[], BestNetwork | None]
    """Gives the best network so far, if there is any."""
    candidates: int | None = None
    running: int | None = None
    phase: Literal["refit"] | None = None


class Watch:
    """Looks at the clock between epochs and does what is due. Waiting for a store is not training time."""

    def __init__(
        self,
        attempt: Attempt,
        checkpoints: Checkpoints,
        deadline: Deadline,
        stop_requested: Callable[[], bool],
        encoder: TableEncoder | None = None,
    ) -> None:
        self._attempt = attempt
        self._encoder = encoder
        self._checkpoints = checkpoints
        self.deadline = deadline
        self._stop_requested = stop_requested
        self._reports = Pace(deadline.clock, every_s=REPORT_EVERY_S, is_due_at_once=True)
        self._shows = Pace(deadline.clock, every_s=SHOW_EVERY_S, share=SHOW_SHARE)
        self._saves = Pace(deadline.clock, every_s=SAVE_EVERY_S, share=SAVE_SHARE)
        self._last_point = 0
        self._shown_epoch: int | None = None
        self._refit: RefitStage | None = None

    def begin_refit(self, stage: RefitStage) -> None:
        """Begin the last stage of a sweep; the checkpoints keep what came before."""
        self._refit = stage

    def tell(self, message: str) -> None:
        """Add a line to the events of the job.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        with self.deadline.paused():
            tell(self._attempt, message)

    def epochs(self, results: Iterator[Result], *, has_any: bool = False) -> Iterator[Result]:
        """Pass on what a training yields, until it ends or is interrupted because its time is up.

        Args:
            has_any: whether an earlier attempt has left a result.

        Raises:
            TimeUpError: its time is up and there is no result.
        """
        while True:
            try:
                with self.deadline.interruptible():
                    result = next(results, None)
            except TimeUpError:
                if not has_any:
                    raise
                return
            if result is None:
                return
            has_any = True
            yield result

    def after_epoch(self, position: Position) -> bool:
        """Report, show the best network and save what is due. Return whether to end because the time is up.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
            HandedBackError: the process must stop; there is a checkpoint of where the training is.
        """
        is_up = self.deadline.has_passed
        ends = position.is_last or is_up
        is_to_stop = not ends and self._stop_requested()
        with self.deadline.paused():
            if ends or self._reports.is_due:
                self._report(position, ends=ends)
            if ends:
                return is_up
            if self._shows.is_due:
                self._show_best(position)
            if is_to_stop or self._saves.is_due:
                self._save(position)
        if is_to_stop:
            raise HandedBackError
        return False

    def _report(self, position: Position, *, ends: bool) -> None:
        epoch, max_epochs = position.epoch, self._attempt.job.spec.training.max_epochs
        left_s = min(self.deadline.used_s / epoch * (max_epochs - epoch), LONGEST_ESTIMATE_S)
        finish_at = datetime.now(UTC) + timedelta(seconds=left_s)
        progress = Progress(
            epoch=epoch,
            max_epochs=max_epochs,
            cost=position.cost,
            validation_cost=position.validation_cost,
            estimated_finish_at=finish_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            candidates=position.candidates,
            running=position.running,
            phase=position.phase,
        )
        # With a refit or another candidate the epochs begin at 1 again, and so does the curve.
        is_near = self._last_point <= epoch < self._last_point * CURVE_STEP
        on_curve = ends or not is_near
        if on_curve:
            self._last_point = epoch
        if position.is_last and self._attempt.job.spec.sweep is None and self.deadline.used_s < REPORT_EVERY_S:
            self._attempt.report_with_result(progress)  # which follows at once
            return
        with self._reports.measured(), optional(self._attempt, "no progress reported"):
            self._attempt.report(progress, on_curve=on_curve)

    def _show_best(self, position: Position) -> None:
        with self._shows.measured(), optional(self._attempt, "its best network cannot be shown"):
            best = position.best()
            if best is not None and best.figures.epoch != self._shown_epoch:
                self._attempt.show_best(self._encoded(best), best.figures)
                self._shown_epoch = best.figures.epoch

    def _encoded(self, best: BestNetwork) -> bytes:
        table = self._attempt.job.spec.table
        return encode_model(best.network, best.standardization, self._encoder, None if table is None else table.target)

    def _save(self, position: Position) -> None:
        with self._saves.measured():
            epochs_before = self._refit.total_epochs if self._refit else 0
            self._checkpoints.save(
                Checkpoint(
                    job_id=self._attempt.job.id,
                    total_epochs=epochs_before + position.total_epochs,
                    used_s=self.deadline.used_s,
                    state=position.state(),
                    refit=self._refit,
                )
            )


def epochs_between_looks(spec: TrainingSpec, n_networks: int = 1) -> int:
    """Return how many epochs may pass before the next `Watch.after_epoch`."""
    if OPTIMIZERS[spec.training.optimizer].uses_hessian:
        return 1  # an epoch takes long, however little data there is
    n_values = spec.data.n_instances * (
        spec.data.n_features + sum(spec.network.hidden_layers) * n_networks + n_networks
    )
    return max(1, min(VALUES_BETWEEN_LOOKS // n_values, 1000))
