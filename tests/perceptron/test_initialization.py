import numpy as np
import pytest

from perceptron import Architecture
from perceptron.initialization import initialize

WIDE = Architecture((60, 100, 40), ("tanh", "sigmoid"))


def test_zeros_are_zeros():
    assert not initialize(WIDE, "zeros", np.random.default_rng(0)).any()


def test_glorot_weights_are_uniform_up_to_the_limit_of_their_layer():
    network = WIDE.network(initialize(WIDE, "glorot_uniform", np.random.default_rng(0)))
    for layer, (n_inputs, n_outputs) in zip(network.layers, [(60, 100), (100, 40)], strict=True):
        limit = np.sqrt(6 / (n_inputs + n_outputs))
        # of thousands of uniform numbers the largest comes within 1 % of the limit, and the deviation is limit / sqrt 3
        assert 0.99 * limit < np.abs(layer.weights).max() <= limit
        assert layer.weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_he_weights_are_normal_with_variance_2_over_the_inputs_of_their_layer():
    network = WIDE.network(initialize(WIDE, "he_normal", np.random.default_rng(0)))
    for layer, n_inputs in zip(network.layers, [60, 100], strict=True):
        assert layer.weights.var() == pytest.approx(2 / n_inputs, rel=0.1)
        assert np.abs(layer.weights).max() > 3 * np.sqrt(2 / n_inputs)


@pytest.mark.parametrize("initialization", ["glorot_uniform", "he_normal"])
def test_biases_start_at_0_and_the_seed_decides_the_weights(initialization):
    first = initialize(WIDE, initialization, np.random.default_rng(1))
    assert not any(layer.bias.any() for layer in WIDE.network(first).layers)
    np.testing.assert_array_equal(first, initialize(WIDE, initialization, np.random.default_rng(1)))
    assert not np.array_equal(first, initialize(WIDE, initialization, np.random.default_rng(2)))
