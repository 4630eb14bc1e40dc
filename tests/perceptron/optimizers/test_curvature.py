"""The automatic learning rate is one over the curvature, and with it the cost never rises."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from perceptron import (
    Architecture,
    Candidate,
    Dataset,
    InvalidConfigError,
    InvalidDatasetError,
    NetworkConfig,
    Networks,
    Objective,
    Standardization,
    TrainingConfig,
    fit,
    fit_sweep,
    flatten,
    with_learning_rate,
)
from perceptron.activations import ACTIVATIONS
from perceptron.losses import LOSSES
from perceptron.optimizers import curvature
from perceptron.optimizers.curvature import auto_learning_rate
from perceptron.training import initial_parameters

CURVATURES = {
    (activation, loss): LOSSES[loss].curvature(record)
    for loss in LOSSES
    for activation, record in ACTIVATIONS.items()
    if activation != "step" and activation in (LOSSES[loss].activations or ACTIVATIONS)
}
PAIRS = sorted(CURVATURES)
AUTO = TrainingConfig(learning_rate="auto")


def problem(activation, seed=0, n_instances=60, n_features=4, is_weighted=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_instances, n_features)) * rng.uniform(0.1, 5, n_features) + rng.normal(size=4)[0]
    targets = {
        "identity": rng.normal(size=(n_instances, 2)) * 10,
        "sigmoid": rng.random((n_instances, 2)).round(),
        "tanh": rng.uniform(-1, 1, (n_instances, 2)).round(),
        "relu": rng.exponential(3.0, (n_instances, 2)),
        "softmax": np.eye(3)[rng.integers(0, 3, n_instances)],
    }[activation]
    return Dataset(features, targets, rng.exponential(1.0, n_instances) if is_weighted else None)


def test_the_rate_of_two_instances_by_hand():
    # x~ = (1, 1) and (-1, 1): their mean square is the identity, so L = 2 * 1 + 2 * 0.5
    dataset = Dataset(np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]]))
    config = TrainingConfig(learning_rate="auto", l2=0.5)
    assert auto_learning_rate(dataset, NetworkConfig("identity"), config) == pytest.approx(1 / 3, rel=1e-15)
    assert with_learning_rate(dataset, NetworkConfig("identity"), config).learning_rate == pytest.approx(1 / 3)
    assert with_learning_rate(dataset, NetworkConfig("identity"), TrainingConfig()) == TrainingConfig()


def test_weights_count_instances():
    # weights 3 and 1: 1.5 (1, 1)(1, 1)' + 0.5 (-1, 1)(-1, 1)', over 2: [[1, 0.5], [0.5, 1]] of eigenvalue 1.5
    dataset = Dataset(np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]]), np.array([3.0, 1.0]))
    assert auto_learning_rate(dataset, NetworkConfig("identity"), AUTO) == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize("shape", [(60, 4), (5, 12)])
def test_the_smaller_matrix_has_the_same_eigenvalue(shape):
    dataset = Dataset(np.random.default_rng(0).normal(size=shape), np.zeros((shape[0], 1)))
    inputs = np.column_stack([dataset.features, np.ones(shape[0])])
    expected = np.linalg.norm(inputs, 2) ** 2 / shape[0]
    rate = auto_learning_rate(dataset, NetworkConfig("identity"), AUTO)
    assert 1 / rate == pytest.approx(2 * expected, rel=1e-12)


def test_of_large_matrices_the_trace_bounds_the_eigenvalue(monkeypatch):
    monkeypatch.setattr(curvature, "MAX_EIGENVALUE_SIZE", 3)
    # mean squares 2.5 and 1
    dataset = Dataset(np.array([[1.0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 0, 0]]), np.zeros((4, 1)))
    assert auto_learning_rate(dataset, NetworkConfig("identity"), AUTO) == pytest.approx(1 / 7, rel=1e-15)


@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_no_second_derivative_is_larger_than_the_constant(activation, loss):
    # finite differences of the derivative dl/dz that the training uses, along random directions
    rng = np.random.default_rng(3)
    n, n_outputs, step = 200_000, 3 if activation == "softmax" else 1, 1e-5
    z = rng.normal(size=(n, 1, n_outputs)) * 3
    direction = rng.normal(size=z.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    if activation == "softmax":
        targets = np.eye(3)[rng.integers(0, 3, n)][:, np.newaxis]
    else:
        low, high = max(ACTIVATIONS[activation].low, -5.0), min(ACTIVATIONS[activation].high, 5.0)
        targets = rng.choice([low, (low + high) / 2, high], z.shape)
    before, after = (
        LOSSES[loss].evaluate(ACTIVATIONS[activation], z + side * step * direction, targets)[1] for side in (-1, 1)
    )
    largest = ((after - before) * direction).sum(axis=-1).max() / (2 * step)
    constant = CURVATURES[activation, loss]
    assert largest <= constant * (1 + 1e-6)
    # and it is no larger than it has to be, but for softmax with squared errors
    assert largest > constant * (0.5 if (activation, loss) == ("softmax", "mean_squared_error") else 0.95)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_the_cost_never_rises(activation, loss, seed, l2, is_weighted):
    dataset = problem(activation, seed, is_weighted=is_weighted)
    config = TrainingConfig(
        loss=loss, learning_rate="auto", l2=l2, tolerance=0.0, max_epochs=200, initialization="glorot_uniform"
    )
    costs = np.array([result.cost for result in fit(dataset, NetworkConfig(activation), config)])
    assert (np.diff(costs) <= 1e-14 * costs[0]).all()


def test_auto_trains_as_the_number_that_it_stands_for():
    dataset, network = problem("sigmoid"), NetworkConfig("sigmoid")
    number = with_learning_rate(dataset, network, AUTO)
    *_, last = fit(dataset, network, AUTO)
    *_, expected = fit(dataset, network, number)
    np.testing.assert_array_equal(last.network.layers[0].weights, expected.network.layers[0].weights)


@pytest.mark.parametrize("batch_size", [None, 25])
@pytest.mark.parametrize("fold_of", [None, np.arange(60) % 3])
def test_each_fold_of_a_sweep_has_the_rate_of_what_it_trains_on(fold_of, batch_size):
    dataset, network = problem("sigmoid", is_weighted=True), NetworkConfig("sigmoid")
    candidates = [Candidate("auto", 0.0, 0), Candidate(0.5, 0.0, 0), Candidate("auto", 0.2, 0)]
    *_, last = fit_sweep(
        dataset, network, TrainingConfig(max_epochs=5, batch_size=batch_size), candidates, fold_of=fold_of
    )
    trained = last.trained()
    for result in trained:
        rows = dataset if fold_of is None else dataset.take(np.flatnonzero(fold_of != result.fold))
        rows = rows.with_features(Standardization.of(rows.features, rows.instance_weights).apply(rows.features))
        config = with_learning_rate(rows, network, candidates[result.candidate].config(TrainingConfig()))
        assert result.learning_rate == pytest.approx(config.learning_rate, rel=1e-10)


@pytest.mark.parametrize(
    ("network", "optimizer", "message"),
    [
        (NetworkConfig("step"), "perceptron_rule", "auto needs outputs with a gradient, got step"),
        (NetworkConfig("sigmoid"), "adam", "got adam"),
    ],
)
def test_auto_needs_a_layer_of_known_curvature(network, optimizer, message):
    dataset = Dataset(np.zeros((2, 1)), np.array([[0.0], [1.0]]))
    config = TrainingConfig(learning_rate="auto", optimizer=optimizer)
    for refused in (fit, auto_learning_rate):
        with pytest.raises(InvalidConfigError, match=message) as error:
            refused(dataset, network, config)
        assert error.value.field == "training/learning_rate"


@pytest.mark.parametrize("learning_rate", ["fast", "0.5", "", 0.0, float("nan")])
def test_no_other_text_is_a_learning_rate(learning_rate):
    with pytest.raises(InvalidConfigError, match='or "auto"'):
        TrainingConfig(learning_rate=learning_rate)


def test_features_too_large_for_any_rate_are_refused():
    dataset = Dataset(np.array([[1e200], [-1e200]]), np.array([[0.0], [1.0]]))
    with pytest.raises(InvalidDatasetError, match="too large for learning_rate auto"):
        auto_learning_rate(dataset, NetworkConfig("sigmoid"), AUTO)


@pytest.mark.parametrize(("activation", "loss"), [("identity", "mean_squared_error"), ("sigmoid", "cross_entropy")])
def test_with_hidden_layers_it_is_the_curvature_at_the_start(activation, loss):
    # the Hessian column by column, by central differences of the gradient
    rng = np.random.default_rng(5)
    features = rng.normal(size=(30, 2))
    dataset = Dataset(features, (features[:, :1] * features[:, 1:] > 0).astype(float))
    network = NetworkConfig(activation, (3,))
    config = TrainingConfig(learning_rate="auto", loss=loss, l2=0.25, seed=4)
    architecture = Architecture.of(network, n_inputs=2, n_outputs=1)
    objective = Objective(architecture, dataset, loss=loss)
    start = initial_parameters(architecture, network, config)
    shifts = 1e-5 * np.eye(start.size)
    both = [objective.evaluate(start + sign * shifts, Networks(np.zeros(start.size))).gradients for sign in (1, -1)]
    largest = np.abs(np.linalg.eigvalsh((both[0] - both[1]) / 2e-5)).max()
    assert auto_learning_rate(dataset, network, config) == pytest.approx(1 / (largest + 2 * 0.25), rel=0.01)
    *_, last = fit(dataset, network, config)
    assert last.stop_reason != "diverged"


def plain_adaptive_costs(dataset, network, config, n_epochs):
    """Halve the rate where the cost would rise, and raise it by a tenth after each step: the plain way."""
    architecture = Architecture.of(network, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset, loss=config.loss)
    rate, parameters = auto_learning_rate(dataset, network, config), initial_parameters(architecture, network, config)
    costs, n_halvings = [], 0
    for _ in range(n_epochs):
        cost, gradient, _ = objective.evaluate(parameters[np.newaxis], Networks.single(config.l2))
        while objective.cost((parameters - rate * gradient[0])[np.newaxis], Networks.single(config.l2))[0] > cost[0]:
            rate /= 2
            n_halvings += 1
        parameters = parameters - rate * gradient[0]
        rate *= 1.1
        costs.append(float(objective.cost(parameters[np.newaxis], Networks.single(config.l2))[0]))
    return costs, n_halvings


def test_with_hidden_layers_the_rate_follows_the_cost():
    dataset, network = problem("sigmoid", is_weighted=True), NetworkConfig("sigmoid", (4,))
    config = TrainingConfig(learning_rate="auto", l2=0.01, tolerance=0.0, max_epochs=100)
    expected, n_halvings = plain_adaptive_costs(dataset, network, config, 100)
    assert n_halvings > 3
    costs = [result.cost for result in fit(dataset, network, config)]
    np.testing.assert_allclose(costs, expected, rtol=1e-9)
    assert (np.diff(costs) <= 0).all()
    known = auto_learning_rate(dataset, network, config)
    assert [result.cost for result in fit(dataset, network, config, auto_rate=known)] == costs
    fixed = [result.cost for result in fit(dataset, network, replace(config, learning_rate=known))]
    assert fixed[-1] > costs[-1]


def test_networks_of_a_sweep_follow_their_own_costs():
    dataset, network = problem("sigmoid"), NetworkConfig("sigmoid", (4,))
    config = TrainingConfig(tolerance=0.0, max_epochs=60, standardize=False)
    candidates = [Candidate("auto", 0.0, 0), Candidate(0.5, 0.0, 0), Candidate("auto", 0.02, 3)]
    *_, last = fit_sweep(dataset, network, config, candidates)
    for result, candidate in zip(last.trained(), candidates, strict=True):
        *_, alone = fit(dataset, network, candidate.config(config))
        np.testing.assert_allclose(flatten(result.network), flatten(alone.network), rtol=1e-7, atol=1e-9)


def test_at_rounding_of_the_minimum_an_epoch_ends_and_raises_no_cost(monkeypatch):
    # The cost can only rise by rounding there, and each rise halves the rate once more.
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 2))
    dataset = Dataset(features, features @ np.array([[0.3], [-1.7]]) + 0.1 * rng.normal(size=(40, 1)))
    counts = []
    evaluate = Objective.evaluate

    def counted(*arguments, **options):
        counts.append(1)
        return evaluate(*arguments, **options)

    monkeypatch.setattr(Objective, "evaluate", counted)
    config = TrainingConfig(learning_rate="auto", max_epochs=3000, tolerance=0.0)
    costs = [result.cost for result in fit(dataset, NetworkConfig("identity", (2,)), config)]
    assert all(after <= before for before, after in pairwise(costs))
    assert len(counts) < 62 * len(costs)
