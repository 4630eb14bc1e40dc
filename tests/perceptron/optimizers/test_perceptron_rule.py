import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import (
    Dataset,
    NetworkConfig,
    TrainingConfig,
    fit,
    resolve_training_config,
)
from perceptron.optimizers.perceptron_rule import perceptron_rule_epoch

STEP = NetworkConfig("step")


def test_a_mistake_moves_the_weights_by_the_instance_and_a_right_output_does_not():
    # From zeros step(0) = 1. Target 0 is a mistake: w = -0.5 (2, -1), b = -0.5. Target 1 is none.
    rng = np.random.default_rng(0)
    for target, weights, bias, mistakes in ((0.0, [-1.0, 0.5], -0.5, 1), (1.0, [0.0, 0.0], 0.0, 0)):
        dataset = Dataset(np.array([[2.0, -1.0]]), np.array([[target]]))
        moved = perceptron_rule_epoch(np.zeros(2), 0.0, dataset, 0.5, rng)
        np.testing.assert_array_equal(moved[0], weights)
        assert moved[1:] == (bias, mistakes)


def one_by_one(weights, bias, dataset, learning_rate, order):
    """Follow the rule as Rosenblatt states it, one instance after the other."""
    n_mistakes = 0
    for i in order:
        x, y = dataset.features[i], dataset.targets[i, 0]
        y_hat = 1.0 if sum(w_j * x_j for w_j, x_j in zip(weights, x, strict=True)) + bias >= 0 else 0.0
        if y_hat != y:
            n_mistakes += 1
        weights = [w_j + learning_rate * (y - y_hat) * x_j for w_j, x_j in zip(weights, x, strict=True)]
        bias += learning_rate * (y - y_hat)
    return weights, bias, n_mistakes


@pytest.mark.parametrize("seed", range(5))
def test_looking_ahead_gives_what_one_instance_after_the_other_gives(seed):
    rng = np.random.default_rng(seed)
    # whole numbers, so that no rounding can hide a difference
    dataset = Dataset(rng.integers(-5, 6, size=(300, 3)), rng.integers(0, 2, size=(300, 1)))
    weights, bias, n_mistakes = perceptron_rule_epoch(np.zeros(3), 0.0, dataset, 1.0, np.random.default_rng(9))
    order = np.random.default_rng(9).permutation(300)
    expected = one_by_one([0.0] * 3, 0.0, dataset, 1.0, order)
    np.testing.assert_array_equal(weights, expected[0])
    assert (bias, n_mistakes) == expected[1:]
    assert n_mistakes > 10


def test_a_weight_scales_the_correction_and_weight_0_keeps_an_instance_out():
    # weights (3, 0, 0): relative to their mean 1 they are the same; the two others would be mistakes as well
    dataset = Dataset(np.array([[1.0], [5.0], [7.0]]), np.zeros((3, 1)), np.array([3.0, 0.0, 0.0]))
    weights, bias, n_mistakes = perceptron_rule_epoch(np.zeros(1), 0.0, dataset, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(weights, [-1.5])
    assert (bias, n_mistakes) == (-1.5, 1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_features=st.integers(1, 6), learning_rate=st.floats(1e-3, 1e3))
def test_mistakes_stay_below_the_square_of_radius_over_margin(seed, n_features, learning_rate):
    """Novikoff 1962: from zeros, on separable data, mistakes <= (R / gamma)^2 in all, whatever the order."""
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=n_features + 1)
    teacher /= np.linalg.norm(teacher)
    with_bias = np.column_stack([rng.normal(size=(60, n_features)), np.ones(60)])
    distances = with_bias @ teacher
    with_bias, distances = with_bias[abs(distances) > 0.05], distances[abs(distances) > 0.05]
    if not len(distances):
        return
    radius, margin = np.linalg.norm(with_bias, axis=1).max(), abs(distances).min()
    dataset = Dataset(with_bias[:, :-1], (distances > 0).astype(float)[:, np.newaxis])

    weights, bias, n_mistakes = np.zeros(n_features), 0.0, 0
    while True:
        weights, bias, n_new = perceptron_rule_epoch(weights, bias, dataset, learning_rate, rng)
        n_mistakes += n_new
        assert n_mistakes <= (radius / margin) ** 2
        if n_new == 0:
            break
    assert (((dataset.features @ weights + bias) >= 0) == (distances > 0)).all()


def test_training_converges_with_the_first_epoch_without_a_mistake():
    # AND is separable. No tolerance plays a part, however large.
    dataset = Dataset(
        np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [0.0], [0.0], [1.0]])
    )
    results = list(fit(dataset, STEP, resolve_training_config(STEP, tolerance=1e9)))
    assert results[-1].stop_reason == "converged"
    assert results[-1].cost == 0.0
    assert len(results) > 2
    np.testing.assert_array_equal(results[-1].network.layers[0].weights, results[-2].network.layers[0].weights)


def test_classes_that_no_line_separates_train_to_the_last_epoch():
    exclusive_or = Dataset(
        np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [1.0], [0.0]])
    )
    config = TrainingConfig(optimizer="perceptron_rule", max_epochs=30, tolerance=1e9)
    *_, last = fit(exclusive_or, STEP, config)
    assert (last.epoch, last.stop_reason) == (30, "max_epochs")
    # the cost of a step neuron is the share of wrong outputs
    assert last.cost in (0.25, 0.5, 0.75, 1.0)


def test_float32_stays_float32():
    dataset = Dataset(np.array([[1.0], [-1.0]]), np.array([[0.0], [1.0]]))
    *_, last = fit(dataset, STEP, resolve_training_config(STEP, dtype="float32"))
    assert last.network.layers[0].weights.dtype == last.network.layers[0].bias.dtype == np.float32
