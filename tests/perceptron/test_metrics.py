import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import evaluate, resolve_task

BINARY, _ = resolve_task([0, 1])
THREE, ONE_HOT = resolve_task(["a", "b", "c", "b"])
NUMBER, _ = resolve_task([0.5])
LIST, _ = resolve_task([[0.5, 2.0]])


def column(*values):
    return np.array(values, dtype=float)[:, np.newaxis]


def test_accuracy_is_the_share_of_right_classes():
    # classes 0, 1, 1, 0 for targets 0, 1, 0, 0; 0.5 is class 1
    assert evaluate(BINARY, column(0.2, 0.5, 0.9, 0.4), column(0, 1, 0, 0)) == {"accuracy": 0.75}
    outputs = np.array([[0.9, 0.1, 0.0], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.3, 0.4, 0.3]])
    assert evaluate(THREE, outputs, ONE_HOT) == {"accuracy": 0.75}


def test_accuracy_counts_instances_by_their_weights():
    # right: weights 1 and 2 of 1 + 2 + 5
    metrics = evaluate(BINARY, column(0.0, 1.0, 1.0), column(0, 1, 0), np.array([1.0, 2.0, 5.0]))
    assert metrics == {"accuracy": 0.375}


def test_the_figures_of_a_regression_by_hand():
    # errors 1, 0, -2: mean square 5/3, mean size 1; targets 1, 2, 6: mean 3, variance (4 + 1 + 9) / 3
    metrics = evaluate(NUMBER, column(0, 2, 8), column(1, 2, 6))
    assert metrics == pytest.approx({"rmse": np.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 14}, rel=1e-14)


def test_the_figures_of_a_weighted_regression_by_hand():
    # weights 1, 3: errors 1, -1; targets 1, 5: mean 4, variance (9 + 3) / 4 = 3
    metrics = evaluate(NUMBER, column(0, 6), column(1, 5), np.array([1.0, 3.0]))
    assert metrics == pytest.approx({"rmse": 1.0, "mae": 1.0, "r2": 1 - 1 / 3}, rel=1e-14)


def test_several_outputs_are_averaged():
    # first output: all right; second: errors 2, -2 about targets of variance 4
    metrics = evaluate(LIST, np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([[1.0, 0.0], [3.0, 4.0]]))
    # variance of (0, 4) is 4, mean square 4: r2 = 0
    assert metrics == pytest.approx({"rmse": 1.0, "mae": 1.0, "r2": 0.5}, abs=1e-14)


@pytest.mark.parametrize(("outputs", "r2"), [((0.1,) * 10, 1.0), ((0.2,) * 10, 0.0)])
def test_the_r2_of_constant_targets_is_1_when_right_and_else_0(outputs, r2):
    assert evaluate(NUMBER, column(*outputs), column(*(0.1,) * 10))["r2"] == r2


def test_instances_that_do_not_count_do_not_make_constant_targets_vary():
    metrics = evaluate(NUMBER, column(1, 1, 1), column(2, 2, 9), np.array([1.0, 1.0, 0.0]))
    assert metrics == {"rmse": 1.0, "mae": 1.0, "r2": 0.0}


def test_huge_numbers_have_finite_figures():
    metrics = evaluate(NUMBER, column(0, 1e300), column(-1e300, 1e300))
    assert metrics == pytest.approx({"rmse": 1e300 / np.sqrt(2), "mae": 5e299, "r2": 0.5}, rel=1e-14)


def test_an_r2_beyond_the_finite_numbers_is_the_last_of_them():
    # in units of 5e49: a variance of (4e-28)^2 * 130 / 9e269, near 2e-323, under a mean square of 1
    metrics = evaluate(NUMBER, column(0, 5e49), column(0, 2e22), np.array([130.0, 9e269]))
    assert metrics["r2"] == -np.finfo(np.float64).max


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.floats(0, 1e300)), min_size=1))
def test_no_figure_is_ever_infinite_or_not_a_number(rows):
    outputs, targets, weights = (np.array(values) for values in zip(*rows, strict=True))
    if not weights.any():
        weights = None
    metrics = evaluate(NUMBER, outputs[:, np.newaxis], targets[:, np.newaxis], weights)
    assert all(np.isfinite(value) for value in metrics.values())
