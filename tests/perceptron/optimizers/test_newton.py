"""Newton's method: its matrix against finite differences, and the steps where it is singular."""

import itertools

import numpy as np
import pytest

from perceptron import (
    Architecture,
    Candidate,
    Dataset,
    InvalidConfigError,
    Network,
    NetworkConfig,
    Networks,
    Objective,
    TrainingConfig,
    fit,
    fit_sweep,
    flatten,
    forward,
)
from perceptron.optimizers import newton
from perceptron.optimizers.optimizer import Iterate
from tests.perceptron.one_network import OneNetwork
from tests.perceptron.test_gradients import OUTPUTS_AND_LOSSES, a_problem

EXACT = [("identity", "mean_squared_error"), ("sigmoid", "cross_entropy"), ("softmax", "cross_entropy")]


def jacobian(function, parameters, width=1e-6):
    columns = []
    for k in range(len(parameters)):
        ahead, behind = parameters.copy(), parameters.copy()
        ahead[k] += width
        behind[k] -= width
        columns.append((function(ahead) - function(behind)) / (2 * width))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize(("activation", "loss"), EXACT)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_curvature_is_the_slope_of_the_gradient(activation, loss, is_weighted):
    architecture, dataset, parameters = a_problem(activation, hidden_layers=(), is_weighted=is_weighted)
    objective = OneNetwork(architecture, dataset, loss=loss, l2=0.1)
    expected = jacobian(lambda p: objective.evaluate(p).gradient, parameters)
    curvature = newton.Curvature(architecture, dataset, loss=loss, l2=0.1)
    np.testing.assert_allclose(curvature.at(parameters), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "softmax"])
def test_for_squared_errors_it_is_the_curvature_with_linearized_outputs(activation):
    # Gauss-Newton: with errors e and J = de/dp, the Hessian of sum e^2 / n is 2 J'J / n where e is linear
    architecture, dataset, parameters = a_problem(activation, hidden_layers=(), is_weighted=True)
    of_outputs = jacobian(lambda p: forward(architecture.network(p), dataset.features), parameters)
    weights = dataset.instance_weights / dataset.instance_weights.mean()
    expected = 2 / 9 * np.einsum("n,nkp,nkq->pq", weights, of_outputs, of_outputs)
    curvature = newton.Curvature(architecture, dataset, loss="mean_squared_error", l2=0.0)
    np.testing.assert_allclose(curvature.at(parameters), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_the_curvature_of_many_blocks_is_that_of_one(activation, monkeypatch):
    architecture, dataset, parameters = a_problem(activation, hidden_layers=(), is_weighted=True, n_instances=50)
    curvature = newton.Curvature(architecture, dataset, loss="cross_entropy", l2=0.0)
    whole = curvature.at(parameters)
    monkeypatch.setattr(newton, "_BLOCK_VALUES", 47)
    np.testing.assert_allclose(curvature.at(parameters), whole, rtol=1e-12, atol=1e-14)


def test_least_squares_are_solved_by_the_first_step():
    # y = 3 - 2 x: slope and intercept of the two points
    dataset = Dataset(np.array([[0.0], [1.0]]), np.array([[3.0], [1.0]]))
    first = next(fit(dataset, NetworkConfig("identity"), TrainingConfig(optimizer="newton")))
    np.testing.assert_allclose(flatten(first.network), [-2.0, 3.0], rtol=1e-12)


@pytest.mark.parametrize(("activation", "loss"), OUTPUTS_AND_LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cost_never_rises_from_any_start(activation, loss, dtype):
    architecture, dataset, parameters = a_problem(activation, hidden_layers=(), n_instances=40)
    start = architecture.network(20 * parameters)
    config = TrainingConfig(optimizer="newton", loss=loss, tolerance=0.0, max_epochs=60, dtype=dtype)
    costs = [result.cost for result in fit(dataset, NetworkConfig(activation), config, start=start)]
    assert all(after <= before for before, after in itertools.pairwise(costs))
    assert costs[-1] < costs[0]


def test_features_that_are_constant_or_say_the_same_twice_do_no_harm():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 1))
    targets = (x + rng.normal(size=(60, 1)) > 0).astype(float)
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", tolerance=1e-12)
    features = np.column_stack([x, x, -3 * x, np.zeros(60), np.ones(60)])
    *_, alone = fit(Dataset(x, targets), NetworkConfig("sigmoid"), config)
    *_, singular = fit(Dataset(features, targets), NetworkConfig("sigmoid"), config)
    assert singular.cost == pytest.approx(alone.cost, rel=1e-10)
    assert np.abs(flatten(singular.network)).max() < 100
    assert singular.epoch < 20


