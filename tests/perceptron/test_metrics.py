import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as skm

from perceptron import evaluate, resolve_task

BINARY, _ = resolve_task([0, 1])
THREE, ONE_HOT = resolve_task(["a", "b", "c", "b"])
NUMBER, _ = resolve_task([0.5])
LIST, _ = resolve_task([[0.5, 2.0]])


def column(*values):
    return np.array(values, dtype=float)[:, np.newaxis]


def test_the_figures_of_two_classes_by_hand():
    # classes 0, 1, 1, 0 for targets 0, 1, 0, 0; 0.5 is class 1: found 1, wrongly taken 1, missed none
    metrics = evaluate(BINARY, column(0.2, 0.5, 0.9, 0.4), column(0, 1, 0, 0))
    # the output of the one in class 1 is above those of 2 of the 3 others
    assert metrics.pop("roc_auc") == pytest.approx(2 / 3, rel=1e-15)
    assert metrics.pop("f1") == pytest.approx(2 / 3, rel=1e-15)
    assert metrics.pop("log_loss") == pytest.approx(-np.log([0.8, 0.5, 0.1, 0.6]).mean(), rel=1e-15)
    assert metrics == {"accuracy": 0.75, "precision": 0.5, "recall": 1.0, "confusion_matrix": [[2, 1], [0, 1]]}
    assert all(type(cell) is int for row in metrics["confusion_matrix"] for cell in row)


def test_the_figures_of_three_classes_are_plain_means_over_the_classes():
    # a, b, a, b for targets a, b, c, b: c is never predicted
    outputs = np.array([[0.9, 0.1, 0.0], [0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.3, 0.4, 0.3]])
    metrics = evaluate(THREE, outputs, ONE_HOT)
    assert metrics["accuracy"] == 0.75
    assert metrics["precision"] == (1 / 2 + 1 + 0) / 3
    assert metrics["recall"] == (1 + 1 + 0) / 3
    assert metrics["f1"] == pytest.approx((2 / 3 + 1 + 0) / 3, rel=1e-15)
    assert metrics["confusion_matrix"] == [[1, 0, 0], [0, 2, 0], [1, 0, 0]]


def test_instances_count_by_their_weights():
    # right: weights 1 and 2 of 1 + 2 + 5
    metrics = evaluate(BINARY, column(0.0, 1.0, 1.0), column(0, 1, 0), np.array([1.0, 2.0, 5.0]))
    assert metrics["accuracy"] == 0.375
    assert metrics["precision"] == pytest.approx(2 / 7, rel=1e-15)
    assert metrics["confusion_matrix"] == [[1.0, 5.0], [0.0, 2.0]]


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_the_figures_of_classes_are_those_of_scikit_learn(n_classes, has_ties, is_weighted):
    rng = np.random.default_rng(n_classes)
    indices = np.append(np.arange(n_classes), rng.integers(0, n_classes, 200))
    task, targets = resolve_task([f"class {index}" for index in indices], activation="softmax")
    weights = rng.uniform(0, 3, len(indices)) * (rng.random(len(indices)) > 0.1) if is_weighted else None
    # tenths: many ties, and some 0 and 1
    likely = rng.dirichlet(np.ones(n_classes), len(indices))
    outputs = rng.multinomial(10, likely) / 10 if has_ties else likely
    assert_twin_of_scikit_learn(evaluate(task, outputs, targets, weights), outputs, indices, weights)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("decimals", [1, 15])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_figures_of_one_output_are_those_of_scikit_learn(dtype, decimals, is_weighted):
    rng = np.random.default_rng(decimals)
    indices = rng.integers(0, 2, 300)
    weights = rng.uniform(0, 3, 300) if is_weighted else None
    # outputs of 0 and 1 too, whose logarithms have to be kept finite
    outputs = rng.random((300, 1)).round(decimals).astype(dtype)
    outputs[:2, 0] = 0, 1
    metrics = evaluate(BINARY, outputs, indices[:, np.newaxis].astype(dtype), weights)
    both = np.concatenate([1 - outputs, outputs], axis=1)
    # 0.5 is the second class; scikit-learn averages float32 logarithms in float32
    rtol = 1e-12 if dtype is np.float64 else 1e-6
    assert_twin_of_scikit_learn(metrics, both, indices, weights, (outputs[:, 0] >= 0.5).astype(int), rtol)


