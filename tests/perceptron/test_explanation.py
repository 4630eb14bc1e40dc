"""Contributions of the features: exact for one layer, integrated gradients for more."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import Layer, Network, OutputNotFiniteError, explain, forward

SEEDS = st.integers(0, 2**32 - 1)


def network(seed: int, *widths: int, hidden: str = "tanh", output: str = "sigmoid") -> Network:
    rng = np.random.default_rng(seed)
    layers = []
    for k, (n, m) in enumerate(pairwise(widths)):
        activation = output if k == len(widths) - 2 else hidden
        layers.append(Layer(rng.normal(size=(n, m)) / np.sqrt(n), rng.normal(size=m), activation))
    return Network(tuple(layers))


def z_of(net: Network, features: np.ndarray) -> np.ndarray:
    last = net.layers[-1]
    return forward(Network((*net.layers[:-1], Layer(last.weights, last.bias, "identity"))), features)


def test_one_neuron_by_hand() -> None:
    # z = 2 x0 - 3 x1 + 0.5 at (4, -1): 8 + 3 + 0.5
    neuron = Network((Layer(np.array([[2.0], [-3.0]]), np.array([0.5]), "sigmoid"),))
    explanation = explain(neuron, np.array([[4.0, -1.0]]))
    np.testing.assert_array_equal(explanation.contributions, [[[8.0, 3.0]]])
    np.testing.assert_array_equal(explanation.base, [0.5])
    np.testing.assert_array_equal(explanation.residual, [[0.0]])


def test_a_product_of_two_features_by_hand() -> None:
    # z = relu(x0 + x1) has the gradient (1, 1) all along the way to (3, 1), and (0, 0) to (-3, 1)
    net = Network((Layer(np.ones((2, 1)), np.zeros(1), "relu"), Layer(np.ones((1, 1)), np.zeros(1), "identity")))
    explanation = explain(net, np.array([[3.0, 1.0], [-3.0, 1.0]]))
    np.testing.assert_allclose(explanation.contributions[:, 0], [[3.0, 1.0], [0.0, 0.0]], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 3), st.sampled_from(["tanh", "sigmoid", "relu", "identity"]))
def test_completeness_the_parts_sum_to_z(seed: int, n_outputs: int, hidden: str) -> None:
    net = network(seed, 4, 5, 3, n_outputs, hidden=hidden)
    features = np.random.default_rng(seed).normal(size=(6, 4))
    explanation = explain(net, features)
    total = explanation.base + explanation.contributions.sum(axis=2) + explanation.residual
    np.testing.assert_allclose(total, z_of(net, features), rtol=1e-12, atol=1e-12)
    # Smooth integrands are integrated to rounding; a corner of relu costs up to about 1 / N_STEPS of its jump.
    assert np.abs(explanation.residual).max() < (0.1 if hidden == "relu" else 1e-9)


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_where_the_network_is_linear_the_integral_gives_the_exact_contributions(seed: int) -> None:
    deep = network(seed, 4, 3, 2, hidden="identity")
    product = deep.layers[0].weights @ deep.layers[1].weights
    bias = deep.layers[0].bias @ deep.layers[1].weights + deep.layers[1].bias
    flat = Network((Layer(product, bias, "sigmoid"),))
    features = np.random.default_rng(seed).normal(size=(5, 4))
    ours, exact = explain(deep, features), explain(flat, features)
    np.testing.assert_allclose(ours.contributions, exact.contributions, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.base, exact.base, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_linearity_the_sum_of_two_networks_is_explained_by_the_sum(seed: int) -> None:
    one, two = network(seed, 3, 4, 1, output="identity"), network(seed + 1, 3, 4, 1, output="identity")
    hidden = Layer(
        np.hstack([one.layers[0].weights, two.layers[0].weights]),
        np.hstack([one.layers[0].bias, two.layers[0].bias]),
        "tanh",
    )
    last = Layer(
        np.vstack([one.layers[1].weights, two.layers[1].weights]), one.layers[1].bias + two.layers[1].bias, "identity"
    )
    features = np.random.default_rng(seed).normal(size=(4, 3))
    parts = explain(one, features).contributions + explain(two, features).contributions
    whole = explain(Network((hidden, last)), features).contributions
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-12)


def test_a_feature_that_no_weight_uses_contributes_nothing() -> None:
    net = network(3, 4, 5, 2)
    net.layers[0].weights[2] = 0.0
    assert (explain(net, np.ones((3, 4))).contributions[:, :, 2] == 0).all()


def test_a_contribution_that_is_not_finite_is_an_error() -> None:
    neuron = Network((Layer(np.full((1, 1), 10.0), np.zeros(1), "sigmoid"),))
    with pytest.raises(OutputNotFiniteError) as error:
        explain(neuron, np.array([[1.0], [1e308]]))
    assert error.value.index == 1
