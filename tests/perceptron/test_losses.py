import numpy as np
import pytest

from perceptron import ACTIVATIONS, LOSSES


def values(loss, activation, z, targets):
    z, targets = np.array(z, dtype=float)[:, np.newaxis, :], np.array(targets, dtype=float)[:, np.newaxis, :]
    with np.errstate(all="ignore"):
        losses, _ = LOSSES[loss].evaluate(ACTIVATIONS[activation], z, targets)
    return losses[:, 0]


def test_the_squared_error_of_an_instance_is_the_sum_over_its_outputs():
    # (1 - 0)^2 + (2 - 4)^2 = 5
    np.testing.assert_array_equal(
        values("mean_squared_error", "identity", [[1.0, 2.0], [0.0, 0.5]], [[0.0, 4.0], [0.0, 0.0]]),
        [5.0, 0.25],
    )


def test_the_cross_entropy_of_a_sigmoid_is_minus_the_log_of_what_it_gives_the_target():
    # sigmoid(ln 3) = 3/4; target 1 costs -ln 3/4, target 0 costs -ln 1/4; 1/2 costs half of both
    np.testing.assert_allclose(
        values("cross_entropy", "sigmoid", [[np.log(3)]] * 3, [[1.0], [0.0], [0.5]]),
        [-np.log(0.75), -np.log(0.25), -(np.log(0.75) + np.log(0.25)) / 2],
        rtol=1e-14,
    )


def test_the_cross_entropy_of_a_softmax_is_minus_the_log_of_the_right_class():
    np.testing.assert_allclose(
        values("cross_entropy", "softmax", [[0.0, np.log(3)]] * 2, [[1.0, 0.0], [0.0, 1.0]]),
        [-np.log(0.25), -np.log(0.75)],
        rtol=1e-14,
    )


@pytest.mark.parametrize("z", [800.0, -800.0, 1e6, -1e6])
def test_the_cross_entropy_of_a_saturated_output_stays_finite(z):
    # log(1 + e^|z|) = |z| to rounding; an output that is right costs nothing
    np.testing.assert_allclose(
        values("cross_entropy", "sigmoid", [[z], [z]], [[1.0], [0.0]]), [max(-z, 0.0), max(z, 0.0)]
    )
    np.testing.assert_allclose(
        values("cross_entropy", "softmax", [[z, 0.0], [z, 0.0]], [[1.0, 0.0], [0.0, 1.0]]),
        [max(-z, 0.0), max(z, 0.0)],
    )
