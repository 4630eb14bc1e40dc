"""A sweep as one job: many candidates, folds, a leaderboard, one version."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from perceptron import (
    Candidate,
    Dataset,
    DivergedError,
    SweepProgress,
    TrainedNetwork,
    ValidationConfig,
    assign_folds,
    evaluate,
    fit_sweep,
    forward,
)
from storage.blobs import BlobStore
from storage.jobs.reports import LeaderboardEntry, Result
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import training_spec
from tests.clock import Clock
from worker.deadline import Deadline, TimeUpError
from worker.single import Inputs
from worker.sweep import _by_candidate, _leaderboard, _Sweep
from worker.training import run_training

RNG = np.random.default_rng(8)
FEATURES = (RNG.normal(size=(120, 4)) * 10 + 5).tolist()
TARGETS = [float(row[0] - row[1] + noise > 0) for row, noise in zip(FEATURES, RNG.normal(size=120), strict=True)]
GRID = tuple(Candidate(rate, l2, 0) for rate in (0.01, 0.5) for l2 in (0.0, 0.1, 1.0))


SECONDS_PER_EPOCH = 1.0
Train = Callable[..., Result]


@pytest.fixture
def train(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> Train:
    """Train a job with a clock that moves a second in every epoch, and return its result."""

    def train(**spec: Any) -> Result:
        spec = {"features": FEATURES, "targets": TARGETS, **spec}
        attempt = jobs.claim(jobs.submit("m", training_spec(blobs, **spec), metadata={}).id)
        assert attempt is not None
        clock = Clock()

        def stop_requested() -> bool:
            clock.now += SECONDS_PER_EPOCH
            return False

        run_training(attempt, models=models, blobs=blobs, deadline=Deadline(clock), stop_requested=stop_requested)
        job = jobs.get(attempt.job.id)
        assert job.result is not None
        return replace(job.result, leaderboard=job.leaderboard)  # which is stored beside it

    return train


def board_of(result: Result) -> tuple[LeaderboardEntry, ...]:
    assert result.leaderboard is not None
    return result.leaderboard


@pytest.fixture
def look_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)


def test_the_leaderboard_ranks_every_candidate_by_the_cost_of_the_rows_held_out(train: Train) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(0.25), max_epochs=200)
    board = board_of(result)
    assert [entry.rank for entry in board] == [1, 2, 3, 4, 5, 6]
    costs = [entry.validation_cost for entry in board]
    assert costs == sorted(costs)
    assert {(entry.learning_rate, entry.l2) for entry in board} == {(c.learning_rate, c.l2) for c in GRID}
    assert result.validation_cost == costs[0]
    assert (result.metrics["evaluated_on"], result.metrics["n_instances"]) == ("validation", 30)


def test_the_version_is_the_best_candidate(train: Train, models: ModelStore, blobs: BlobStore, jobs: JobStore) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(0.25), max_epochs=200)
    version = models.get_version("m", 1)
    best = board_of(result)[0]
    assert version.description.training.learning_rate == best.learning_rate
    assert version.description.training.l2 == best.l2
    alone = train(validation=ValidationConfig(0.25), max_epochs=200, learning_rate=best.learning_rate, l2=best.l2)
    assert result.cost == pytest.approx(alone.cost, rel=1e-10)
    assert result.validation_cost == pytest.approx(alone.validation_cost, rel=1e-10)
    first, second = (models.load("m", number).network.layers[0].weights for number in (1, 2))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_with_folds_every_row_is_judged_once_and_the_version_learns_from_all(train: Train, models: ModelStore) -> None:
    result = train(sweep=Sweep(GRID), validation=ValidationConfig(folds=5), max_epochs=100)
    metrics = result.metrics
    assert (metrics["evaluated_on"], metrics["n_instances"]) == ("folds", 120)
    assert metrics["accuracy"] > 0.85
    assert result.is_refitted is True
    all_rows = train(
        max_epochs=result.best_epoch,
        learning_rate=board_of(result)[0].learning_rate,
        l2=board_of(result)[0].l2,
    )
    assert result.cost == pytest.approx(all_rows.cost, rel=1e-12)


def test_folds_judge_a_single_setting_too(train: Train) -> None:
    result = train(validation=ValidationConfig(folds=4), max_epochs=50)
    assert len(board_of(result)) == 1
    assert result.metrics["n_instances"] == 120


def test_a_refit_learns_from_the_rows_that_were_held_out(train: Train) -> None:
    kept = train(sweep=Sweep(GRID), validation=ValidationConfig(0.5), max_epochs=100)
    refitted = train(sweep=Sweep(GRID, refit=True), validation=ValidationConfig(0.5), max_epochs=100)
    assert refitted.leaderboard == kept.leaderboard
    assert refitted.cost != kept.cost


def test_a_candidate_that_diverges_comes_last_and_does_not_fail_the_job(train: Train) -> None:
    candidates = (Candidate(1e200, 0.1, 0), Candidate(0.1, 0.0, 0))
    result = train(sweep=Sweep(candidates), validation=ValidationConfig(0.25), max_epochs=50)
    first, last = board_of(result)
    assert (first.learning_rate, last.stop_reason, last.validation_cost) == (0.1, "diverged", None)


def test_a_sweep_of_which_all_diverge_fails(train: Train) -> None:
    with pytest.raises(DivergedError):
        train(sweep=Sweep((Candidate(1e200, 0.1, 0),)), max_epochs=50)


@pytest.mark.usefixtures("look_after_every_epoch")
def test_a_time_limit_ends_a_sweep_with_the_best_so_far(train: Train, jobs: JobStore) -> None:
    spec = {"sweep": Sweep(GRID), "validation": ValidationConfig(0.25), "max_epochs": 1_000_000, "tolerance": 0.0}
    result = train(**spec, time_limit_s=3.0)
    assert (result.stop_reason, result.epochs) == ("time_limit", 4)
    (job,), _ = jobs.page(limit=1)
    assert job.progress is not None and job.progress.candidates == 6


@pytest.mark.usefixtures("look_after_every_epoch")
@pytest.mark.parametrize("batch_size", [None, 20])
def test_a_sweep_that_is_interrupted_publishes_what_it_had_before_that_epoch(
    train: Train, monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    """However short the epochs before were."""

    def interrupted(*arguments: Any, **options: Any) -> Iterator[SweepProgress]:
        epochs = fit_sweep(*arguments, **options)
        yield from islice(epochs, 3)
        next(epochs)  # trained, and networks that change in place have changed
        raise TimeUpError

    spec = {"sweep": Sweep(GRID[:2]), "max_epochs": 1_000_000, "tolerance": 0.0, "batch_size": batch_size}
    monkeypatch.setattr(f"{__name__}.SECONDS_PER_EPOCH", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr("worker.sweep.fit_sweep", interrupted)
        result = train(**spec)
    assert (result.stop_reason, result.epochs) == ("time_limit", 3)
    assert result.cost == train(**(spec | {"max_epochs": 3})).cost


# A sweep of 20 epochs of a second each, and then a refit: the limit passes in the one or in the other.
@pytest.mark.usefixtures("look_after_every_epoch")
@pytest.mark.parametrize("time_limit_s", [10.0, 25.0])
def test_without_time_for_the_refit_the_version_is_the_winner_as_it_was_measured(
    train: Train, models: ModelStore, time_limit_s: float
) -> None:
    common = {"validation": ValidationConfig(0.25), "max_epochs": 20, "tolerance": 0.0, "time_limit_s": time_limit_s}
    without = train(sweep=Sweep(GRID), **common)
    result = train(sweep=Sweep(GRID, refit=True), **common)
    assert models.load_bytes("m", 2)[1] == models.load_bytes("m", 1)[1]
    assert (result.stop_reason, result.is_refitted) == ("time_limit", False)
    for name in ("epochs", "best_epoch", "cost", "validation_cost", "metrics", "leaderboard"):
        assert getattr(result, name) == getattr(without, name), name
    described = models.get_version("m", 2).description
    assert (described.stop_reason, described.is_refitted) == ("time_limit", False)


@pytest.mark.usefixtures("look_after_every_epoch")
@pytest.mark.parametrize("time_limit_s", [10.0, 25.0])
def test_without_time_for_the_refit_of_folds_the_version_is_the_network_of_the_first_fold(
    train: Train, models: ModelStore, time_limit_s: float
) -> None:
    result = train(validation=ValidationConfig(folds=5), max_epochs=20, tolerance=0.0, time_limit_s=time_limit_s)
    check_that_the_figures_are_those_of_the_first_fold(result, models, n_folds=5)
    assert result.stop_reason == "time_limit"
    assert result.epochs == (11 if time_limit_s == 10 else 20)


@pytest.mark.usefixtures("look_after_every_epoch")
def test_a_fold_that_trained_alone_is_judged_by_its_own_rows(train: Train, models: ModelStore) -> None:
    """In mini-batches the folds train one after the other, and the time is up in the first one."""
    result = train(validation=ValidationConfig(folds=3), batch_size=20, max_epochs=20, tolerance=0.0, time_limit_s=5.0)
    check_that_the_figures_are_those_of_the_first_fold(result, models, n_folds=3)


@pytest.mark.usefixtures("look_after_every_epoch")
def test_the_warnings_are_of_the_network_of_the_first_fold_when_that_is_published(train: Train) -> None:
    # 4 x 16 + 16 weights: the 120 rows determine them, and the 60 of one fold do not
    result = train(
        validation=ValidationConfig(folds=2), max_epochs=20, tolerance=0.0, time_limit_s=10.0, hidden_layers=(16,)
    )
    assert [one.detail[:40] for one in result.warnings if one.code == "fewer_rows_than_weights"] == [
        "60 rows cannot determine 80 weights: giv"
    ]


@pytest.mark.parametrize("scale_targets", [False, True])
@pytest.mark.parametrize("sweep", [None, Sweep((Candidate(1e-9, 2.0, 0),))])
def test_a_network_is_compared_with_a_constant_without_its_penalty(
    train: Train, sweep: Sweep | None, scale_targets: bool
) -> None:
    targets = (RNG.normal(size=120) * 3 + 1).tolist()
    training = {"l2": 2.0, "learning_rate": 1e-9, "max_epochs": 1, "scale_targets": scale_targets}
    result = train(targets=targets, sweep=sweep, hidden_layers=(4,), **training)
    (warning,) = (one for one in result.warnings if one.code == "not_better_than_constant")
    rmse = result.metrics["rmse"]
    assert isinstance(rmse, float) and result.cost > rmse**2 + 1
    assert f"its mean loss is {rmse**2:.4g}," in warning.detail


def check_that_the_figures_are_those_of_the_first_fold(result: Result, models: ModelStore, *, n_folds: int) -> None:
    model = models.load("m", 1)
    dataset = Dataset(np.array(FEATURES), np.array(TARGETS)[:, np.newaxis])
    fold_of = assign_folds(dataset, model.task, n_folds, 0)
    held_out, trained = (dataset.take(np.flatnonzero(rows)) for rows in (fold_of == 0, fold_of != 0))
    errors = {rows: forward(model.network, rows.features) - rows.targets for rows in (held_out, trained)}
    assert result.validation_cost == pytest.approx(float((errors[held_out] ** 2).mean()), rel=1e-9)
    assert result.cost == pytest.approx(float((errors[trained] ** 2).mean()), rel=1e-9)
    figures = evaluate(model.task, forward(model.network, held_out.features), held_out.targets)
    assert (result.metrics["evaluated_on"], result.metrics["n_instances"]) == ("validation", 120 // n_folds)
    assert result.metrics["confusion_matrix"] == figures["confusion_matrix"]
    assert result.metrics["log_loss"] == pytest.approx(figures["log_loss"], rel=1e-9)
    assert result.is_refitted is False


def test_a_refit_that_is_interrupted_in_its_first_epoch_fails_no_job(
    train: Train, monkeypatch: pytest.MonkeyPatch, jobs: JobStore
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise TimeUpError

    monkeypatch.setattr("worker.sweep.refit", interrupted)
    result = train(sweep=Sweep(GRID, refit=True), max_epochs=20)
    assert (result.stop_reason, result.is_refitted) == ("time_limit", False)
    (job,), _ = jobs.page(limit=1)
    messages = [event.data["message"] for event in jobs.events(job.id, limit=100)[0] if event.type == "log"]
    assert messages == ["the time limit passed before the refit ended: publishing the network that was measured"]


def test_a_job_whose_only_candidate_diverges_on_one_fold_has_diverged(train: Train) -> None:
    # Only the fold that holds the outlier out learns at this rate: 2 mean(x^2) is 2 there, and 2e6 / 8 elsewhere.
    features = [[1000.0], *([1.0] for _ in range(11))]
    with pytest.raises(DivergedError):
        train(
            features=features,
            targets=[1000.0, *(1.5 for _ in range(11))],
            validation=ValidationConfig(folds=3),
            learning_rate=0.1,
            standardize=False,
            tolerance=0.0,
            max_epochs=500,
        )


def test_four_thousand_candidates_on_a_hundred_folds_are_ranked() -> None:
    """Each network is looked at once; once for each candidate, as before, took half a minute."""
    n_candidates, n_folds = 4096, 100
    fold_of = np.arange(200) % n_folds
    dataset = Dataset(np.zeros((200, 1)), np.zeros((200, 1)))
    candidates = tuple(Candidate(0.5, 0.0, seed) for seed in range(n_candidates))
    same: dict[str, Any] = {"make": None, "standardization": None, "cost": 0.5, "learning_rate": 0.5}
    networks = [
        TrainedNetwork(
            k, fold, validation_cost=float(n_candidates - k), epochs=9, best_epoch=7, stop_reason="converged", **same
        )
        for k in range(n_candidates)
        for fold in range(n_folds)
    ]
    sweep = _Sweep(Inputs(training_spec(), dataset, 1), candidates, fold_of)
    board = _leaderboard(sweep, _by_candidate(networks))
    assert [entry.candidate for entry in board] == list(reversed(range(n_candidates)))
    assert (board[0].rank, board[0].validation_cost, board[-1].validation_cost) == (1, 1.0, float(n_candidates))
