"""A sweep as one job: many candidates, folds, a leaderboard, one version."""

import time
from typing import Any

import numpy as np
import pytest

from perceptron import Candidate, DivergedError, ValidationConfig
from storage.blobs import BlobStore
from storage.jobs.record import Claim
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import training_spec
from worker.training import run_training

RNG = np.random.default_rng(8)
FEATURES = (RNG.normal(size=(120, 4)) * 10 + 5).tolist()
TARGETS = [float(row[0] - row[1] + noise > 0) for row, noise in zip(FEATURES, RNG.normal(size=120), strict=True)]
GRID = tuple(Candidate(rate, l2, 0) for rate in (0.01, 0.5) for l2 in (0.0, 0.1, 1.0))


@pytest.fixture
def train(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> Any:
    def train(**spec: Any) -> dict[str, Any]:
        submitted = jobs.submit("m", training_spec(blobs, features=FEATURES, targets=TARGETS, **spec), metadata={})
        claim = jobs.claim(submitted.id)
        assert isinstance(claim, Claim)
        run_training(claim, jobs=jobs, models=models, blobs=blobs, clock=time.monotonic, stop_requested=lambda: False)
        result = jobs.get(submitted.id).result
        assert result is not None
        return dict(result)

    return train


def test_the_leaderboard_ranks_every_candidate_by_the_cost_of_the_rows_held_out(train: Any) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(0.25), max_epochs=200)
    board = result["leaderboard"]
    assert [entry["rank"] for entry in board] == [1, 2, 3, 4, 5, 6]
    costs = [entry["validation_cost"] for entry in board]
    assert costs == sorted(costs)
    assert {(entry["learning_rate"], entry["l2"]) for entry in board} == {(c.learning_rate, c.l2) for c in GRID}
    assert result["validation_cost"] == costs[0]
    assert (result["metrics"]["evaluated_on"], result["metrics"]["n_instances"]) == ("validation", 30)


def test_the_version_is_the_best_candidate(train: Any, models: ModelStore, blobs: BlobStore, jobs: JobStore) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(0.25), max_epochs=200)
    version = models.get_version("m", 1)
    best = result["leaderboard"][0]
    assert version.description["training"]["learning_rate"] == best["learning_rate"]
    assert version.description["training"]["l2"] == best["l2"]
    alone = train(validation=ValidationConfig(0.25), max_epochs=200, learning_rate=best["learning_rate"], l2=best["l2"])
    assert result["cost"] == pytest.approx(alone["cost"], rel=1e-10)
    assert result["validation_cost"] == pytest.approx(alone["validation_cost"], rel=1e-10)
    first, second = (models.load("m", number).network.layers[0].weights for number in (1, 2))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_with_folds_every_row_is_judged_once_and_the_version_learns_from_all(train: Any, models: ModelStore) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(folds=5), max_epochs=100)
    metrics = result["metrics"]
    assert (metrics["evaluated_on"], metrics["n_instances"]) == ("folds", 120)
    assert metrics["accuracy"] > 0.85
    assert result["is_refitted"] is True
    all_rows = train(
        max_epochs=result["best_epoch"],
        learning_rate=result["leaderboard"][0]["learning_rate"],
        l2=result["leaderboard"][0]["l2"],
    )
    assert result["cost"] == pytest.approx(all_rows["cost"], rel=1e-12)


def test_folds_judge_a_single_setting_too(train: Any) -> None:
    result = train(validation=ValidationConfig(folds=4), max_epochs=50)
    assert len(result["leaderboard"]) == 1
    assert result["metrics"]["n_instances"] == 120


def test_a_refit_learns_from_the_rows_that_were_held_out(train: Any) -> None:
    kept = train(sweep=Sweep(GRID), validation=ValidationConfig(0.5), max_epochs=100)
    refitted = train(sweep=Sweep(GRID, refit=True), validation=ValidationConfig(0.5), max_epochs=100)
    assert refitted["leaderboard"] == kept["leaderboard"]
    assert refitted["cost"] != kept["cost"]


def test_a_candidate_that_diverges_comes_last_and_does_not_fail_the_job(train: Any) -> None:
    candidates = (Candidate(1e200, 0.1, 0), Candidate(0.1, 0.0, 0))
    result = train(sweep=Sweep(candidates), validation=ValidationConfig(0.25), max_epochs=50)
    first, last = result["leaderboard"]
    assert (first["learning_rate"], last["stop_reason"], last["validation_cost"]) == (0.1, "diverged", None)


def test_a_sweep_of_which_all_diverge_fails(train: Any) -> None:
    with pytest.raises(DivergedError):
        train(sweep=Sweep((Candidate(1e200, 0.1, 0),)), max_epochs=50)


def test_a_time_limit_ends_a_sweep_with_the_best_so_far(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    spec = training_spec(
        blobs,
        features=FEATURES,
        targets=TARGETS,
        sweep=Sweep(GRID),
        validation=ValidationConfig(0.25),
        max_epochs=1_000_000,
        tolerance=0.0,
        time_limit_s=3.0,
    )
    claim = jobs.claim(jobs.submit("m", spec, metadata={}).id)
    assert claim is not None
    now = iter(range(1000))
    run_training(
        claim, jobs=jobs, models=models, blobs=blobs, clock=lambda: float(next(now)), stop_requested=lambda: False
    )
    job = jobs.get(claim.job.id)
    assert job.result is not None
    assert (job.status, job.result["stop_reason"]) == ("succeeded", "time_limit")
    assert job.progress is not None and job.progress["candidates"] == 6
