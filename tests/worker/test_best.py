"""The best network so far, shown while its job still runs."""

from typing import Any

import numpy as np
import pytest

from perceptron import Candidate, ValidationConfig, fold, forward
from storage.blobs import BlobStore
from storage.codec import decode_model
from storage.errors import NoNetworkError
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_FEATURES, claimed
from worker.training import run_training


def shown_while_training(jobs: JobStore, models: ModelStore, blobs: BlobStore, **spec: Any) -> list[Any]:
    """Train with a clock that moves a second at each look, and collect what was shown between epochs."""
    claim, shown, now_s = claimed(jobs, blobs=blobs, **spec), [], 0.0

    def look() -> bool:
        nonlocal now_s
        now_s += 1
        try:
            best = jobs.best(claim.job.id)
        except NoNetworkError:
            return False
        if not shown or shown[-1].figures != best.figures:
            shown.append(best)
        return False

    run_training(claim, jobs=jobs, models=models, blobs=blobs, clock=lambda: now_s, stop_requested=look)
    with pytest.raises(NoNetworkError, match="has finished; predict with its version"):
        jobs.best(claim.job.id)
    return shown


def test_the_network_shown_is_that_of_its_epoch(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    shown = shown_while_training(jobs, models, blobs, max_epochs=10_000, tolerance=0.0)
    assert len(shown) >= 2
    epochs = [best.figures["epoch"] for best in shown]
    assert epochs == sorted(set(epochs))
    for best in shown:
        network = fold(*decode_model(best.weights, ("sigmoid",)))
        errors = forward(network, np.array(OR_FEATURES))[:, 0] - [0, 1, 1, 1]
        assert best.figures["cost"] == pytest.approx(float(errors @ errors) / 4, rel=1e-12)


def test_a_sweep_shows_its_best_candidate(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    candidates = tuple(Candidate(rate, 0.0, 0) for rate in (1e-6, 1.0))
    shown = shown_while_training(
        jobs, models, blobs, max_epochs=10_000, tolerance=0.0, sweep=Sweep(candidates), validation=None
    )
    # The slow one stays at the start, where every output is 0.5 and the cost 0.25.
    assert all(best.figures["cost"] < 0.2 for best in shown)


def test_a_job_that_waits_has_no_network_yet(jobs: JobStore, blobs: BlobStore) -> None:
    claim = claimed(jobs, blobs=blobs, validation=ValidationConfig(0.25))
    with pytest.raises(NoNetworkError, match="is running and has no network yet"):
        jobs.best(claim.job.id)
    jobs.record_best(claim, b"weights", {"epoch": 1, "cost": 0.25, "validation_cost": None})
    assert jobs.best(claim.job.id).weights == b"weights"
    jobs.cancel(claim.job.id)
    with pytest.raises(NoNetworkError, match="cancelled"):
        jobs.best(claim.job.id)
