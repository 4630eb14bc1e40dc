"""A sweep gives each candidate what it would get alone, and says which is best."""

import numpy as np
import pytest

from perceptron import (
    Candidate,
    Dataset,
    DivergedError,
    NetworkConfig,
    Standardization,
    TrainingConfig,
    fit,
    fit_sweep,
    flatten,
)

GRID = [Candidate(rate, l2, seed) for rate in (0.1, 0.5) for l2 in (0.0, 0.01) for seed in (0, 1)]


def a_problem(n_instances=90, n_features=5, n_outputs=1, is_weighted=False):
    rng = np.random.default_rng(4)
    features = rng.normal(size=(n_instances, n_features)) * rng.uniform(0.1, 30, n_features) + 50
    if n_outputs == 1:
        z = features @ rng.normal(size=(n_features, 1)) + rng.normal(size=(n_instances, 1))
        targets = (z > np.median(z)).astype(float)
    else:
        targets = np.eye(n_outputs)[rng.integers(0, n_outputs, n_instances)]
    return Dataset(features, targets, rng.uniform(0.5, 2, n_instances) if is_weighted else None)


def trained(dataset, network, config, candidates=GRID, **more):
    *_, last = fit_sweep(dataset, network, config, candidates, **more)
    return last.trained()


def alone(dataset, network, config, candidate, fold_of=None, fold=None, patience=None):
    rows, held_out = dataset, None
    if fold is not None:
        rows, held_out = dataset.take(np.flatnonzero(fold_of != fold)), dataset.take(np.flatnonzero(fold_of == fold))
    standardization = Standardization.of(rows.features, rows.instance_weights)
    rows = rows.with_features(standardization.apply(rows.features))
    if held_out is not None:
        held_out = held_out.with_features(standardization.apply(held_out.features))
    config = candidate.config(config)
    *_, last = fit(rows, network, config, validation=held_out, early_stopping_patience=patience)
    return last


SHAPES = [
    (NetworkConfig("sigmoid"), "mean_squared_error", 1),
    (NetworkConfig("sigmoid"), "cross_entropy", 1),
    (NetworkConfig("softmax"), "cross_entropy", 3),
    (NetworkConfig("identity"), "mean_squared_error", 3),
    (NetworkConfig("sigmoid", (4,)), "cross_entropy", 1),
    (NetworkConfig("softmax", (6, 3), "relu"), "cross_entropy", 3),
]


@pytest.mark.parametrize(("network", "loss", "n_outputs"), SHAPES)
@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum", "adam"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_each_candidate_gets_the_weights_it_would_get_alone(network, loss, n_outputs, optimizer, is_weighted):
    dataset = a_problem(n_outputs=n_outputs, is_weighted=is_weighted)
    config = TrainingConfig(optimizer=optimizer, loss=loss, max_epochs=40, tolerance=0.0)
    for result in trained(dataset, network, config):
        expected = alone(dataset, network, config, GRID[result.candidate])
        np.testing.assert_allclose(flatten(result.network), flatten(expected.network), rtol=1e-10, atol=1e-10)
        assert result.cost == pytest.approx(expected.cost, rel=1e-10)
        assert (result.epochs, result.stop_reason) == (expected.epoch, expected.stop_reason)


@pytest.mark.parametrize(("network", "loss", "n_outputs"), SHAPES)
@pytest.mark.parametrize("patience", [None, 3])
def test_folds_are_trained_as_if_the_rows_held_out_were_not_there(network, loss, n_outputs, patience):
    dataset = a_problem(n_outputs=n_outputs, is_weighted=True)
    fold_of = np.arange(90) % 3
    config = TrainingConfig(loss=loss, max_epochs=30, tolerance=1e-4)
    results = trained(dataset, network, config, fold_of=fold_of, early_stopping_patience=patience)
    assert len(results) == 3 * len(GRID)
    for result in results:
        expected = alone(dataset, network, config, GRID[result.candidate], fold_of, result.fold, patience)
        assert (result.epochs, result.best_epoch) == (expected.epoch, expected.best.epoch)
        assert result.stop_reason == expected.stop_reason
        np.testing.assert_allclose(flatten(result.network), flatten(expected.best.network), rtol=1e-9, atol=1e-9)
        assert result.validation_cost == pytest.approx(expected.best.validation_cost, rel=1e-9)