def test_the_scales_of_the_features_do_not_matter():
    # w x = (w / s) (s x): Newton's method takes the same way in any units
    rng = np.random.default_rng(2)
    features = rng.normal(size=(50, 3))
    targets = (features[:, :1] + rng.normal(size=(50, 1)) > 0).astype(float)
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", tolerance=0.0, max_epochs=4)
    scales = np.array([1e-6, 1.0, 1e9])
    *_, plain = fit(Dataset(features, targets), NetworkConfig("sigmoid"), config)
    *_, scaled = fit(Dataset(features * scales, targets), NetworkConfig("sigmoid"), config)
    np.testing.assert_allclose(scaled.network.layers[0].weights[:, 0] * scales, plain.network.layers[0].weights[:, 0])


def test_at_rest_it_costs_no_more_evaluations():
    architecture, dataset, parameters = a_problem("identity", hidden_layers=())
    objective = Objective(architecture, dataset, loss="mean_squared_error")
    n_evaluations = 0

    def evaluate(parameters):
        nonlocal n_evaluations
        n_evaluations += 1
        return objective.evaluate(parameters, Networks.single())

    iterate = Iterate(parameters[np.newaxis], evaluate(parameters[np.newaxis]), newton.NewtonState())
    curvature = newton.Curvature(architecture, dataset, loss="mean_squared_error", l2=0.0)
    for _ in range(10):
        iterate = newton.update(iterate, curvature, evaluate)
    # the start, the first step, and the trials that show that rounding leaves nothing to gain
    assert iterate.optimizer_state.is_at_rest
    assert n_evaluations <= 6


def many_rows(weights=None):
    rng = np.random.default_rng(6)
    features = rng.normal(size=(60_000, 3))
    targets = (features[:, :1] + features[:, 1:2] + rng.normal(size=(60_000, 1)) > 0).astype(float)
    return Dataset(features, targets, weights)


def test_with_the_curvature_of_a_part_of_the_rows_it_still_finds_the_optimum_of_all():
    dataset = many_rows()
    rows = newton.rows_for_curvature(dataset, 4, np.random.default_rng(0))
    assert len(rows) == len(np.unique(rows)) == 20_000
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", tolerance=0.0, max_epochs=12)
    *_, last = fit(dataset, NetworkConfig("sigmoid"), config)
    objective = OneNetwork(Architecture.of_network(last.network), dataset, loss="cross_entropy")
    assert np.abs(objective.evaluate(flatten(last.network)).gradient).max() < 1e-9


def test_rows_of_weight_0_are_not_drawn():
    weights = np.zeros(60_000)
    weights[100:150] = 1.0
    assert newton.rows_for_curvature(many_rows(weights), 4, np.random.default_rng(0)) is None
    weights[:30_000] = 1.0
    rows = newton.rows_for_curvature(many_rows(weights), 4, np.random.default_rng(0))
    assert rows.max() < 30_000


def test_the_same_seed_gives_the_same_bytes():
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", seed=3)
    first, second = (list(fit(many_rows(), NetworkConfig("sigmoid"), config, n_threads=2))[-1] for _ in range(2))
    np.testing.assert_array_equal(flatten(first.network), flatten(second.network))


@pytest.mark.parametrize("as_sweep", [False, True])
def test_a_network_too_large_to_solve_for_names_the_limit_and_the_field(as_sweep):
    dataset = Dataset(np.ones((2, 1000)), np.array([[0.0], [1.0]]))
    network, config = NetworkConfig("sigmoid"), TrainingConfig(optimizer="newton")
    with pytest.raises(InvalidConfigError, match=r"at most 1,000 of them: this network has 1,001") as caught:
        if as_sweep:
            fit_sweep(dataset, network, config, [Candidate(0.5, 0.0, 0)])
        else:
            fit(dataset, network, config)
    assert caught.value.field == "training/optimizer"


def test_a_warm_start_at_the_optimum_stays_there():
    _, dataset, _ = a_problem("softmax", hidden_layers=(), n_instances=60)
    config = TrainingConfig(optimizer="newton", loss="cross_entropy", l2=0.01, tolerance=0.0, max_epochs=20)
    *_, optimum = fit(dataset, NetworkConfig("softmax"), config)
    again = next(fit(dataset, NetworkConfig("softmax"), config, start=Network(optimum.network.layers)))
    np.testing.assert_allclose(flatten(again.network), flatten(optimum.network), atol=1e-7)
    assert again.cost <= optimum.cost
