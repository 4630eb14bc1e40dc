import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perceptron import (
    Architecture,
    NetworkConfig,
    Standardization,
    explain,
    fold,
    forward,
    forward_one,
    predict_side_by_side,
    unfold,
    without_constants,
)


def test_the_mean_and_the_deviation_of_the_population_by_hand():
    # 1, 2, 3, 6: mean 3, deviation sqrt((4 + 1 + 0 + 9) / 4) = sqrt 3.5
    standardization = Standardization.of(np.array([[1.0], [2.0], [3.0], [6.0]]))
    assert standardization.mean[0] == pytest.approx(3.0, rel=1e-15)
    assert standardization.scale[0] == pytest.approx(np.sqrt(3.5), rel=1e-15)
    np.testing.assert_allclose(
        standardization.apply(np.array([[3.0], [10.0]])), [[0.0], [7 / np.sqrt(3.5)]], atol=1e-15
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e300, 5e-324])
@pytest.mark.parametrize("n_instances", [1, 3, 10, 5000])
def test_a_constant_feature_becomes_exactly_0(value, n_instances):
    # the mean of ten times 0.1 is not 0.1: what is left must not be blown up to 1
    features = np.full((n_instances, 1), value)
    standardization = Standardization.of(features)
    assert standardization.scale[0] == 1.0
    np.testing.assert_array_equal(standardization.apply(features), np.zeros((n_instances, 1)))


@pytest.mark.parametrize("unit", [1e300, 1e-100, 1.0])
def test_a_feature_of_any_size_gets_mean_0_and_deviation_1(unit):
    features = np.array([[-1.0], [0.0], [4.0]]) * unit
    standardized = Standardization.of(features).apply(features)
    assert standardized.mean() == pytest.approx(0.0, abs=1e-15)
    assert standardized.std() == pytest.approx(1.0, rel=1e-14)


def test_denormal_features_count_as_constant():
    features = np.array([[0.0], [5e-324]])
    standardization = Standardization.of(features)
    assert standardization.scale[0] == 1.0
    assert np.isfinite(standardization.apply(features)).all()


def test_more_rows_than_a_block_are_standardized_like_few():
    features = np.random.default_rng(0).normal(3.0, 2.0, size=(10_000, 3))
    standardization = Standardization.of(features)
    np.testing.assert_allclose(standardization.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(standardization.scale, features.std(axis=0), rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-1e300, 1e300, allow_nan=False),
    )
)
def test_no_finite_features_give_anything_that_is_not(features):
    standardization = Standardization.of(features)
    assert np.isfinite(standardization.mean).all()
    assert (standardization.scale > 0).all()
    assert np.isfinite(standardization.scale).all()
    assert np.isfinite(standardization.apply(features)).all()