def assert_twin_of_scikit_learn(metrics, outputs, indices, weights, predicted=None, rtol=1e-12):
    n_classes = outputs.shape[1]
    if predicted is None:
        predicted = outputs.argmax(axis=1)
    more = {"sample_weight": weights}
    averaged = {"average": "binary" if n_classes == 2 else "macro", "zero_division": 0, **more}
    scores = outputs[:, 1] if n_classes == 2 else outputs
    expected = {
        "accuracy": skm.accuracy_score(indices, predicted, **more),
        "precision": skm.precision_score(indices, predicted, **averaged),
        "recall": skm.recall_score(indices, predicted, **averaged),
        "f1": skm.f1_score(indices, predicted, **averaged),
        "roc_auc": skm.roc_auc_score(indices, scores, multi_class="ovr", **more),
        "log_loss": skm.log_loss(indices, outputs, **more),
    }
    confusion = metrics.pop("confusion_matrix")
    assert metrics == pytest.approx(expected, rel=rtol, abs=rtol)
    np.testing.assert_allclose(confusion, skm.confusion_matrix(indices, predicted, **more), rtol=rtol)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_figures_of_a_regression_are_those_of_scikit_learn(is_weighted):
    rng = np.random.default_rng(0)
    targets, outputs = rng.normal(size=(2, 100, 2))
    weights = rng.uniform(0, 3, 100) if is_weighted else None
    assert evaluate(LIST, outputs, targets, weights) == pytest.approx(
        {
            "rmse": skm.root_mean_squared_error(targets, outputs, sample_weight=weights),
            "mae": skm.mean_absolute_error(targets, outputs, sample_weight=weights),
            "r2": skm.r2_score(targets, outputs, sample_weight=weights),
        },
        rel=1e-12,
    )


def test_a_class_missing_in_the_targets_leaves_out_roc_auc_and_counts_0():
    metrics = evaluate(BINARY, column(0.2, 0.4), column(0, 0))
    assert "roc_auc" not in metrics
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.0, 0.0, 0.0)
    # instances of weight 0 are as good as missing
    assert "roc_auc" not in evaluate(BINARY, column(0.2, 0.4), column(0, 1), np.array([1.0, 0.0]))


def test_outputs_of_a_step_are_no_probabilities():
    task, _ = resolve_task([0, 1], activation="step")
    metrics = evaluate(task, column(0, 1, 1), column(0, 1, 0))
    assert "log_loss" not in metrics
    # of the pairs of one in the class and one outside one is a tie, which counts half
    assert metrics["roc_auc"] == 0.75


def test_hundreds_of_classes_have_no_confusion_matrix():
    task, targets = resolve_task(list(range(257)), task="classification")
    assert evaluate(task, targets, targets).keys() == {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"}


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


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.floats(0, 1e300)), min_size=1))
def test_no_figure_of_a_classification_is_ever_infinite_or_not_a_number(rows):
    outputs, targets, weights = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
    if not weights.any():
        weights = None
    metrics = evaluate(BINARY, outputs[:, np.newaxis], targets[:, np.newaxis], weights)
    assert np.isfinite(metrics.pop("confusion_matrix")).all()
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(0 <= value <= 1 for name, value in metrics.items() if name != "log_loss")


@pytest.mark.parametrize("n", [7, 49, 93])
def test_all_right_is_exactly_1_in_every_ratio(n):
    # n times 1 / n is not 1 for these
    task, targets = resolve_task([0, 1] * n)
    outputs = np.clip(targets, 0.1, 0.9) + np.arange(2 * n)[:, np.newaxis] / (40 * n)
    for weights in (None, np.full(2 * n, 0.1), np.linspace(0.1, 0.7, 2 * n)):
        figures = evaluate(task, outputs, targets, weights)
        assert [figures[name] for name in ("accuracy", "precision", "recall", "f1", "roc_auc")] == [1.0] * 5
