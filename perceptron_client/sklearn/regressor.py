"""`RemoteRegressor`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, check_consistent_length

from perceptron_client.sklearn.remote import RemoteEstimator, require_y, weights_of
from perceptron_client.sklearn.tables import Instances


class RemoteRegressor(RegressorMixin, RemoteEstimator):  # type: ignore[misc]
    """Regression with a network that the service trains and serves.

    The arguments are members of `POST /jobs` under their own names (docs/api.md); None leaves the choice to the
    service. The others are explained at `RemoteClassifier`.

    Attributes:
        coef_, intercept_: of a network without hidden layers that was trained on numbers.
        model_, version_, job_, n_iter_, n_features_in_, feature_names_in_: as of `RemoteClassifier`.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and y, (n_instances,) or (n_instances, n_outputs).

        Raises:
            ValueError: X, y or the weights are not valid.
            ApiError: the service refuses a setting.
            JobFailed: the training failed.
        """
        return self._learned(X, y, sample_weight, start=False, one_epoch=False)

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on X and y, from the weights learned so far; the same settings as `fit`, but no split.

        Without an optimizer of your own it is gradient descent with learning rate `auto`.
        """
        return self._learned(X, y, sample_weight, start=hasattr(self, "version_"), one_epoch=True)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the values, shaped as y was."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_vector else outputs

    def _learned(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, *, start: bool, one_epoch: bool) -> Self:
        require_y(self, y)
        table = self._table_of(X, reset=not start, min_instances=1 if one_epoch else 2)
        targets = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if targets.ndim > 2:
            raise ValueError(f"y must be of one or two dimensions, not of shape {targets.shape}")
        check_consistent_length(table, targets)
        is_vector = targets.ndim == 1
        flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
        instances = Instances(table, flat, weights_of(sample_weight, len(table))).counted()
        version = self._train(
            instances, task="regression", activation=self.activation, start=start, one_epoch=one_epoch
        )
        self._is_vector = is_vector
        self._keep_weights(version, is_vector=is_vector)
        return self
