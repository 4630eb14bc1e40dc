"""One record is all that a new activation, loss or optimizer needs."""

from typing import NamedTuple

import numpy as np
import pytest

from perceptron import (
    ACTIVATIONS,
    INITIALIZATIONS,
    LOSSES,
    OPTIMIZERS,
    Architecture,
    Candidate,
    Dataset,
    InvalidConfigError,
    Layer,
    Network,
    NetworkConfig,
    TargetsOutOfRangeError,
    TrainingConfig,
    evaluate,
    explain,
    fit,
    fit_sweep,
    flatten,
    forward_one,
    predict_outputs,
    predictions,
    resolve_task,
    resolve_training_config,
    state_types,
)
from perceptron.activations import Activation
from perceptron.losses import Loss
from perceptron.optimizers.gradient import Rule, by_rule
from perceptron.optimizers.optimizer import Optimizer
from tests.perceptron.one_network import OneNetwork

FEATURES = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture
def softsign(monkeypatch):
    """y_hat = z / (1 + |z|), whose derivative is (1 - |y_hat|)^2."""

    def apply(z):
        z /= 1 + np.abs(z)
        return z

    def pull_back(outputs, d_outputs):
        d_outputs *= (1 - np.abs(outputs)) ** 2
        return d_outputs

    monkeypatch.setitem(ACTIVATIONS, "softsign", Activation(apply, pull_back, low=-1.0, high=1.0))


@pytest.mark.usefixtures("softsign")
def test_an_activation_trains_predicts_and_explains_by_its_record():
    task, targets = resolve_task((FEATURES @ [0.2, -0.4, 0.1]).tolist(), activation="softsign")
    assert (task.kind, task.loss) == ("regression", "mean_squared_error")
    dataset, network = Dataset(FEATURES, targets), NetworkConfig("softsign", (4,), "softsign")
    *_, last = fit(dataset, network, resolve_training_config(network, optimizer="lbfgs", max_epochs=200))
    assert last.cost < 1e-3
    outputs = predict_outputs(last.network, FEATURES)
    assert predictions(task, outputs) == outputs[:, 0].tolist()
    assert evaluate(task, outputs, targets).keys() == {"rmse", "mae", "r2"}
    explanation = explain(last.network, FEATURES)
    z = outputs / (1 - np.abs(outputs))
    np.testing.assert_allclose(
        explanation.base + explanation.contributions.sum(axis=2) + explanation.residual, z, rtol=1e-9, atol=1e-12
    )


@pytest.mark.usefixtures("softsign")
def test_a_new_activation_has_its_textbook_value_where_no_plain_function_is_given():
    # z = 2 * 1 + 1 = 3, y_hat = 3 / 4
    network = Network((Layer(np.array([[2.0]]), np.array([1.0]), "softsign"),))
    assert predict_outputs(network, np.array([[1.0]])).tolist() == [[0.75]]
    assert forward_one(network) is None


@pytest.mark.usefixtures("softsign")
@pytest.mark.parametrize("optimizer", ["gradient_descent", "newton"])
def test_an_activation_takes_part_in_a_sweep(optimizer):
    dataset = Dataset(FEATURES, np.tanh(FEATURES[:, :1]))
    config = TrainingConfig(optimizer=optimizer, max_epochs=20, standardize=False, tolerance=0.0)
    candidates = [Candidate(0.1, 0.0, 0), Candidate(0.5, 0.01, 0)]
    *_, last = fit_sweep(dataset, NetworkConfig("softsign"), config, candidates)
    for trained, candidate in zip(last.trained(), candidates, strict=True):
        *_, alone = fit(dataset, NetworkConfig("softsign"), candidate.config(config))
        np.testing.assert_allclose(flatten(trained.network), flatten(alone.network), rtol=1e-10)


@pytest.mark.usefixtures("softsign")
def test_what_a_record_does_not_know_is_refused_by_its_field():
    with pytest.raises(TargetsOutOfRangeError, match="softsign needs numbers from -1 to 1"):
        resolve_task([0.5, 1.5], activation="softsign")
    with pytest.raises(InvalidConfigError, match="auto needs a known curvature, got softsign outputs") as caught:
        resolve_training_config(NetworkConfig("softsign"), learning_rate="auto")
    assert caught.value.field == "training/learning_rate"


class SignState(NamedTuple):
    n_updates: int


