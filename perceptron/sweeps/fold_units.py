"""The units of the features for each fold of a cross-validation."""

import numpy as np

from perceptron.arrays import Rows
from perceptron.cost import FoldScales
from perceptron.data.dataset import Dataset
from perceptron.objective import Folds
from perceptron.preprocessing.standardization import Standardization
from perceptron.preprocessing.target_scaling import TargetScaling


class FoldUnits:
    """The data set in common units, and the standardization on top of them for each fold.

    Targets have the same units in all folds: only the weight of a penalty depends on their scale, and little.
    """

    def __init__(
        self, dataset: Dataset, fold_of: Rows | None, *, standardize: bool, scale_targets: bool = False
    ) -> None:
        self.targets = TargetScaling.of(dataset.targets, dataset.instance_weights, is_used=scale_targets)
        dataset = dataset.with_targets(self.targets.apply(dataset.targets))
        self.fold_of = fold_of
        self.held_out: tuple[int | None, ...] = (None,) if fold_of is None else tuple(range(int(fold_of.max()) + 1))
        """the fold that each network of a candidate does not train on"""
        self._common, self.dataset = Standardization.identity(dataset.n_features), dataset
        if standardize:
            self._common = _standardization(dataset)
            self.dataset = dataset.with_features(self._common.apply(dataset.features))
        # In common units the mean and scale of a fold are near 0 and 1: folding them into weights loses no precision.
        self._of_fold = [
            _standardization(self.dataset.take(np.flatnonzero(fold_of != fold)))
            if standardize and fold_of is not None
            else Standardization.identity(dataset.n_features)
            for fold in self.held_out
        ]
        self._from_raw = [self._after_common(further) for further in self._of_fold]

    @property
    def folds(self) -> Folds | None:
        """The folds of the data set in common units."""
        if self.fold_of is None:
            return None
        return Folds(
            self.fold_of,
            FoldScales(
                np.array([standardization.mean for standardization in self._of_fold]),
                np.array([standardization.scale for standardization in self._of_fold]),
            ),
        )

    def training_set(self, fold: int | None, dataset: Dataset) -> Dataset:
        """Give the rows that train when the fold is held out, from common units in the units of the fold."""
        return dataset if fold is None else self._in_units_of(fold, dataset.take(np.flatnonzero(self.fold_of != fold)))

    def validation_set(self, fold: int | None, dataset: Dataset) -> Dataset | None:
        """Give the rows of the fold, likewise."""
        return None if fold is None else self._in_units_of(fold, dataset.take(np.flatnonzero(self.fold_of == fold)))

    def _in_units_of(self, fold: int, dataset: Dataset) -> Dataset:
        return dataset.with_features(self._of_fold[fold].apply(dataset.features))

    def from_raw(self, fold: int | None) -> Standardization:
        """Give the standardization from raw units to the units of a fold."""
        return self._from_raw[fold or 0]

    def _after_common(self, further: Standardization) -> Standardization:
        constants = [one.is_constant for one in (self._common, further) if one.is_constant is not None]
        return Standardization(
            self._common.mean + self._common.scale * further.mean,
            self._common.scale * further.scale,
            np.logical_or.reduce(constants) if constants else None,
        )


def _standardization(dataset: Dataset) -> Standardization:
    return Standardization.of(dataset.features, dataset.instance_weights)
