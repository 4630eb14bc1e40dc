"""The best network so far, shown while its job still runs."""

from typing import Any

import numpy as np
import pytest

from perceptron import Candidate, ValidationConfig, fold, forward
from storage import keys
from storage.blobs import BlobStore
from storage.codec import decode_model
from storage.errors import CorruptDataError, NoNetworkError
from storage.jobs.record import BestNetwork
from storage.jobs.reports import Figures
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_FEATURES, claimed
from tests.clock import Clock
from worker.deadline import Deadline
from worker.training import run_training


def shown_while_training(jobs: JobStore, models: ModelStore, blobs: BlobStore, **spec: Any) -> list[BestNetwork]:
    """Train with a clock that moves a second at each look, and collect what was shown between epochs."""
    attempt, shown, clock = claimed(jobs, blobs=blobs, **spec), list[BestNetwork](), Clock()

    def look() -> bool:
        clock.now += 1
        try:
            best = jobs.best(attempt.job.id)
        except NoNetworkError:
            return False
        if not shown or shown[-1].figures != best.figures:
            shown.append(best)
        return False

    run_training(attempt, models=models, blobs=blobs, deadline=Deadline(clock), stop_requested=look)
    with pytest.raises(NoNetworkError, match="has finished; predict with its version"):
        jobs.best(attempt.job.id)
    return shown


def test_the_network_shown_is_that_of_its_epoch(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    shown = shown_while_training(jobs, models, blobs, max_epochs=10_000, tolerance=0.0)
    assert len(shown) >= 2
    epochs = [best.figures.epoch for best in shown]
    assert epochs == sorted(set(epochs))
    for best in shown:
        network = fold(*decode_model(best.weights, ("sigmoid",))[:2])
        errors = forward(network, np.array(OR_FEATURES))[:, 0] - [0, 1, 1, 1]
        assert best.figures.cost == pytest.approx(float(errors @ errors) / 4, rel=1e-12)


def test_a_sweep_shows_its_best_candidate(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    candidates = tuple(Candidate(rate, 0.0, 0) for rate in (1e-6, 1.0))
    shown = shown_while_training(
        jobs, models, blobs, max_epochs=10_000, tolerance=0.0, sweep=Sweep(candidates), validation=None
    )
    # The slow one stays at the start, where every output is 0.5 and the cost 0.25.
    assert all(best.figures.cost is not None and best.figures.cost < 0.2 for best in shown)


def test_a_job_has_no_network_before_its_first_epoch_and_after_its_end(jobs: JobStore, blobs: BlobStore) -> None:
    attempt = claimed(jobs, blobs=blobs, validation=ValidationConfig(0.25))
    with pytest.raises(NoNetworkError, match="is running and has no network yet"):
        jobs.best(attempt.job.id)
    attempt.show_best(b"weights", Figures(1, 0.25, None))
    best = jobs.best(attempt.job.id)
    assert (best.weights, best.figures) == (b"weights", Figures(1, 0.25, None))
    jobs.cancel(attempt.job.id)
    with pytest.raises(NoNetworkError, match="cancelled"):
        jobs.best(attempt.job.id)


def test_figures_that_are_not_ours_are_called_corrupt(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.show_best(b"weights", Figures(1, 0.25, None))
    jobs._redis.hset(keys.best_network(attempt.job.id), "figures", '{"epoch": "first"}')
    with pytest.raises(CorruptDataError, match="best network"):
        jobs.best(attempt.job.id)