@pytest.mark.parametrize("hidden_layers", [(), (5,), (5, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_folded_network_gives_for_raw_features_what_the_trained_one_gives_for_standardized(hidden_layers, dtype):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 3)) * [1.0, 1e4, 1e-6] + [0.0, -3e4, 5e-6]
    features[:, 0] = 7.0
    standardization = Standardization.of(features)
    architecture = Architecture.of(NetworkConfig("sigmoid", hidden_layers), n_inputs=3, n_outputs=2)
    network = architecture.network(rng.normal(size=architecture.n_parameters).astype(dtype))

    folded = fold(network, standardization)

    assert all(layer.weights.dtype == layer.bias.dtype == np.float64 for layer in folded.layers)
    np.testing.assert_allclose(forward(folded, features), forward(network, standardization.apply(features)), rtol=1e-12)


def test_folding_the_identity_changes_no_number():
    architecture = Architecture((2, 1), ("identity",))
    network = architecture.network(np.array([0.1, -0.3, 0.7]))
    folded = fold(network, Standardization.identity(2))
    np.testing.assert_array_equal(folded.layers[0].weights, network.layers[0].weights)
    np.testing.assert_array_equal(folded.layers[0].bias, network.layers[0].bias)


@pytest.mark.parametrize("hidden_layers", [(), (5,)])
def test_folding_undoes_unfolding(hidden_layers):
    rng = np.random.default_rng(2)
    standardization = Standardization(np.array([0.0, -3e4, 5e-6]), np.array([1.0, 1e4, 1e-6]))
    architecture = Architecture.of(NetworkConfig("sigmoid", hidden_layers), n_inputs=3, n_outputs=2)
    network = architecture.network(rng.normal(size=architecture.n_parameters))
    there_and_back = fold(unfold(network, standardization), standardization)
    for layer, expected in zip(there_and_back.layers, network.layers, strict=True):
        np.testing.assert_allclose(layer.weights, expected.weights, rtol=1e-14)
        # the bias is the small difference of numbers as large as 3e4 times a weight
        np.testing.assert_allclose(layer.bias, expected.bias, atol=1e-10)


def test_unfolding_by_hand():
    # 2 x + 1 at x = 10 + 4 s is 8 s + 21
    standardization = Standardization(np.array([10.0]), np.array([4.0]))
    network = unfold(Architecture((1, 1), ("identity",)).network(np.array([2.0, 1.0])), standardization)
    assert (network.layers[0].weights[0, 0], network.layers[0].bias[0]) == (8.0, 21.0)


@pytest.mark.parametrize("value", [0.3, -0.3, 1e15 + 0.3, 1e-300, 1e300])
def test_neighbouring_floats_count_as_one_number(value):
    # 0.1 + 0.2 is one unit in the last place above 0.3
    features = np.array([[value], [np.nextafter(value, np.inf)], [value]])
    standardization = Standardization.of(features)
    assert standardization.scale[0] == 1.0
    np.testing.assert_array_equal(standardization.apply(features), np.zeros((3, 1)))


def test_microseconds_since_1970_are_not_constant():
    # ten times, one microsecond apart: deviation sqrt((10^2 - 1) / 12)
    features = 1764109847000000.0 + np.arange(10.0)[:, np.newaxis]
    standardization = Standardization.of(features)
    assert standardization.scale[0] == pytest.approx(np.sqrt(99 / 12), rel=0.03)  # a mean is a float, too
    assert standardization.is_constant is None


@pytest.mark.parametrize("weight_unit", [1.0, 5e-324, 1e300])
def test_weight_2_counts_twice_and_weight_0_not_at_all(weight_unit):
    features = np.array([[1.0, 0.1], [2.0, 0.1], [1e12, 7.0], [6.0, 0.1]])
    weighted = Standardization.of(features, np.array([1.0, 2.0, 0.0, 1.0]) * weight_unit)
    repeated = Standardization.of(features[[0, 1, 1, 3]])
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-15)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-15)
    assert weighted.is_constant.tolist() == [False, True]


def test_a_network_has_no_weights_for_a_feature_that_was_constant():
    standardization = Standardization.of(np.array([[1.0, 5.0], [2.0, 5.0]]))
    network = Architecture((2, 1), ("identity",)).network(np.array([3.0, 4.0, 5.0]))
    assert without_constants(network, standardization).layers[0].weights.tolist() == [[3.0], [0.0]]


def test_a_mean_far_above_the_spread_becomes_the_centre_of_the_network():
    # y = 2 (x - t), with t microseconds since 1970: folded into the bias, 2 t would swallow the rest
    t = 1764109847000000.0
    trained = Architecture((1, 1), ("identity",)).network(np.array([20.0, 1.0]))
    network = fold(trained, Standardization(np.array([t]), np.array([10.0])))
    features = t + np.array([[0.0], [1.0], [-3.0]])
    np.testing.assert_array_equal(forward(network, features), [[1.0], [3.0], [-5.0]])
    assert [forward_one(network)(row) for row in features.tolist()] == [[1.0], [3.0], [-5.0]]
    np.testing.assert_array_equal(predict_side_by_side([network, trained], features)[0], [[1.0], [3.0], [-5.0]])
    explanation = explain(network, features)
    np.testing.assert_array_equal(explanation.contributions[:, 0, 0], [0.0, 2.0, -6.0])
    assert (explanation.base.tolist(), explanation.residual.tolist()) == ([1.0], [[0.0], [0.0], [0.0]])
    # another training may start from it, with another mean
    other = Standardization(np.array([t + 1.0]), np.array([2.0]))
    np.testing.assert_array_equal(forward(unfold(network, other), other.apply(features)), [[1.0], [3.0], [-5.0]])


def test_a_mean_near_the_spread_is_folded():
    trained = Architecture((1, 1), ("identity",)).network(np.array([20.0, 1.0]))
    network = fold(trained, Standardization(np.array([50.0]), np.array([10.0])))
    assert (network.centre, network.layers[0].bias.tolist()) == (None, [-99.0])
