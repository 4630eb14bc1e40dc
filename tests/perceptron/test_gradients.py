"""Backpropagation against central finite differences, which know nothing of the chain rule."""

import threading
import time

import numpy as np
import pytest

from perceptron import Architecture, Dataset, NetworkConfig, objective
from perceptron.cost import CostKernel
from tests.perceptron.one_network import OneNetwork

OUTPUTS_AND_LOSSES = [
    ("identity", "mean_squared_error"),
    ("sigmoid", "mean_squared_error"),
    ("tanh", "mean_squared_error"),
    ("relu", "mean_squared_error"),
    ("softmax", "mean_squared_error"),
    ("sigmoid", "cross_entropy"),
    ("softmax", "cross_entropy"),
]


def numerical_gradient(cost, parameters, width=1e-6):
    gradient = np.empty_like(parameters)
    for k in range(len(parameters)):
        ahead, behind = parameters.copy(), parameters.copy()
        ahead[k] += width
        behind[k] -= width
        gradient[k] = (cost(ahead) - cost(behind)) / (2 * width)
    return gradient


def a_problem(activation, *, hidden_layers, hidden_activation="tanh", is_weighted=False, n_instances=9):
    rng = np.random.default_rng(3)
    n_outputs = 3
    targets = np.eye(n_outputs)[rng.integers(0, n_outputs, n_instances)]
    weights = rng.uniform(0.0, 2.0, n_instances) if is_weighted else None
    dataset = Dataset(rng.normal(size=(n_instances, 4)), targets, weights)
    config = NetworkConfig(activation, hidden_layers, hidden_activation)
    architecture = Architecture.of(config, n_inputs=4, n_outputs=n_outputs)
    return architecture, dataset, rng.normal(size=architecture.n_parameters)


