"""`RemoteClassifier`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from perceptron_client.errors import UnexpectedAnswer
from perceptron_client.sklearn.remote import RemoteEstimator, require_y, weights_of
from perceptron_client.sklearn.tables import Instances, Table

_LARGEST_EXACT = 2**53
_MAX_NAME = 128


def _gives_probabilities(estimator: RemoteClassifier) -> bool:
    return estimator.activation != "step"


class RemoteClassifier(ClassifierMixin, RemoteEstimator):  # type: ignore[misc]
    """Classification with a network that the service trains and serves.

    The arguments are members of `POST /jobs` under their own names (docs/api.md); None leaves the choice to the
    service. The others:

    Args:
        class_weights: `balanced`, or a weight by class label.
        validation_fraction: `fraction` of `validation`.
        random_state: `seed`; None: 0, so two fits are equal.
        model: the name of the model that each fit gives a version. None: each fit makes a model of its own, which is
            deleted with the estimator; that of a pickled estimator stays.
        base_url: the address of the service; None: PERCEPTRON_URL, else http://127.0.0.1:8000. The key comes from
            PERCEPTRON_API_KEY, or from the file PERCEPTRON_API_KEY_FILE.
        wait_timeout_s: how long to wait for a training before it is cancelled; None: as long as it takes.
        progress: show a bar.

    Attributes:
        classes_: the labels, sorted.
        model_, version_: the version that predicts.
        job_: the job that trained it, with metrics and warnings.
        n_iter_: the number of epochs.
        n_features_in_, feature_names_in_: of X.
        coef_, intercept_: of a network without hidden layers that was trained on numbers.
    """

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X and the labels y. Instances of weight 0 are left out, and so are classes that only they have.

        X is an array, or a data frame of pandas or polars, which may have text; both may have gaps.

        Raises:
            ValueError: X, y or the weights are not valid.
            ApiError: the service refuses a setting.
            JobFailed: the training failed.
        """
        require_y(self, y)
        table = self._table_of(X, reset=True, min_instances=2)
        labels = _labels_of(y, table)
        weights = weights_of(sample_weight, len(table))
        instances = Instances(table, labels, weights).counted()
        return self._learned(instances, np.unique(instances.targets), start=False, one_epoch=False)

    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on X and y, from the weights learned so far; the same settings as `fit`, but no split.

        Without an optimizer of your own it is gradient descent with learning rate `auto`. X must be numbers.

        Args:
            classes: all labels; needed by the first call.
        """
        require_y(self, y)
        start = hasattr(self, "version_")
        table = self._table_of(X, reset=not start)
        labels = _labels_of(y, table)
        if table.needs_columns or table.matrix is None:
            raise ValueError("partial_fit needs numbers without gaps: another batch could have other categories")
        known = self.classes_ if start else None
        if classes is not None:
            named = np.unique(column_or_1d(classes))
            if known is not None and not np.array_equal(named, known):
                raise ValueError(
                    f"`classes={named.tolist()}` is not the same as on last call to partial_fit, {known.tolist()}"
                )
            known = named
        if known is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        unknown = np.setdiff1d(labels, known)
        if len(unknown):
            raise ValueError(
                f"y has the class {unknown.tolist()[0]!r}, which is not among the classes {known.tolist()}"
            )
        weights = weights_of(sample_weight, len(table))
        instances = Instances(table, labels, weights).counted()
        missing = np.setdiff1d(known, instances.targets)
        if len(missing):
            instances = _with_missing_classes(instances, missing)
        return self._learned(instances, known, start=start, one_epoch=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels: of two the second one if its probability is at least 0.5, else the most probable one."""
        outputs = self._outputs(X)
        indices = (outputs[:, 0] >= 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[indices]
        return labels

    @available_if(_gives_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, (n_instances, n_classes). There is none with step outputs."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the log odds of the second of two classes, (n_instances,), else the logarithm of each probability.

        Step outputs are 0.5 for the second class and -0.5 for the first.
        """
        outputs = self._outputs(X)
        if self.activation == "step":
            return outputs[:, 0] - 0.5
        tiny = np.finfo(np.float64).tiny
        logarithms = np.log(np.maximum(outputs, tiny))
        if outputs.shape[1] > 1:
            return logarithms
        return logarithms[:, 0] - np.log(np.maximum(1 - outputs[:, 0], np.finfo(np.float64).epsneg / 2))

    def _learned(self, instances: Instances, classes: NDArray[Any], *, start: bool, one_epoch: bool) -> Self:
        if len(classes) < 2:
            raise ValueError(
                f"y has 1 class, {classes.tolist()[0]!r}: a classifier needs at least 2 classes with a weight"
            )
        sent = _sent_for(classes)
        activation = self.activation or ("sigmoid" if len(classes) == 2 else None)
        class_weights = self.class_weights
        if isinstance(class_weights, dict):
            name_of = {label: str(name) for label, name in zip(classes.tolist(), sent.tolist(), strict=True)}
            class_weights = {name_of.get(label, str(label)): weight for label, weight in class_weights.items()}
        targets = sent[np.searchsorted(classes, instances.targets)]
        version = self._train(
            Instances(instances.table, targets, instances.weights),
            task="classification",
            activation=activation,
            class_weights=class_weights,
            start=start,
            one_epoch=one_epoch,
        )
        if list(map(str, version.task["classes"])) != list(map(str, sent.tolist())):
            raise UnexpectedAnswer(f"the service has the classes {version.task['classes']}, not {sent.tolist()}")
        self.classes_ = classes
        self._keep_weights(version, is_vector=False)
        return self


def _labels_of(y: Any, table: Table) -> NDArray[Any]:
    labels = column_or_1d(y, warn=True)
    labels = check_array(labels, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(labels)
    check_consistent_length(table, labels)
    return np.asarray(labels)


def _sent_for(classes: NDArray[Any]) -> NDArray[Any]:
    """Return what the service calls the classes, in the same order: their labels if it can, so others see them, too."""
    values = classes.tolist()
    if all(isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value == value.strip() for value in values):
        return classes.astype(str)
    if all(isinstance(value, int | float) and value == int(value) and abs(value) < _LARGEST_EXACT for value in values):
        return classes.astype(np.int64)
    return np.arange(len(classes))


def _with_missing_classes(instances: Instances, missing: NDArray[Any]) -> Instances:
    """Add an instance of weight 0 for each class that a batch lacks: a version keeps its classes."""
    matrix = instances.table.matrix
    assert matrix is not None
    weights = np.ones(len(matrix)) if instances.weights is None else instances.weights
    return Instances(
        Table(instances.table.names, np.vstack([matrix, np.repeat(matrix[:1], len(missing), axis=0)])),
        np.concatenate([instances.targets, missing]),
        np.concatenate([weights, np.zeros(len(missing))]),
    )
