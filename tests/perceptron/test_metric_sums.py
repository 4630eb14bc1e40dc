"""Metrics as sums over blocks, against those of all instances at once."""

import numpy as np
import pytest

from perceptron import MetricSums, evaluate, resolve_task

RNG = np.random.default_rng(0)
N = 5_000


def summed(task, outputs, targets, weights):
    sums = MetricSums(task, float(np.abs(targets).max()))
    for first in range(0, N, 700):
        rows = slice(first, first + 700)
        sums.add(outputs[rows], targets[rows], None if weights is None else weights[rows])
    return sums.figures()


@pytest.mark.parametrize("weights", [None, RNG.integers(0, 4, N).astype(float)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_of_classes(n_classes, weights):
    names = np.array(["a", "b", "c"])[RNG.integers(0, n_classes, N)]
    task, targets = resolve_task(names.tolist())
    outputs = RNG.dirichlet(np.ones(n_classes), N) if n_classes > 2 else RNG.random((N, 1))
    expected, actual = evaluate(task, outputs, targets, weights), summed(task, outputs, targets, weights)
    assert actual.keys() == expected.keys()
    assert actual.pop("roc_auc") == pytest.approx(expected.pop("roc_auc"), abs=1e-4)
    assert actual.pop("confusion_matrix") == expected.pop("confusion_matrix")
    assert actual == pytest.approx(expected, rel=1e-12)


def test_the_area_under_the_curve_is_off_by_at_most_half_the_pairs_in_the_same_bin():
    task, targets = resolve_task([0, 1] * (N // 2))
    outputs = np.full((N, 1), 0.3) + np.linspace(0, 1e-6, N)[:, np.newaxis]  # all in one bin
    assert summed(task, outputs, targets, None)["roc_auc"] == 0.5


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
@pytest.mark.parametrize("weights", [None, RNG.integers(0, 4, N).astype(float)])
def test_of_numbers(scale, weights):
    targets = RNG.normal(50, 2, size=(N, 2)) * scale
    outputs = targets + RNG.normal(size=(N, 2)) * scale
    task, _ = resolve_task(targets.tolist())
    expected, actual = evaluate(task, outputs, targets, weights), summed(task, outputs, targets, weights)
    assert actual == pytest.approx(expected, rel=1e-10)


def test_equal_targets_have_an_r2_of_1_or_0():
    task, targets = resolve_task([0.1] * N)
    assert summed(task, targets, targets, None)["r2"] == 1.0
    assert summed(task, targets + 1, targets, None)["r2"] == 0.0
