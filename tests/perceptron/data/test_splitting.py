from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perceptron import Dataset, InvalidDatasetError, assign_folds, resolve_task, split, validation_rows


def classes(*counts):
    """Give a data set of counts[k] instances of class k, whose only feature is the instance's number."""
    names = [f"class {k}" for k, count in enumerate(counts) for _ in range(count)]
    task, targets = resolve_task(names)
    return Dataset(np.arange(float(len(names)))[:, np.newaxis], targets), task


def numbers(n_instances):
    task, targets = resolve_task([0.5 + k for k in range(n_instances)])
    return Dataset(np.arange(float(n_instances))[:, np.newaxis], targets), task


def class_counts(task, dataset):
    return np.bincount(task.class_indices(dataset.targets), minlength=len(task.classes)).tolist()


@pytest.mark.parametrize(
    ("counts", "fraction", "validation_counts"),
    [
        ((50, 30, 20), 0.2, [10, 6, 4]),
        ((80, 20), 0.1, [8, 2]),
        # 6 of 29: shares 3.1, 2.07, 0.83; the largest remainder is the last one's
        ((15, 10, 4), 0.2, [3, 2, 1]),
        # a class of one instance stays in training
        ((9, 1), 0.5, [5, 0]),
        # nine tenths wanted, but every class keeps one instance in training
        ((3, 3), 0.9, [2, 2]),
        # at least one instance for validation
        ((3, 2), 0.01, [1, 0]),
        # a class each: one of them has to go
        ((1, 1), 0.5, [1, 0]),
        ((1, 1, 1), 0.9, [1, 0, 0]),
    ],
)
def test_classes_keep_their_shares_as_nearly_as_whole_instances_allow(counts, fraction, validation_counts):
    dataset, task = classes(*counts)
    training, validation = split(dataset, task, fraction, seed=0)
    assert class_counts(task, validation) == validation_counts
    assert class_counts(task, training) == [n - m for n, m in zip(counts, validation_counts, strict=True)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.floats(0.001, 0.999),
    st.integers(0, 2**32 - 1),
)
def test_every_instance_is_in_exactly_one_part_and_neither_is_empty(counts, fraction, seed):
    dataset, task = classes(*counts)
    training, validation = split(dataset, task, fraction, seed)
    rows = np.concatenate([training.features, validation.features])[:, 0]
    assert sorted(rows) == list(range(sum(counts)))
    assert training.n_instances >= 1
    assert validation.n_instances >= 1
    if max(counts) > 1:
        assert min(class_counts(task, training)) >= 1


def test_the_parts_keep_the_order_and_belong_to_the_seed():
    dataset, task = numbers(100)
    training, validation = split(dataset, task, 0.25, seed=4)
    assert (training.n_instances, validation.n_instances) == (75, 25)
    assert (np.diff(training.features[:, 0]) > 0).all()
    assert (np.diff(validation.features[:, 0]) > 0).all()
    np.testing.assert_array_equal(validation.features, split(dataset, task, 0.25, seed=4)[1].features)
    assert not np.array_equal(validation.features, split(dataset, task, 0.25, seed=5)[1].features)
    # targets go with their features
    np.testing.assert_array_equal(validation.targets, validation.features + 0.5)


def test_instance_weights_go_with_their_instances():
    dataset, task = numbers(10)
    weighted = replace(dataset, instance_weights=np.arange(1.0, 11.0))
    for part in split(weighted, task, 0.3, seed=0):
        np.testing.assert_array_equal(part.instance_weights, part.features[:, 0] + 1)


def test_one_class_of_a_binary_task_can_be_split():
    task, _ = resolve_task([0.0, 1.0])
    targets = np.zeros((5, 1))
    training, validation = split(Dataset(np.ones((5, 1)), targets), task, 0.2, seed=0)
    assert (training.n_instances, validation.n_instances) == (4, 1)


def test_one_instance_cannot_be_split():
    dataset, task = numbers(1)
    with pytest.raises(InvalidDatasetError, match="at least 2 instances to split, got 1"):
        split(dataset, task, 0.5, seed=0)


def test_split_keeps_the_validation_rows():
    dataset, task = classes(20, 10)
    _, validation = split(dataset, task, 0.3, seed=2)
    np.testing.assert_array_equal(validation_rows(dataset, task, 0.3, seed=2), validation.features[:, 0])


def test_folds_share_every_class_and_all_instances_evenly():
    # 7 of class 0 go to folds 0 1 2 0 1 2 0, 5 of class 1 on to 1 2 0 1 2
    dataset, task = classes(7, 5)
    fold_of = assign_folds(dataset, task, 3, seed=0)
    assert np.bincount(fold_of[:7]).tolist() == [3, 2, 2]
    assert np.bincount(fold_of[7:]).tolist() == [1, 2, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(2, 10), st.integers(0, 2**32 - 1))
def test_folds_differ_by_one_instance_at_most(counts, n_folds, seed):
    dataset, task = classes(*counts)
    n_folds = min(n_folds, dataset.n_instances)
    fold_of = assign_folds(dataset, task, n_folds, seed)
    indices = task.class_indices(dataset.targets)
    for rows in [np.ones_like(indices, dtype=bool), *(indices == k for k in range(len(counts)))]:
        assert np.ptp(np.bincount(fold_of[rows], minlength=n_folds)) <= 1


def test_folds_belong_to_the_seed():
    dataset, task = numbers(50)
    np.testing.assert_array_equal(assign_folds(dataset, task, 5, seed=1), assign_folds(dataset, task, 5, seed=1))
    assert not np.array_equal(assign_folds(dataset, task, 5, seed=1), assign_folds(dataset, task, 5, seed=2))


@pytest.mark.parametrize("n_folds", [1, 4])
def test_there_are_at_least_2_folds_and_no_more_than_instances(n_folds):
    dataset, task = numbers(3)
    with pytest.raises(InvalidDatasetError, match=f"no more than the 3 instances, got {n_folds}"):
        assign_folds(dataset, task, n_folds, seed=0)
