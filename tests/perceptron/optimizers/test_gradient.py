import itertools

import numpy as np
import pytest

from perceptron import Architecture, Dataset, NetworkConfig, TrainingConfig, fit, flatten
from perceptron.optimizers.gradient import adam, gradient_descent, momentum
from tests.perceptron.one_network import OneNetwork


def test_gradient_descent_goes_against_the_gradient():
    optimizer = gradient_descent(0.5)
    w = np.array([1.0, 2.0])
    moved, _ = optimizer.update(np.array([4.0, -2.0]), optimizer.init(w), w)
    np.testing.assert_array_equal(moved, [-1.0, 3.0])
    np.testing.assert_array_equal(w, [1.0, 2.0])


def test_two_steps_of_nesterov_momentum_by_hand():
    # decay 0.5, alpha 0.1, gradients 1 then 2: v = 1, w = 0 - 0.1 (1 + 0.5) = -0.15
    # v = 0.5 + 2 = 2.5, w = -0.15 - 0.1 (2 + 1.25) = -0.475
    optimizer = momentum(0.1, decay=0.5)
    w = np.zeros(1)
    w, state = optimizer.update(np.array([1.0]), optimizer.init(w), w)
    assert w[0] == pytest.approx(-0.15, rel=1e-15)
    w, state = optimizer.update(np.array([2.0]), state, w)
    assert w[0] == pytest.approx(-0.475, rel=1e-15)
    assert state.velocity[0] == 2.5


def test_two_steps_of_adam_by_hand():
    # t = 1: m / (1 - 0.9) = g and s / (1 - 0.999) = g^2, so the step is alpha * sign(g)
    # t = 2, g = 4, 0: m = 0.9 * 0.4 = 0.36, / 0.19; s = 0.999 * 0.016, / 0.001999
    optimizer = adam(0.1)
    w = np.zeros(2)
    w, state = optimizer.update(np.array([4.0, -1e-3]), optimizer.init(w), w)
    np.testing.assert_allclose(w, [-0.1, 0.1], rtol=1e-4)
    w, state = optimizer.update(np.array([0.0, 0.0]), state, w)
    expected = -0.1 - 0.1 * (0.36 / 0.19) / np.sqrt(0.999 * 0.016 / 0.001999)
    assert w[0] == pytest.approx(expected, rel=1e-8)
    assert state.n_updates == 2


def ridge():
    """Give a data set, and the w and b that minimise mean (y - x w - b)^2 + l2 w'w, in closed form."""
    rng = np.random.default_rng(11)
    features = rng.normal(size=(50, 4)) * [1.0, 2.0, 0.5, 1.0] + 1.0
    targets = features @ [1.0, -1.0, 2.0, 0.0] + 3.0 + rng.normal(size=50)
    l2 = 0.1
    centred = features - features.mean(axis=0)
    # the bias is not penalised: solve for w in the centred data, then b = mean y - mean x . w
    w = np.linalg.solve(centred.T @ centred / 50 + l2 * np.eye(4), centred.T @ (targets - targets.mean()) / 50)
    b = targets.mean() - features.mean(axis=0) @ w
    return Dataset(features, targets[:, np.newaxis]), l2, np.append(w, b)


@pytest.mark.parametrize(
    ("optimizer", "learning_rate", "max_epochs", "precision"),
    [
        ("gradient_descent", 0.05, 5000, 1e-9),
        ("momentum", 0.02, 2000, 1e-9),
        ("adam", 0.05, 5000, 1e-6),
        ("lbfgs", 0.5, 50, 1e-6),
        ("newton", 0.5, 3, 1e-12),
    ],
)
def test_every_optimizer_finds_the_optimum_of_ridge_regression(optimizer, learning_rate, max_epochs, precision):
    dataset, l2, optimum = ridge()
    config = TrainingConfig(
        optimizer=optimizer, learning_rate=learning_rate, max_epochs=max_epochs, l2=l2, tolerance=0.0
    )
    *_, last = fit(dataset, NetworkConfig("identity"), config)
    np.testing.assert_allclose(flatten(last.network), optimum, atol=precision)


def test_lbfgs_never_raises_the_cost_and_is_soon_at_the_optimum():
    dataset, l2, optimum = ridge()
    config = TrainingConfig(optimizer="lbfgs", l2=l2, tolerance=1e-12)
    results = list(fit(dataset, NetworkConfig("identity"), config))
    costs = [result.cost for result in results]
    assert all(after <= before for before, after in itertools.pairwise(costs))
    assert results[-1].stop_reason == "converged"
    assert len(results) < 25
    np.testing.assert_allclose(flatten(results[-1].network), optimum, atol=1e-4)


def test_lbfgs_at_rest_costs_no_more_evaluations():
    dataset = Dataset(np.zeros((1, 1)), np.zeros((1, 1)))
    config = TrainingConfig(optimizer="lbfgs", tolerance=0.0, max_epochs=30)
    *_, last = fit(dataset, NetworkConfig("identity"), config)
    assert (last.epoch, last.cost, last.stop_reason) == (30, 0.0, "max_epochs")


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"),
    # adam's steps shrink with alpha, not with the gradient: near the minimum it needs a small one
    [("gradient_descent", 0.5), ("momentum", 0.1), ("adam", 0.005), ("lbfgs", 1.0), ("newton", 1.0)],
)
@pytest.mark.parametrize("loss", ["mean_squared_error", "cross_entropy"])
def test_every_optimizer_brings_the_gradient_of_a_penalised_classifier_to_rest(optimizer, learning_rate, loss):
    # With a penalty the cross-entropy is strictly convex: a gradient of 0 is its minimum.
    rng = np.random.default_rng(2)
    features = rng.normal(size=(80, 3))
    targets = (features[:, :1] + rng.normal(size=(80, 1)) > 0).astype(float)
    dataset, network = Dataset(features, targets), NetworkConfig("sigmoid")
    config = TrainingConfig(
        optimizer=optimizer, loss=loss, l2=0.05, learning_rate=learning_rate, max_epochs=5000, tolerance=0.0
    )
    *_, last = fit(dataset, network, config)
    objective = OneNetwork(Architecture.of_network(last.network), dataset, loss=loss, l2=0.05)
    assert np.abs(objective.evaluate(flatten(last.network)).gradient).max() < 1e-6


def test_gradient_descent_never_raises_the_cost_with_a_step_below_1_over_the_curvature():
    # For a convex cost of largest curvature L any alpha <= 1/L decreases it: here L = largest eigenvalue of 2/n X'X.
    dataset, _, _ = ridge()
    with_bias = np.column_stack([dataset.features, np.ones(50)])
    largest = np.linalg.eigvalsh(2 / 50 * with_bias.T @ with_bias)[-1]
    config = TrainingConfig(learning_rate=1 / largest, tolerance=0.0, max_epochs=300)
    costs = [result.cost for result in fit(dataset, NetworkConfig("identity"), config)]
    assert all(after < before for before, after in itertools.pairwise(costs))
