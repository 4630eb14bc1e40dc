"""One instance in plain floats gives what the matrix product gives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import ACTIVATIONS, Layer, Network, forward, forward_one

HIDDEN = [name for name, activation in ACTIVATIONS.items() if activation.is_hidden]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    hidden=st.lists(st.sampled_from(HIDDEN), max_size=2),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    n_outputs=st.integers(1, 4),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_it_agrees_with_the_matrix_product(
    seed: int, hidden: list[str], activation: str, n_outputs: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    widths = [5, *(4 for _ in hidden), n_outputs]
    layers = tuple(
        Layer(rng.normal(size=(n, m)) * scale, rng.normal(size=m), kind)
        for n, m, kind in zip(widths, widths[1:], [*hidden, activation], strict=False)
    )
    features = rng.normal(size=(1, 5))
    outputs_of = forward_one(Network(layers))
    assert outputs_of is not None
    # sums of a few dozen terms, each to 2^-53 of it, through activations that raise no relative error by much
    expected = forward(Network(layers), features)[0]
    assert outputs_of(features[0].tolist()) == pytest.approx(expected, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(
    ("z", "expected"),
    [(0.0, 0.5), (-800.0, 0.0), (-709.5, math.exp(-709.5)), (800.0, 1.0), (math.log(3), 0.75)],
)
def test_the_sigmoid_is_right_far_out(z: float, expected: float) -> None:
    neuron = forward_one(Network((Layer(np.ones((1, 1)), np.zeros(1), "sigmoid"),)))
    assert neuron is not None and neuron([z]) == pytest.approx([expected], rel=1e-15)


@pytest.mark.parametrize("features", [[math.inf, 1.0], [1e308, 1e308], [math.inf, -math.inf], [1.0, math.nan]])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_what_is_not_finite_is_left_to_the_matrix_product(features: list[float], n_outputs: int) -> None:
    outputs_of = forward_one(Network((Layer(np.ones((2, n_outputs)), np.zeros(n_outputs), "sigmoid"),)))
    assert outputs_of is not None and outputs_of(features) is None


def test_a_large_network_is_left_to_the_matrix_product() -> None:
    assert forward_one(Network((Layer(np.ones((256, 1)), np.zeros(1), "sigmoid"),))) is None
    assert forward_one(Network((Layer(np.ones((255, 1)), np.zeros(1), "sigmoid"),))) is not None
