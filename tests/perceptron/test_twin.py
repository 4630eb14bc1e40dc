"""The core against the slow and obvious twin."""

import numpy as np
import pytest

from perceptron import Dataset, Layer, Network, NetworkConfig, TrainingConfig, fit
from tests.perceptron import twin


@pytest.mark.parametrize("activation", ["sigmoid", "identity", "tanh", "relu"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_gives_what_the_plain_equations_give_in_every_one_of_100_epochs(activation, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(17, 4))
    targets = rng.uniform(0, 1, size=(17, 1))
    # relu rests where all weights are 0: its derivative there is 0.
    weights, bias = rng.normal(size=4), 0.3
    start = Network((Layer(weights[:, np.newaxis], np.array([bias]), activation),))
    config = TrainingConfig(learning_rate=0.1, max_epochs=100, tolerance=0.0, standardize=False)

    results = list(fit(Dataset(features, targets), NetworkConfig(activation), config, start=start))

    expected = list(twin.train(activation, features.tolist(), targets[:, 0].tolist(), 0.1, 100, weights.tolist(), bias))
    assert len(results) == 100
    for result, (twin_weights, twin_bias, twin_cost) in zip(results, expected, strict=True):
        (neuron,) = result.network.layers
        np.testing.assert_allclose(neuron.weights[:, 0], twin_weights, rtol=1e-12, atol=1e-12)
        assert neuron.bias[0] == pytest.approx(twin_bias, rel=1e-12, abs=1e-12)
        assert result.cost == pytest.approx(twin_cost, rel=1e-12, abs=1e-12)


def test_the_sigmoid_neuron_from_zeros_agrees_with_the_twin_on_0_1_targets():
    rng = np.random.default_rng(7)
    features, targets = rng.normal(size=(30, 3)), rng.integers(0, 2, size=(30, 1)).astype(float)
    config = TrainingConfig(learning_rate=0.5, max_epochs=100, tolerance=0.0, initialization="zeros")

    *_, last = fit(Dataset(features, targets), NetworkConfig("sigmoid"), config)

    *_, (weights, bias, cost) = twin.train(
        "sigmoid", features.tolist(), targets[:, 0].tolist(), 0.5, 100, [0.0] * 3, 0.0
    )
    np.testing.assert_allclose(last.network.layers[0].weights[:, 0], weights, rtol=1e-12, atol=1e-12)
    assert last.network.layers[0].bias[0] == pytest.approx(bias, rel=1e-12)
    assert last.cost == pytest.approx(cost, rel=1e-12)
