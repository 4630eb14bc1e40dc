"""The table "targets | activation | task, default loss" of the API, row by row."""

import numpy as np
import pytest

from perceptron import InvalidConfigError, InvalidDatasetError, TargetsOutOfRangeError, Task, resolve_task

BINARY, CLASSES, REGRESSION = "binary_classification", "classification", "regression"
SQUARED, ENTROPY = "mean_squared_error", "cross_entropy"


@pytest.mark.parametrize(
    ("targets", "given", "expected", "values"),
    [
        # 0/1 only, or two class names
        ([0, 1, 1], {}, Task(BINARY, (0, 1), "sigmoid", SQUARED, 1), [[0], [1], [1]]),
        ([0, 1], {"activation": "sigmoid"}, Task(BINARY, (0, 1), "sigmoid", SQUARED, 1), [[0], [1]]),
        ([0, 1], {"activation": "step"}, Task(BINARY, (0, 1), "step", SQUARED, 1), [[0], [1]]),
        ([0, 1], {"loss": ENTROPY}, Task(BINARY, (0, 1), "sigmoid", ENTROPY, 1), [[0], [1]]),
        ([False, True], {}, Task(BINARY, (0, 1), "sigmoid", SQUARED, 1), [[0], [1]]),
        ([0, 1], {"task": CLASSES}, Task(BINARY, (0, 1), "sigmoid", SQUARED, 1), [[0], [1]]),
        (["spam", "ham"], {}, Task(BINARY, ("ham", "spam"), "sigmoid", SQUARED, 1), [[1], [0]]),
        (["b", "a"], {"activation": "step"}, Task(BINARY, ("a", "b"), "step", SQUARED, 1), [[1], [0]]),
        # two whole numbers, when the activation or the task says that they are classes
        ([-1, 1, -1], {"activation": "step"}, Task(BINARY, (-1, 1), "step", SQUARED, 1), [[0], [1], [0]]),
        ([2, 1], {"activation": "step", "task": CLASSES}, Task(BINARY, (1, 2), "step", SQUARED, 1), [[1], [0]]),
        ([3, 4], {"activation": "sigmoid", "task": CLASSES}, Task(BINARY, (3, 4), "sigmoid", SQUARED, 1), [[0], [1]]),
        (
            [-1, 1],
            {"activation": "sigmoid", "task": CLASSES, "loss": ENTROPY},
            Task(BINARY, (-1, 1), "sigmoid", ENTROPY, 1),
            [[0], [1]],
        ),
        ([1, 2], {"activation": "softmax"}, Task(CLASSES, (1, 2), "softmax", ENTROPY, 2), [[1, 0], [0, 1]]),
        # three or more class names, or whole numbers with "task": "classification"
        (
            ["c", "a", "b"],
            {},
            Task(CLASSES, ("a", "b", "c"), "softmax", ENTROPY, 3),
            [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        ),
        (
            ["c", "a", "b"],
            {"activation": "softmax", "loss": SQUARED, "task": CLASSES},
            Task(CLASSES, ("a", "b", "c"), "softmax", SQUARED, 3),
            [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        ),
        (
            [7, -2.0, 7],
            {"task": CLASSES},
            Task(CLASSES, (-2, 7), "softmax", ENTROPY, 2),
            [[0, 1], [1, 0], [0, 1]],
        ),
        (
            [0, 1],
            {"task": CLASSES, "activation": "softmax"},
            Task(CLASSES, (0, 1), "softmax", ENTROPY, 2),
            [[1, 0], [0, 1]],
        ),
        (
            ["x", "y"],
            {"activation": "softmax"},
            Task(CLASSES, ("x", "y"), "softmax", ENTROPY, 2),
            [[1, 0], [0, 1]],
        ),
        (
            [0, 1, 2],
            {"activation": "softmax"},
            Task(CLASSES, (0, 1, 2), "softmax", ENTROPY, 3),
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        ),
        # other numbers
        ([0, 1, 2], {}, Task(REGRESSION, None, "identity", SQUARED, 1), [[0], [1], [2]]),
        ([-7.5], {"activation": "identity"}, Task(REGRESSION, None, "identity", SQUARED, 1), [[-7.5]]),
        ([0, 1], {"task": REGRESSION}, Task(REGRESSION, None, "identity", SQUARED, 1), [[0], [1]]),
        # numbers within its range
        (
            [-1, 0.5, 1],
            {"activation": "tanh"},
            Task(REGRESSION, None, "tanh", SQUARED, 1),
            [[-1], [0.5], [1]],
        ),
        ([0, 1e9], {"activation": "relu"}, Task(REGRESSION, None, "relu", SQUARED, 1), [[0], [1e9]]),
        (
            [0, 0.5, 1],
            {"activation": "sigmoid"},
            Task(REGRESSION, None, "sigmoid", SQUARED, 1),
            [[0], [0.5], [1]],
        ),
        ([0, 1], {"activation": "identity"}, Task(REGRESSION, None, "identity", SQUARED, 1), [[0], [1]]),
        ([0, 1], {"activation": "tanh"}, Task(REGRESSION, None, "tanh", SQUARED, 1), [[0], [1]]),
        ([0, 1], {"activation": "relu"}, Task(REGRESSION, None, "relu", SQUARED, 1), [[0], [1]]),
        (
            [0, 1],
            {"task": REGRESSION, "activation": "sigmoid", "loss": ENTROPY},
            Task(REGRESSION, None, "sigmoid", ENTROPY, 1),
            [[0], [1]],
        ),
        # a list of k numbers each
        (
            [[1, 2], [3, 4]],
            {},
            Task(REGRESSION, None, "identity", SQUARED, 2, is_list=True),
            [[1, 2], [3, 4]],
        ),
        # a list of one number each is a column
        ([[5.0]], {}, Task(REGRESSION, None, "identity", SQUARED, 1), [[5]]),
        ([[0], [1], [1]], {}, Task(BINARY, (0, 1), "sigmoid", SQUARED, 1), [[0], [1], [1]]),
        (np.array([[0.0], [2.5]]), {}, Task(REGRESSION, None, "identity", SQUARED, 1), [[0], [2.5]]),
        ([["b"], ["a"]], {}, Task(BINARY, ("a", "b"), "sigmoid", SQUARED, 1), [[1], [0]]),
        ([[3], [3]], {}, Task(REGRESSION, None, "identity", SQUARED, 1), [[3], [3]]),
        (
            [[0, 1], [0.5, 0]],
            {"activation": "sigmoid", "loss": ENTROPY},
            Task(REGRESSION, None, "sigmoid", ENTROPY, 2, is_list=True),
            [[0, 1], [0.5, 0]],
        ),
        (
            [[0, 1], [1, 0]],
            {"activation": "softmax"},
            Task(REGRESSION, None, "softmax", SQUARED, 2, is_list=True),
            [[0, 1], [1, 0]],
        ),
    ],
)
def test_the_task_follows_from_the_targets_and_the_activation(targets, given, expected, values):
    task, numbers = resolve_task(targets, **given)
    assert task == expected
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, values)


@pytest.mark.parametrize(
    ("targets", "activation", "low", "high", "index", "value"),
    [
        ([0.5, 1.5], "sigmoid", 0, 1, 1, 1.5),
        ([-0.1], "sigmoid", 0, 1, 0, -0.1),
        ([0, 0.5], "step", 0, 1, 1, 0.5),
        ([0, -2], "tanh", -1, 1, 1, -2),
        ([3, 4, -1], "relu", 0, np.inf, 2, -1),
        ([[0.5, 0.5], [0.5, 2.0]], "sigmoid", 0, 1, 1, 2.0),
        ([[0, 1], [0.5, 0.5]], "softmax", 0, 1, 1, 0.5),
        ([[1, 1]], "softmax", 0, 1, 0, 1),
    ],
)
def test_a_target_that_the_activation_never_gives_is_named(targets, activation, low, high, index, value):
    with pytest.raises(TargetsOutOfRangeError, match=f"target {index} is .*{activation} needs") as caught:
        resolve_task(targets, activation=activation)
    error = caught.value
    assert (error.activation, error.low, error.high) == (activation, low, high)
    assert (error.index, error.value) == (index, value)


@pytest.mark.parametrize(
    ("targets", "given", "field"),
    [
        (["a", "b", "c"], {"activation": "sigmoid"}, "network/activation"),
        (["a", "b", "c"], {"activation": "step"}, "network/activation"),
        (["a", "b"], {"activation": "tanh"}, "network/activation"),
        ([0, 1, 2], {"task": REGRESSION, "activation": "softmax"}, "network/activation"),
        ([3, 4, 5], {"task": CLASSES, "activation": "sigmoid"}, "network/activation"),
        ([3, 4], {"task": CLASSES, "activation": "tanh"}, "network/activation"),
        ([0, 1], {"task": REGRESSION, "activation": "step"}, "network/activation"),
        ([0, 1], {"activation": "swish"}, "network/activation"),
        ([1.5], {"loss": ENTROPY}, "training/loss"),
        ([0, 1], {"activation": "tanh", "loss": ENTROPY}, "training/loss"),
        ([0, 1], {"activation": "step", "loss": ENTROPY}, "training/loss"),
        ([0, 1], {"loss": "hinge"}, "training/loss"),
        (["a", "b"], {"task": REGRESSION}, "task"),
        ([[1, 2], [2, 1]], {"task": CLASSES}, "task"),
    ],
)
def test_what_does_not_go_with_the_targets_is_refused_by_its_field(targets, given, field):
    with pytest.raises(InvalidConfigError) as caught:
        resolve_task(targets, **given)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("targets", "given", "message"),
    [
        ([], {}, "at least one target"),
        (["a", "a"], {}, "at least two classes, got only 'a'"),
        ([3, 3], {"task": CLASSES}, "at least two classes, got only 3"),
        ([0, 0], {}, "at least two classes, got only 0"),
        ([1.0], {}, "at least two classes, got only 1"),
        ([-1, -1], {"activation": "step"}, "at least two classes, got only -1"),
        ([1, 1.5], {"activation": "softmax"}, "whole numbers, but target 1 is 1.5"),
        ([0, 0.5], {"task": CLASSES}, "whole numbers, but target 1 is 0.5"),
        (["a", 1], {}, "target 1 is 1"),
        ([1, "a"], {}, "target 1 is 'a'"),
        ([1, [2]], {}, r"target 1 is \[2\]"),
        ([[1], 2], {}, "target 1 is 2"),
        ([[1, 2], [3]], {}, "expected 2 numbers in target 1, got 1"),
        ([[]], {}, "expected 1 numbers in target 0, got 0"),
        ([[[1]]], {}, "got 3 dimensions"),
        ([1, None], {}, "target 1 is None"),
        ([1, float("nan")], {}, "finite targets, but target 1 is nan"),
        ([[1.0, 2.0], [1.0, float("inf")]], {}, r"finite targets, but target 1 is \[1.0, inf\]"),
        ([10**400], {}, "expected numbers"),
        ([str(k) for k in range(4097)], {}, "at most 4,096 classes, got 4,097"),
    ],
)
def test_targets_that_nothing_can_be_learned_from_are_refused(targets, given, message):
    with pytest.raises(InvalidDatasetError, match=message):
        resolve_task(targets, **given)


@pytest.mark.parametrize("number", [1e300, 10**25, -(2.0**54)])
def test_a_class_number_that_no_float_tells_from_its_neighbours_is_refused_by_index(number):
    with pytest.raises(InvalidDatasetError, match=r"must be -2\*\*53 to 2\*\*53, but target 2 is"):
        resolve_task([3, 5, number], task="classification")
    resolve_task([3, 5, 2**53], task="classification")
