"""Every optimizer against implementations that are not ours: scipy.optimize and scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge

from perceptron import (
    Dataset,
    NetworkConfig,
    TrainingConfig,
    fit,
)
from perceptron.optimizers.perceptron_rule import perceptron_rule_epoch

# By optimizer: learning rate, epochs, and how near to the optimum's weights they lead.
WAYS = [
    ("gradient_descent", 0.5, 3_000, 1e-5),
    ("momentum", 0.1, 2_000, 1e-5),
    ("adam", 0.003, 5_000, 1e-4),
    ("lbfgs", 1.0, 300, 1e-5),
    ("newton", 1.0, 30, 1e-7),
]
L2 = 0.02


def a_problem(n_outputs, *, is_weighted=True):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3))
    features /= features.std(axis=0)
    z = features @ rng.normal(size=(3, n_outputs)) + rng.normal(size=(60, n_outputs))
    classes = z.argmax(axis=1) if n_outputs > 1 else (z[:, 0] > 0).astype(int)
    weights = rng.uniform(0.2, 3.0, 60) if is_weighted else np.ones(60)
    return features, z, classes, weights


def at_rate(way, learning_rate):
    return (way[0], learning_rate, *way[2:]) if way[0] != "adam" else way


def trained(features, targets, weights, activation, loss, way, dtype="float64"):
    optimizer, learning_rate, max_epochs, _ = way
    config = TrainingConfig(
        loss=loss, optimizer=optimizer, learning_rate=learning_rate, max_epochs=max_epochs, tolerance=0.0, l2=L2,
        dtype=dtype,
    )  # fmt: skip
    results = fit(Dataset(features, targets, weights), NetworkConfig(activation), config, every=max_epochs)
    *_, last = results
    (layer,) = last.network.layers
    return layer


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_two_classes_come_to_the_weights_of_scikit_learns_logistic_regression(way):
    features, _, classes, weights = a_problem(1)
    # it minimises C sum_i w_i loss_i + |w|^2 / 2, which is C sum w times our cost where 1 / (2 C sum w) = l2
    model = LogisticRegression(C=1 / (2 * L2 * weights.sum()), tol=1e-12, max_iter=10_000)
    model.fit(features, classes, sample_weight=weights)
    layer = trained(features, classes[:, np.newaxis], weights, "sigmoid", "cross_entropy", way)
    np.testing.assert_allclose(layer.weights[:, 0], model.coef_[0], atol=way[3])
    np.testing.assert_allclose(layer.bias, model.intercept_, atol=way[3])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_three_classes_come_to_the_weights_of_scikit_learns_logistic_regression(way):
    features, _, classes, weights = a_problem(3)
    model = LogisticRegression(C=1 / (2 * L2 * weights.sum()), tol=1e-12, max_iter=10_000)
    model.fit(features, classes, sample_weight=weights)
    layer = trained(features, np.eye(3)[classes], weights, "softmax", "cross_entropy", way)
    np.testing.assert_allclose(layer.weights, model.coef_.T, atol=way[3])
    # biases are unique but for a number added to all of them
    np.testing.assert_allclose(layer.bias - layer.bias.mean(), model.intercept_ - model.intercept_.mean(), atol=way[3])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_regression_with_two_targets_comes_to_the_weights_of_scikit_learns_ridge(way):
    features, targets, _, weights = a_problem(2)
    model = Ridge(alpha=L2 * weights.sum(), tol=1e-12).fit(features, targets, sample_weight=weights)
    way = at_rate(way, way[1] / 10)  # the curvature of this cost is larger
    layer = trained(features, targets, weights, "identity", "mean_squared_error", way)
    np.testing.assert_allclose(layer.weights, model.coef_.T, atol=way[3])
    np.testing.assert_allclose(layer.bias, model.intercept_, atol=way[3])


def output(activation, z):
    if activation == "softmax":
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "identity": lambda z: z}[activation](z)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softmax"])
def test_squared_errors_come_to_the_minimum_that_scipy_finds(activation, way):
    # Not convex, but from zeros both come down into the same valley.
    n_outputs = 3 if activation == "softmax" else 1
    features, _, classes, weights = a_problem(n_outputs)
    targets = np.eye(3)[classes] if n_outputs == 3 else classes[:, np.newaxis].astype(float)

    def cost(flat):
        w, b = flat[: 3 * n_outputs].reshape(3, n_outputs), flat[3 * n_outputs :]
        losses = ((targets - output(activation, features @ w + b)) ** 2).sum(axis=1)
        return weights @ losses / weights.sum() + L2 * (w**2).sum()

    found = minimize(cost, np.zeros(4 * n_outputs), method="BFGS", options={"gtol": 1e-9})
    way = at_rate(way, way[1] / 4) if activation == "tanh" else way
    layer = trained(features, targets, weights, activation, "mean_squared_error", way)
    w, b = found.x[: 3 * n_outputs].reshape(3, n_outputs), found.x[3 * n_outputs :]
    precision = max(way[3], 1e-5)  # scipy's own gradient is numerical
    np.testing.assert_allclose(layer.weights, w, atol=precision)
    if activation == "softmax":
        b, layer = b - b.mean(), replace(layer, bias=layer.bias - layer.bias.mean())
    np.testing.assert_allclose(layer.bias, b, atol=precision)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton"])
def test_float32_comes_as_near_as_its_digits_reach(optimizer):
    features, _, classes, weights = a_problem(1)
    model = LogisticRegression(C=1 / (2 * L2 * weights.sum()), tol=1e-12, max_iter=10_000)
    model.fit(features, classes, sample_weight=weights)
    way = (optimizer, 1.0, 100, 1e-3)
    layer = trained(features, classes[:, np.newaxis], weights, "sigmoid", "cross_entropy", way, dtype="float32")
    np.testing.assert_allclose(layer.weights[:, 0], model.coef_[0], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_perceptron_rule_takes_the_steps_of_scikit_learns_perceptron(seed):
    features, _, classes, _ = a_problem(1)
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=3), 0.1  # not zeros: where z is 0 exactly, the two call different outputs right
    order = np.random.default_rng([seed, 1]).permutation(60)
    theirs = Perceptron(eta0=0.3, max_iter=1, tol=None, shuffle=False)
    theirs.fit(features[order], classes[order], coef_init=weights.copy(), intercept_init=np.array([bias]))
    dataset = Dataset(features, classes[:, np.newaxis])
    moved, moved_bias, n_mistakes = perceptron_rule_epoch(weights, bias, dataset, 0.3, np.random.default_rng([seed, 1]))
    assert n_mistakes > 5
    np.testing.assert_allclose(moved, theirs.coef_[0], rtol=1e-12)
    np.testing.assert_allclose(moved_bias, theirs.intercept_[0], rtol=1e-12)