@pytest.mark.parametrize(("network", "loss", "n_outputs"), SHAPES[:4])
def test_lbfgs_brings_every_candidate_of_a_sweep_to_its_own_minimum(network, loss, n_outputs):
    dataset = a_problem(n_outputs=n_outputs)
    config = TrainingConfig(optimizer="lbfgs", loss=loss, max_epochs=300, tolerance=0.0)
    candidates = [Candidate(0.5, l2, 0) for l2 in (0.001, 0.01, 0.1, 1.0)]
    for result in trained(dataset, network, config, candidates):
        expected = alone(dataset, network, config, candidates[result.candidate])
        assert result.cost == pytest.approx(expected.cost, rel=1e-9)
        np.testing.assert_allclose(flatten(result.network), flatten(expected.network), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "config"),
    [
        (NetworkConfig("step"), TrainingConfig(optimizer="perceptron_rule", max_epochs=5)),
        (NetworkConfig("sigmoid"), TrainingConfig(batch_size=16, max_epochs=5)),
        (NetworkConfig("sigmoid"), TrainingConfig(optimizer="newton", max_epochs=5)),
    ],
)
def test_what_shares_no_product_is_trained_one_by_one_to_the_same_end(network, config):
    dataset = a_problem()
    candidates = [Candidate(0.5, 0.0, seed) for seed in range(3)]
    fold_of = np.arange(90) % 2
    for result in trained(dataset, network, config, candidates, fold_of=fold_of):
        expected = alone(dataset, network, config, candidates[result.candidate], fold_of, result.fold)
        np.testing.assert_allclose(flatten(result.network), flatten(expected.network), rtol=1e-10, atol=1e-10)


def test_rows_of_no_fold_always_train():
    dataset = a_problem()
    fold_of = np.where(np.arange(90) < 20, 0, -1)
    config = TrainingConfig(max_epochs=10, tolerance=0.0)
    (result,) = trained(dataset, NetworkConfig("sigmoid"), config, GRID[:1], fold_of=fold_of)
    expected = alone(dataset, NetworkConfig("sigmoid"), config, GRID[0], fold_of, 0)
    np.testing.assert_allclose(flatten(result.network), flatten(expected.network), rtol=1e-10)


def test_a_candidate_that_diverges_does_not_take_the_others_along():
    dataset = a_problem(n_outputs=3)
    candidates = [Candidate(0.05, 0.0, 0), Candidate(1e6, 0.0, 0)]
    config = TrainingConfig(max_epochs=400, tolerance=0.0)
    good, bad = trained(dataset, NetworkConfig("identity"), config, candidates)
    assert (good.stop_reason, bad.stop_reason) == ("max_epochs", "diverged")
    assert bad.network is bad.cost is None
    with pytest.raises(DivergedError):
        trained(dataset, NetworkConfig("identity"), config, candidates[1:])


def test_float32_candidates_agree_with_themselves_alone_to_1e_5():
    dataset = a_problem()
    config = TrainingConfig(max_epochs=30, tolerance=0.0, dtype="float32")
    for result in trained(dataset, NetworkConfig("sigmoid"), config):
        expected = alone(dataset, NetworkConfig("sigmoid"), config, GRID[result.candidate])
        np.testing.assert_allclose(flatten(result.network), flatten(expected.network), rtol=1e-5, atol=1e-5)


def test_progress_tells_how_many_still_train_and_the_lowest_costs():
    dataset = a_problem()
    config = TrainingConfig(max_epochs=50, tolerance=1e-4)
    seen = list(fit_sweep(dataset, NetworkConfig("sigmoid"), config, GRID, fold_of=np.arange(90) % 3, every=5))
    assert [progress.epoch for progress in seen[:3]] == [5, 10, 15]
    running = [progress.n_running for progress in seen]
    assert running == sorted(running, reverse=True)
    assert running[-1] == 0
    assert [progress.is_last for progress in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].validation_cost == min(result.validation_cost for result in seen[-1].trained())
