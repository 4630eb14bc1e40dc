import numpy as np
import pytest

from perceptron import Dataset, InvalidDatasetError

ONE = np.ones((1, 1))


@pytest.mark.parametrize(
    ("features", "targets", "weights", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 1)), None, "2 instances but 3 targets"),
        (np.ones((0, 3)), np.ones((0, 1)), None, r"features .* at least one value, got shape \(0, 3\)"),
        (np.ones((2, 0)), np.ones((2, 1)), None, r"features .* at least one value, got shape \(2, 0\)"),
        (np.ones(2), np.ones((2, 1)), None, r"features must have 2 dimensions .* got shape \(2,\)"),
        (np.ones((2, 1)), np.ones(2), None, r"targets must have 2 dimensions .* got shape \(2,\)"),
        (np.array([[1.0, np.nan]]), ONE, None, r"features must be finite, got nan at \[0, 1\]"),
        (ONE, np.array([[-np.inf]]), None, r"targets must be finite, got -inf at \[0, 0\]"),
        ([["a"]], ONE, None, "features must be a 2-dimensional array of numbers"),
        ([[1.0], [1.0, 2.0]], np.ones((2, 1)), None, "features must be a 2-dimensional array of numbers"),
        (ONE, ONE, np.ones(2), "1 instances but 2 instance_weights"),
        (ONE, ONE, np.array([-1.0]), "at least 0, but that of instance 0 is -1.0"),
        (ONE, ONE, np.array([0.0]), "positive, finite sum, got 0.0"),
        (np.ones((2, 1)), np.ones((2, 1)), np.array([1e308, 1e308]), "positive, finite sum, got inf"),
        (ONE, ONE, np.array([np.nan]), "instance_weights must be finite"),
    ],
)
def test_what_cannot_be_trained_on_is_no_dataset(features, targets, weights, message):
    with pytest.raises(InvalidDatasetError, match=message):
        Dataset(features, targets, weights)


def test_a_dataset_knows_its_sizes_and_gives_rows_of_itself():
    dataset = Dataset(np.arange(6.0).reshape(3, 2), np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
    assert (dataset.n_instances, dataset.n_features, dataset.n_outputs) == (3, 2, 1)
    taken = dataset.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.features, [[4.0, 5.0], [0.0, 1.0]])
    np.testing.assert_array_equal(taken.targets, [[2.0], [0.0]])
    np.testing.assert_array_equal(taken.instance_weights, [3.0, 1.0])


def test_floats_are_not_copied_and_other_numbers_become_float64():
    features = np.ones((1, 2), dtype=np.float32)
    assert Dataset(features, ONE).features is features
    assert Dataset(np.array([[1, 2]]), ONE).features.dtype == np.float64


def test_the_weights_of_the_classes_multiply_those_of_the_instances_in_the_cost_alone():
    dataset = Dataset(np.ones((2, 1)), np.ones((2, 1)), np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    np.testing.assert_array_equal(dataset.cost_weights, [3.0, 10.0])
    np.testing.assert_array_equal(dataset.instance_weights, [1.0, 2.0])
    np.testing.assert_array_equal(dataset.take(np.array([1])).cost_weights, [10.0])


def test_weights_whose_products_are_all_0_cannot_be_used():
    with pytest.raises(InvalidDatasetError, match="positive, finite sum"):
        Dataset(np.ones((2, 1)), np.ones((2, 1)), np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def test_instances_of_weight_0_do_not_count():
    dataset = Dataset(np.array([[1.0], [2.0]]), np.ones((2, 1)), np.array([0.0, 2.0])).counted()
    assert (dataset.features.tolist(), dataset.instance_weights.tolist()) == ([[2.0]], [2.0])


@pytest.mark.parametrize("unit", [5e-324, 1.0, 1e307])
def test_relative_weights_have_mean_1_whatever_their_unit(unit):
    # (2, 0, 0, 2) has mean 1
    weights = np.array([unit, 0.0, 0.0, unit])
    np.testing.assert_array_equal(Dataset(np.ones((4, 1)), np.ones((4, 1)), weights).relative_weights(), [2, 0, 0, 2])
