"""What both estimators have in common: their settings, a fit as a job, and outputs as predictions of its version."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from perceptron_client._sync.client import Client
from perceptron_client.answers.jobs import Job
from perceptron_client.answers.models import Version
from perceptron_client.errors import DatasetInUse, JobNotDone, VersionInUse
from perceptron_client.sklearn.connections import Deletion, client_of, delete_with, new_name
from perceptron_client.sklearn.hint import hint_if_searched
from perceptron_client.sklearn.tables import Instances, Table, has_other_than_numbers


class RemoteEstimator(BaseEstimator):  # type: ignore[misc]
    """A network that the service trains and serves. See its subclasses."""

    model_: str
    version_: int
    job_: Job
    _deletion: Deletion | None
    _columns: list[str] | None
    """The columns of the rows to predict for; None: an array of numbers."""

    def __init__(
        self,
        *,
        hidden_layers: Sequence[int] = (),
        activation: str | None = None,
        hidden_activation: str | None = None,
        loss: str | None = None,
        optimizer: str | None = None,
        learning_rate: float | Literal["auto"] | None = None,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        tolerance: float | None = None,
        time_limit_s: float | None = None,
        l2: float | Literal["auto"] | None = None,
        class_weights: Literal["balanced"] | Mapping[Any, float] | None = None,
        initialization: str | None = None,
        standardize: bool | None = None,
        scale_targets: bool | None = None,
        dtype: str | None = None,
        validation_fraction: float | None = None,
        folds: int | None = None,
        early_stopping_patience: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        model: str | None = None,
        base_url: str | None = None,
        wait_timeout_s: float | None = None,
        progress: bool = False,
    ) -> None:
        self.hidden_layers = hidden_layers
        self.activation = activation
        self.hidden_activation = hidden_activation
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.tolerance = tolerance
        self.time_limit_s = time_limit_s
        self.l2 = l2
        self.class_weights = class_weights
        self.initialization = initialization
        self.standardize = standardize
        self.scale_targets = scale_targets
        self.dtype = dtype
        self.validation_fraction = validation_fraction
        self.folds = folds
        self.early_stopping_patience = early_stopping_patience
        self.random_state = random_state
        self.model = model
        self.base_url = base_url
        self.wait_timeout_s = wait_timeout_s
        self.progress = progress

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        deletion = state.pop("_deletion", None)
        if deletion is not None:
            deletion.detach()  # the copy predicts with the same model, and may outlive this process
        return state

    def _table_of(self, X: Any, *, reset: bool, min_instances: int = 1) -> Table:
        """Check X; with `reset` remember how many features it has, and their names."""
        if has_other_than_numbers(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if len(X) < min_instances:
                raise ValueError(f"Found array with {len(X)} sample(s) while a minimum of {min_instances} is required.")
            return Table(self._names(), None, X)
        matrix = validate_data(
            self,
            X,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=min_instances,
        )
        return Table(self._names(), matrix)

    def _names(self) -> tuple[str, ...]:
        named = getattr(self, "feature_names_in_", None)
        return tuple(f"x{k}" for k in range(self.n_features_in_)) if named is None else tuple(map(str, named))

    def _train(
        self,
        instances: Instances,
        *,
        task: str,
        activation: str | None,
        class_weights: Any = None,
        start: bool = False,
        one_epoch: bool = False,
    ) -> Version:
        """Train on the instances, keep what came of it, and return the version.

        Args:
            start: from the version of the fit before.
            one_epoch: of plain gradient descent, unless the settings name an optimizer.
        """
        hint_if_searched()
        client = client_of(self.base_url)
        members: dict[str, Any] = {
            "task": task,
            "network": _given(
                activation=activation, hidden_layers=list(self.hidden_layers), hidden_activation=self.hidden_activation
            ),
            "training": self._training() | _given(class_weights=class_weights),
        }
        if one_epoch:
            members["training"] = self._one_epoch(members["training"], is_step=activation == "step", task=task)
        else:
            members["validation"] = self._validation()
        if start:
            members["start_from"] = {"model": self.model_, "version": self.version_}
        own = getattr(self, "_deletion", None)
        name, deletion = self._model_for(start, own)
        job = self._job(client, instances, {"model": name, **members}, can_upload=not one_epoch)
        assert job.result is not None
        before = getattr(self, "version_", 0)
        # first of all: whatever fails from here on, the estimator predicts with what it has learned
        self.model_, self.version_, self.job_, self._deletion = name, job.result.version, job, deletion
        if own is not None and own is deletion:
            with suppress(VersionInUse):  # an alias names it
                client.models.delete_version(name, before)
        elif own is not None:
            own()
        self.n_iter_ = job.result.epochs
        for notice in () if one_epoch else job.result.warnings:
            if notice.code == "not_converged":
                warnings.warn(notice.detail, ConvergenceWarning, stacklevel=4)  # where fit is called
        version = client.models.version(name, job.result.version)
        is_by_column = instances.table.needs_columns
        self._columns = [each["name"] for each in version.columns or ()] if is_by_column else None
        return version

    def _model_for(self, start: bool, own: Deletion | None) -> tuple[str, Deletion | None]:
        """Return the name of the model to train, and what deletes it if it belongs to this estimator alone."""
        if self.model is not None:
            return self.model, None
        if start:
            return self.model_, own
        name = new_name()
        return name, delete_with(self, self.base_url, name)

    def _job(self, client: Client, instances: Instances, members: dict[str, Any], *, can_upload: bool) -> Job:
        """Return the job when it has succeeded."""
        if not (can_upload and instances.is_large):
            return self._awaited(client, members | instances.inline())
        table, of_table = instances.uploaded()
        dataset = client.datasets.upload(table, progress=self.progress)
        try:
            return self._awaited(client, members | of_table | {"dataset": dataset})
        finally:
            with suppress(DatasetInUse):  # by this job, if the wait was interrupted
                client.datasets.delete(dataset.id)

    def _awaited(self, client: Client, members: dict[str, Any]) -> Job:
        job = client.jobs.create(**members)
        try:
            return client.jobs.wait(job, timeout_s=self.wait_timeout_s, progress=self.progress)
        except JobNotDone:
            client.jobs.cancel(job.id)
            raise

    def _training(self) -> dict[str, Any]:
        seed = self.random_state
        if isinstance(seed, np.random.RandomState):
            seed = check_random_state(seed).randint(2**31 - 1)
        same = (
            *("loss", "optimizer", "learning_rate", "batch_size", "max_epochs", "tolerance", "time_limit_s", "l2"),
            *("initialization", "standardize", "scale_targets", "dtype"),
        )
        return _given(**{name: getattr(self, name) for name in same}, seed=seed)

    def _validation(self) -> dict[str, Any] | None:
        return (
            _given(
                fraction=self.validation_fraction,
                folds=self.folds,
                early_stopping_patience=self.early_stopping_patience,
            )
            or None
        )

    @staticmethod
    def _one_epoch(training: dict[str, Any], *, is_step: bool, task: str) -> dict[str, Any]:
        chosen: dict[str, Any] = {"optimizer": "perceptron_rule" if is_step else "gradient_descent"}
        if task == "classification" and not is_step:
            chosen["loss"] = "cross_entropy"
        training = chosen | training | {"max_epochs": 1}
        if training["optimizer"] == "gradient_descent":
            training.setdefault("learning_rate", "auto")  # the largest that is sure to lower the cost
        return training

    def _keep_weights(self, version: Version, *, is_vector: bool) -> None:
        """Set coef_ and intercept_, if the outputs are linear in X but for an activation.

        Args:
            is_vector: of one output, (n_features,) and a number; else (n_outputs, n_features) and (n_outputs,).
        """
        for name in ("coef_", "intercept_"):
            self.__dict__.pop(name, None)
        if len(self.hidden_layers) or self._columns is not None or version.weights is None or version.bias is None:
            return
        weights, bias = version.weights[0], version.bias[0]
        self.coef_ = weights[:, 0].copy() if is_vector else weights.T.copy()
        self.intercept_ = float(bias[0]) if is_vector else bias.copy()

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return what the version of this fit gives for X, (n_instances, n_outputs)."""
        check_is_fitted(self, "version_")
        table = self._table_of(X, reset=False)
        if self._columns is None and table.needs_columns:
            raise ValueError(
                f"X has gaps or other values than numbers, and the data that this {type(self).__name__} was fitted "
                "on had none"
            )
        prediction = client_of(self.base_url).predict(self.model_, table.rows(self._columns), version=self.version_)
        if prediction.warnings:
            first = prediction.warnings[0]
            warnings.warn(
                f"{len(prediction.warnings)} warnings of the service, the first one: {first.pointer}: {first.detail}",
                UserWarning,
                stacklevel=3,
            )
        return np.array(prediction.outputs)


def weights_of(sample_weight: ArrayLike | None, n_instances: int) -> NDArray[np.float64] | None:
    """Check the weights of the instances."""
    if sample_weight is None:
        return None
    weights: NDArray[np.float64] = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.shape != (n_instances,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_instances,)}!")
    if (weights < 0).any():
        raise ValueError("sample_weight must not be negative")
    if not weights.any():
        raise ValueError("sample_weight is zero for all samples: no sample counts")
    return weights


def require_y(estimator: BaseEstimator, y: Any) -> None:
    """Raise if there are no targets."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")


def _given(**members: Any) -> dict[str, Any]:
    """Return what is not None, as numbers of Python."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in members.items()
        if value is not None
    }
