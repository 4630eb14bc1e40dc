import numpy as np
import pytest

from perceptron import ACTIVATIONS


def outputs_of(name, *z):
    with np.errstate(all="ignore"):
        return ACTIVATIONS[name].apply(np.array([z], dtype=float))[0]


def test_activations_have_their_textbook_values():
    np.testing.assert_array_equal(outputs_of("identity", -3.0, 2.5), [-3.0, 2.5])
    # 1 / (1 + e^-ln 3) = 1 / (1 + 1/3) = 3/4
    np.testing.assert_allclose(outputs_of("sigmoid", 0.0, np.log(3)), [0.5, 0.75], rtol=1e-15)
    # tanh(ln 2) = (2 - 1/2) / (2 + 1/2) = 3/5
    np.testing.assert_allclose(outputs_of("tanh", 0.0, np.log(2)), [0.0, 0.6], rtol=1e-15)
    np.testing.assert_array_equal(outputs_of("relu", -1.0, 0.0, 2.0), [0.0, 0.0, 2.0])
    # e^0 : e^ln 3 = 1 : 3
    np.testing.assert_allclose(outputs_of("softmax", 0.0, np.log(3)), [0.25, 0.75], rtol=1e-15)


def test_the_step_of_zero_is_one():
    np.testing.assert_array_equal(outputs_of("step", -1e-300, -0.0, 0.0, 1e-300), [0.0, 1.0, 1.0, 1.0])


def test_the_step_of_not_a_number_is_no_class():
    assert np.isnan(outputs_of("step", np.nan)[0])


def test_sigmoid_and_softmax_saturate():
    np.testing.assert_array_equal(outputs_of("sigmoid", -1e308, -800.0, 800.0, 1e308), [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(outputs_of("softmax", -1e300, 1e300), [0.0, 1.0])
    np.testing.assert_array_equal(outputs_of("softmax", 1e300, 1e300), [0.5, 0.5])


def test_sigmoid_keeps_its_relative_precision_far_below_zero():
    # 1 / (1 + e^700) = e^-700 to 300 digits
    assert outputs_of("sigmoid", -700.0)[0] == pytest.approx(np.exp(-700.0), rel=1e-12)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_work_in_place_and_so_keep_the_dtype(name, dtype):
    z = np.array([[-1.5, 0.0, 2.0]], dtype=dtype)
    d_outputs = np.ones_like(z)
    assert ACTIVATIONS[name].apply(z) is z
    assert ACTIVATIONS[name].pull_back(z, d_outputs) is d_outputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sigmoid_of_both_dtypes_is_the_same_function(dtype):
    z = np.linspace(-30, 30, 601, dtype=dtype)
    expected = 1 / (1 + np.exp(-z.astype(float)))
    np.testing.assert_allclose(ACTIVATIONS["sigmoid"].apply(z.copy()), expected, rtol=0, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_outputs_stay_within_the_range_that_targets_are_checked_against(name):
    outputs = ACTIVATIONS[name].apply(np.linspace(-50, 50, 1001).reshape(-1, 7))
    assert outputs.min() >= ACTIVATIONS[name].low
    assert outputs.max() <= ACTIVATIONS[name].high