@pytest.fixture
def sign_descent(monkeypatch):
    """w <- w - learning_rate * sign(dC/dw)"""

    def rule(learning_rate):
        def update(gradient, state, parameters):
            return parameters - learning_rate * np.sign(gradient), SignState(state.n_updates + 1)

        return Rule(lambda parameters: SignState(0), update)

    record = Optimizer(by_rule(rule), states=(SignState,), allows_auto=False)
    monkeypatch.setitem(OPTIMIZERS, "sign_descent", record)


@pytest.mark.usefixtures("sign_descent")
def test_an_optimizer_trains_by_its_record():
    # x = 1, y = 2: both gradients are negative, so w and b grow by 0.1 in each epoch; y_hat = 2 * 0.3
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    config = TrainingConfig(optimizer="sign_descent", learning_rate=0.1, max_epochs=3)
    results = list(fit(dataset, NetworkConfig("identity"), config))
    np.testing.assert_allclose(flatten(results[-1].network), [0.3, 0.3], rtol=1e-15)
    assert results[-1].cost == pytest.approx(1.4**2, rel=1e-14)
    assert results[-1].state.iterate.optimizer_state == SignState(3)
    assert state_types()["SignState"] is SignState
    with pytest.raises(InvalidConfigError, match="auto needs steps as long as the gradient says, got sign_descent"):
        fit(dataset, NetworkConfig("identity"), TrainingConfig(optimizer="sign_descent", learning_rate="auto"))


@pytest.mark.usefixtures("sign_descent")
@pytest.mark.parametrize("batch_size", [None, 7])
def test_an_optimizer_takes_part_in_a_sweep_and_uses_mini_batches(batch_size):
    dataset = Dataset(FEATURES, FEATURES[:, :1])
    config = TrainingConfig(
        optimizer="sign_descent", batch_size=batch_size, max_epochs=9, tolerance=0.0, standardize=False
    )
    candidates = [Candidate(0.1, 0.0, 0), Candidate(0.01, 0.0, 1)]
    *_, last = fit_sweep(dataset, NetworkConfig("identity"), config, candidates)
    for trained, candidate in zip(last.trained(), candidates, strict=True):
        *_, alone = fit(dataset, NetworkConfig("identity"), candidate.config(config))
        np.testing.assert_allclose(flatten(trained.network), flatten(alone.network), rtol=1e-12)


@pytest.fixture
def absolute_error(monkeypatch):
    """loss = sum_k |y_k - y_hat_k|"""

    def absolute(activation, z, targets):
        outputs = activation.apply(z)
        errors = outputs - targets
        return np.abs(errors).sum(axis=-1), activation.pull_back(outputs, np.sign(errors))

    monkeypatch.setitem(LOSSES, "absolute_error", Loss(absolute, curvature=lambda activation: None))


@pytest.mark.usefixtures("absolute_error")
def test_a_loss_trains_by_its_record():
    # The bias alone minimises the mean of |y - b|: the median, 2, where the cost is (1 + 0 + 98) / 3.
    dataset = Dataset(np.zeros((3, 1)), np.array([[1.0], [2.0], [100.0]]))
    network = NetworkConfig("identity")
    config = resolve_training_config(network, loss="absolute_error", learning_rate=0.25, max_epochs=40, tolerance=0.0)
    *_, last = fit(dataset, network, config)
    assert last.cost == pytest.approx(33.0, abs=0.1)
    objective = OneNetwork(Architecture((1, 1), ("identity",)), dataset, loss="absolute_error")
    assert objective.cost(np.array([0.0, 2.0])) == pytest.approx(33.0, rel=1e-15)
    for given, field in (({"learning_rate": "auto"}, "learning_rate"), ({"optimizer": "newton"}, "optimizer")):
        with pytest.raises(InvalidConfigError) as caught:
            resolve_training_config(network, loss="absolute_error", **given)
        assert caught.value.field == f"training/{field}"


def test_an_initialization_is_one_function(monkeypatch):
    monkeypatch.setitem(INITIALIZATIONS, "ones", lambda n_inputs, n_outputs, rng: np.ones(n_inputs * n_outputs))
    dataset = Dataset(np.array([[1.0]]), np.array([[2.0]]))
    config = TrainingConfig(initialization="ones", learning_rate=0.25)
    # w = 1, b = 0: dC/dw = dC/db = 2 (1 - 2) = -2
    first = next(fit(dataset, NetworkConfig("identity"), config))
    np.testing.assert_array_equal(flatten(first.network), [1.5, 0.5])
