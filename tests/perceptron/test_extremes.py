"""Data at the edges: a clear result or a clear error, never NaN and never a warning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perceptron import (
    Dataset,
    DivergedError,
    InvalidDatasetError,
    NetworkConfig,
    OutputNotFiniteError,
    Standardization,
    fit,
    flatten,
    fold,
    predict_outputs,
    resolve_training_config,
)

OPTIMIZERS = ["gradient_descent", "momentum", "adam", "lbfgs", "newton"]


def train(features, targets, activation="sigmoid", **given):
    network = NetworkConfig(activation)
    features, targets = np.array(features, dtype=float), np.array(targets, dtype=float)[:, np.newaxis]
    standardization = Standardization.of(features)
    dataset = Dataset(standardization.apply(features), targets)
    *_, last = fit(dataset, network, resolve_training_config(network, **given))
    return last, fold(last.network, standardization)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "features",
    [
        [[1e300], [-1e300], [5e299], [0.0]],
        [[5e-324], [0.0], [1e-310], [0.0]],
        [[7.0], [7.0], [7.0], [7.0]],
        [[1e308], [1e308], [0.0], [0.0]],
        [[1e-200], [-1e-200], [3e-200], [0.0]],
    ],
)
def test_features_of_any_size_train_and_predict_in_raw_units(features, optimizer):
    last, folded = train(features, [1, 0, 1, 0], optimizer=optimizer, max_epochs=200)
    assert np.isfinite(flatten(last.network)).all()
    assert last.cost <= 0.25
    outputs = predict_outputs(folded, np.array(features))
    assert ((outputs >= 0) & (outputs <= 1)).all()


def test_a_constant_feature_leaves_the_share_of_ones_as_the_output():
    _, folded = train([[3.0]] * 4, [1, 1, 1, 0], optimizer="lbfgs", loss="cross_entropy", tolerance=0.0)
    np.testing.assert_allclose(predict_outputs(folded, np.array([[3.0]])), [[0.75]], rtol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "step", "identity", "tanh", "relu"])
def test_one_instance_is_enough_to_train_on(activation):
    last, folded = train([[2.0, 5.0]], [1.0], activation)
    assert np.isfinite(last.cost)
    assert np.isfinite(predict_outputs(folded, np.array([[2.0, 5.0]]))).all()


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("activation", ["sigmoid", "step"])
def test_one_class_is_learned_as_that_class(target, activation):
    _, folded = train([[1.0], [2.0], [3.0]], [target] * 3, activation)
    outputs = predict_outputs(folded, np.array([[1.0], [2.0], [3.0]]))
    assert ((outputs >= 0.5) == (target == 1)).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_separable_classes_saturate_without_leaving_the_finite_numbers(optimizer):
    last, _ = train(
        [[-1.0], [1.0]], [0, 1], optimizer=optimizer, loss="cross_entropy", learning_rate=1e3, tolerance=0.0
    )
    assert 0 <= last.cost < 1e-3


@settings(max_examples=100, deadline=None)
@given(
    features=hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e300, 1e300, allow_nan=False)),
    targets=hnp.arrays(np.float64, (4, 1), elements=st.floats(-1e300, 1e300, allow_nan=False)),
    learning_rate=st.floats(1e-300, 1e300),
    l2=st.floats(0, 1e300),
    optimizer=st.sampled_from(OPTIMIZERS),
    activation=st.sampled_from(["identity", "sigmoid", "tanh", "relu"]),
    hidden_layers=st.sampled_from([(), (3,)]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_finite_data_and_settings_give_finite_results_or_an_error_that_says_why(
    features, targets, learning_rate, l2, optimizer, activation, hidden_layers, dtype
):
    network = NetworkConfig(activation, () if optimizer == "newton" else hidden_layers)
    config = resolve_training_config(
        network, learning_rate=learning_rate, l2=l2, optimizer=optimizer, dtype=dtype, max_epochs=5
    )
    dataset = Dataset(features, targets)
    try:
        for result in fit(dataset, network, config, validation=dataset, early_stopping_patience=2):
            assert np.isfinite([result.cost, result.validation_cost]).all()
            assert np.isfinite(flatten(result.network)).all()
            predict_outputs(result.network, features)
    except (DivergedError, InvalidDatasetError, OutputNotFiniteError):
        pass
