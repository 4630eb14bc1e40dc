"""Splitting a data set into instances to train on and instances to validate with, once or in folds."""

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Rows
from perceptron.config import ValidationConfig
from perceptron.data.dataset import Dataset
from perceptron.data.task import Task
from perceptron.errors import InvalidDatasetError


def split(dataset: Dataset, task: Task, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split into the rows that are not `validation_rows` and those that are, both in order.

    Returns:
        The training set and the validation set.

    Raises:
        InvalidDatasetError: there are fewer than two instances.
    """
    held_out = validation_rows(dataset, task, fraction, seed)
    return dataset.take(np.delete(np.arange(dataset.n_instances), held_out)), dataset.take(held_out)


def validation_rows(dataset: Dataset, task: Task, fraction: float, seed: int) -> Rows:
    """Draw a fraction of the instances for validation, and give their indices in order.

    Classes keep their shares as nearly as whole instances allow. Validation gets at least one instance;
    training keeps one of every class, if there is any class with two. The same seed draws the same instances.

    Raises:
        InvalidDatasetError: there are fewer than two instances.
    """
    n_instances = dataset.n_instances
    if n_instances < 2:
        raise InvalidDatasetError(f"a validation set needs at least 2 instances to split, got {n_instances}")
    groups = _groups(dataset, task)
    n_validation = _allot(round(n_instances * fraction), np.array([len(group) for group in groups]))
    # Its own stream of random numbers: the epochs of a training draw from [seed, epoch].
    rng = np.random.default_rng([seed, 0, 1])
    drawn = [rng.permutation(group)[:count] for group, count in zip(groups, n_validation, strict=True)]
    rows: Rows = np.sort(np.concatenate(drawn))
    return rows


def is_held_out(rows: slice, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Tell which rows of a data set that is too large for a permutation are held out, (n_rows,): a fraction of them in
    the mean, whatever their classes. It depends on the seed and the number of the row alone.

    References:
        G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).
    """
    state = np.arange(rows.start, rows.stop, dtype=np.uint64)
    with np.errstate(over="ignore"):
        state += np.uint64(1) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        state *= np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    drawn: NDArray[np.bool_] = state < np.uint64(min(int(fraction * 2**64), 2**64 - 1))
    return drawn


def assign_folds(dataset: Dataset, task: Task, n_folds: int, seed: int) -> Rows:
    """Deal the instances to folds for cross-validation: the fold of each, (n_instances,), 0 to n_folds - 1.

    Instances are dealt class by class, in random order within a class: folds differ by at most one instance, overall
    and in each class. The same seed gives the same folds.

    Raises:
        InvalidDatasetError: there are fewer than two folds, or more than instances.
    """
    if not 2 <= n_folds <= dataset.n_instances:
        raise InvalidDatasetError(
            f"expected at least 2 folds and no more than the {dataset.n_instances} instances, got {n_folds}"
        )
    rng = np.random.default_rng([seed, 0, 2])
    dealt = np.concatenate([rng.permutation(group) for group in _groups(dataset, task)])
    fold_of = np.empty(dataset.n_instances, dtype=np.intp)
    fold_of[dealt] = np.arange(dataset.n_instances) % n_folds
    return fold_of


def held_out_parts(dataset: Dataset, task: Task, validation: ValidationConfig, seed: int) -> Rows:
    """Give the part of each instance, (n_instances,): its fold, or 0 if it is held out and -1 if it always trains."""
    if validation.folds is not None:
        return assign_folds(dataset, task, validation.folds, seed)
    part_of = np.full(dataset.n_instances, -1)
    part_of[validation_rows(dataset, task, validation.fraction, seed)] = 0
    return part_of


def _groups(dataset: Dataset, task: Task) -> list[Rows]:
    """Give the rows of each class that occurs; all rows together for a regression."""
    if task.classes is None:
        return [np.arange(dataset.n_instances)]
    indices = task.class_indices(dataset.targets)
    by_class = np.argsort(indices, kind="stable")
    starts = np.flatnonzero(np.diff(indices[by_class])) + 1
    return list(np.split(by_class, starts))


def _allot(n_wanted: int, counts: Rows) -> Rows:
    """Share n_wanted among groups by their counts, by largest remainder, leaving one in each."""
    spare = counts - 1
    if not spare.any():
        # Every class has a single instance: the training set has to lack one of them.
        spare = np.where(np.arange(len(counts)) == 0, 1, 0)
    n_allotted = min(max(n_wanted, 1), int(spare.sum()))
    shares = n_allotted * counts / counts.sum()
    allotted: Rows = shares.astype(np.intp)
    while (n_missing := n_allotted - int(allotted.sum())) > 0:
        open_groups = np.flatnonzero(allotted < spare)
        by_remainder = open_groups[np.argsort((allotted - shares)[open_groups], kind="stable")]
        allotted[by_remainder[:n_missing]] += 1
    return allotted
