import numpy as np
import pytest

from perceptron import Dataset, InvalidConfigError, class_weights, resolve_task


def test_balanced_classes_count_the_same_in_all():
    # n / (n_classes * count): 6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)
    task, targets = resolve_task(["a", "a", "a", "b", "b", "c"])
    weights = class_weights(task, Dataset(targets, targets), "balanced")
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 1.0, 1.0, 2.0], rtol=1e-15)


def test_balanced_weights_of_a_binary_task():
    task, targets = resolve_task([0, 0, 0, 1])
    np.testing.assert_allclose(
        class_weights(task, Dataset(targets, targets), "balanced"), [2 / 3] * 3 + [2.0], rtol=1e-15
    )


def test_a_class_that_does_not_occur_takes_no_part():
    task, _ = resolve_task([0, 1])
    ones = np.ones((2, 1))
    np.testing.assert_array_equal(class_weights(task, Dataset(ones, ones), "balanced"), [1.0, 1.0])


@pytest.mark.parametrize("weights", [{"1": 5.0}, {1: 5.0}])
def test_named_weights_go_to_their_class_and_the_others_count_1(weights):
    task, targets = resolve_task([0, 1, 0])
    np.testing.assert_array_equal(class_weights(task, Dataset(targets, targets), weights), [1.0, 5.0, 1.0])


@pytest.mark.parametrize(
    ("targets", "weights", "field"),
    [
        ([0.5], "balanced", "training/class_weights"),
        (["a", "b"], "equal", "training/class_weights"),
        (["a", "b"], {"c": 1.0}, "training/class_weights/c"),
        (["a", "b"], {"a": -1.0}, "training/class_weights/a"),
        (["a", "b"], {"a": float("nan")}, "training/class_weights/a"),
    ],
)
def test_weights_that_mean_nothing_are_refused_by_their_field(targets, weights, field):
    task, numbers = resolve_task(targets)
    with pytest.raises(InvalidConfigError) as caught:
        class_weights(task, Dataset(numbers, numbers), weights)
    assert caught.value.field == field


def test_balanced_weights_count_an_instance_as_often_as_its_weight_says():
    # class 0 counts 3, class 1 counts 1 of 4: 4 / (2 * 3) and 4 / (2 * 1)
    task, targets = resolve_task([0, 0, 1])
    dataset = Dataset(targets, targets, np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(class_weights(task, dataset, "balanced"), [2 / 3, 2 / 3, 2.0], rtol=1e-15)