@pytest.mark.parametrize(("activation", "loss"), OUTPUTS_AND_LOSSES)
@pytest.mark.parametrize("hidden_layers", [(), (5,), (5, 3)])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_gradient_is_the_slope_of_the_cost(activation, loss, hidden_layers, l2, is_weighted):
    architecture, dataset, parameters = a_problem(activation, hidden_layers=hidden_layers, is_weighted=is_weighted)
    objective = OneNetwork(architecture, dataset, loss=loss, l2=l2)
    np.testing.assert_allclose(
        objective.evaluate(parameters).gradient,
        numerical_gradient(objective.cost, parameters),
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("hidden_activation", ["identity", "sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("hidden_layers", [(5,), (4, 3), (3, 3, 3, 3)])
def test_the_gradient_passes_back_through_every_hidden_activation(hidden_activation, hidden_layers):
    architecture, dataset, parameters = a_problem(
        "softmax", hidden_layers=hidden_layers, hidden_activation=hidden_activation
    )
    objective = OneNetwork(architecture, dataset, loss="cross_entropy", l2=0.01)
    np.testing.assert_allclose(
        objective.evaluate(parameters).gradient,
        numerical_gradient(objective.cost, parameters),
        rtol=1e-6,
        atol=1e-8,
    )


def test_the_cost_of_an_evaluation_is_the_cost():
    architecture, dataset, parameters = a_problem("sigmoid", hidden_layers=(5,), is_weighted=True)
    objective = OneNetwork(architecture, dataset, loss="cross_entropy", l2=0.3)
    assert objective.evaluate(parameters).cost == objective.cost(parameters)


def test_many_blocks_of_rows_give_what_one_would():
    # 36,000 rows are three blocks; 4,000 times the same 9 rows have the mean of the 9.
    architecture, small, parameters = a_problem("softmax", hidden_layers=(5,), is_weighted=True)
    large = small.take(np.tile(np.arange(9), 4000))
    once = OneNetwork(architecture, small, loss="cross_entropy", l2=0.1).evaluate(parameters)
    often = OneNetwork(architecture, large, loss="cross_entropy", l2=0.1).evaluate(parameters)
    assert often.cost == pytest.approx(once.cost, rel=1e-12)
    np.testing.assert_allclose(often.gradient, once.gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("hidden_layers", [(), (5,)])
def test_threads_change_no_byte(n_threads, hidden_layers, monkeypatch):
    monkeypatch.setattr(objective, "MIN_BLOCKS_PER_THREAD", 1)
    architecture, small, parameters = a_problem("softmax", hidden_layers=hidden_layers, is_weighted=True)
    dataset = small.take(np.random.default_rng(0).integers(0, 9, 90_000))
    alone = OneNetwork(architecture, dataset, loss="cross_entropy", l2=0.1).evaluate(parameters)
    shared = OneNetwork(architecture, dataset, loss="cross_entropy", l2=0.1, n_threads=n_threads).evaluate(parameters)
    assert (shared.cost, shared.gradient.tobytes()) == (alone.cost, alone.gradient.tobytes())


def test_an_instance_of_weight_2_counts_as_two_and_one_of_weight_0_not_at_all():
    architecture, dataset, parameters = a_problem("sigmoid", hidden_layers=(5,))
    weighted = Dataset(dataset.features, dataset.targets, np.array([2.0, 0, 1, 1, 1, 1, 1, 1, 1]))
    repeated = dataset.take(np.array([0, 0, 2, 3, 4, 5, 6, 7, 8]))
    one = OneNetwork(architecture, weighted, loss="mean_squared_error").evaluate(parameters)
    other = OneNetwork(architecture, repeated, loss="mean_squared_error").evaluate(parameters)
    assert one.cost == pytest.approx(other.cost, rel=1e-14)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-12, atol=1e-15)


def test_mini_batches_average_to_the_whole_gradient():
    architecture, dataset, parameters = a_problem("sigmoid", hidden_layers=(5,), is_weighted=True)
    objective = OneNetwork(architecture, dataset, loss="cross_entropy", l2=0.1)
    batches = [objective.evaluate_batch(parameters, rows) for rows in np.arange(9).reshape(3, 3)]
    whole = objective.evaluate(parameters)
    np.testing.assert_allclose(np.mean([batch.cost for batch in batches]), whole.cost, rtol=1e-12)
    np.testing.assert_allclose(
        np.mean([batch.gradient for batch in batches], axis=0), whole.gradient, rtol=1e-10, atol=1e-14
    )


def test_the_penalty_takes_the_weights_and_leaves_the_biases():
    # one instance x = 0, y = 0, identity: cost = b^2 + l2 (w1^2 + w2^2) = 25 + 0.1 (4 + 9)
    architecture = Architecture((2, 1), ("identity",))
    dataset = Dataset(np.zeros((1, 2)), np.zeros((1, 1)))
    objective = OneNetwork(architecture, dataset, loss="mean_squared_error", l2=0.1)
    cost, gradient = objective.evaluate(np.array([2.0, 3.0, 5.0]))
    assert cost == pytest.approx(26.3, rel=1e-15)
    np.testing.assert_allclose(gradient, [0.4, 0.6, 10.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("n_rows", "hidden_layers", "n_threads"), [(90_000, (), 1), (600_000, (), 2), (90_000, (8,), 2)]
)
def test_few_blocks_of_few_neurons_stay_with_one_thread(n_rows, hidden_layers, n_threads, monkeypatch):
    threads = set()
    add_block = CostKernel.add_block

    def recorded(self, *args, **options):
        threads.add(threading.get_ident())
        time.sleep(0.001)  # so that the first thread does not take all parts before the second begins
        add_block(self, *args, **options)

    monkeypatch.setattr(CostKernel, "add_block", recorded)
    architecture, small, parameters = a_problem("sigmoid", hidden_layers=hidden_layers)
    dataset = small.take(np.random.default_rng(0).integers(0, 9, n_rows))
    OneNetwork(architecture, dataset, loss="cross_entropy", n_threads=2).evaluate(parameters)
    assert len(threads) == n_threads
