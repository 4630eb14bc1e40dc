"""From a request to train to what a worker needs: arrays in the blob store, and every default chosen."""

from collections.abc import Sequence
from typing import Any

from perceptron import (
    Dataset,
    NetworkConfig,
    ValidationConfig,
    class_weights,
    resolve_task,
    resolve_training_config,
)
from service.parsing import json_type, parse_matrix, parse_vector, refuse
from service.payloads import InlineData, TrainingRequest
from service.settings import Limits
from storage import BlobStore, DataReference, TrainingSpec, encode_dataset


def accept(request: TrainingRequest, blobs: BlobStore, limits: Limits) -> TrainingSpec:
    """Check a request in full, store its instances, and return what is to be trained.

    Raises:
        InvalidRequestError, PerceptronError: what is asked for cannot be done.
    """
    training = request.training
    if training.max_epochs > limits.max_epochs:
        detail = f"must be at most {limits.max_epochs} (MAX_EPOCHS), not {training.max_epochs}"
        refuse("/training/max_epochs", detail)
    features_given = request.data.features
    _check_size(features_given, limits)
    task, targets = resolve_task(
        _checked_targets(request.data.targets),
        task=request.task,
        activation=request.network.activation,
        loss=training.loss,
    )
    features = parse_matrix(features_given, "/data/features")
    if len(features) != len(targets):
        refuse("/data/targets", f"expected {len(features)} targets, one for each instance, got {len(targets)}")
    weights = None
    if request.data.instance_weights is not None:
        weights = parse_vector(request.data.instance_weights, "/data/instance_weights")
    dataset = Dataset(features, targets, weights)
    if training.class_weights is not None:
        dataset = dataset.weighted(class_weights(task, dataset.targets, training.class_weights))
    network = NetworkConfig(
        activation=task.activation,
        hidden_layers=tuple(request.network.hidden_layers),
        hidden_activation=request.network.hidden_activation,
    )
    return TrainingSpec(
        task=task,
        network=network,
        training=resolve_training_config(
            network,
            loss=task.loss,
            optimizer=training.optimizer,
            learning_rate=training.learning_rate,
            batch_size=training.batch_size,
            max_epochs=training.max_epochs,
            tolerance=training.tolerance,
            l2=training.l2,
            initialization=training.initialization,
            standardize=training.standardize,
            seed=training.seed,
            dtype=training.dtype,
        ),
        validation=_validation(request, dataset),
        feature_names=_feature_names(request.data, dataset.n_features),
        data=DataReference(blobs.put(encode_dataset(dataset)), dataset.n_instances, dataset.n_features),
        time_limit_s=training.time_limit_s,
        alias=request.alias,
    )


def _check_size(features: Sequence[Any], limits: Limits) -> None:
    n_values = sum(len(row) for row in features if isinstance(row, list))
    if n_values > limits.max_inline_values:
        detail = f"must hold at most {limits.max_inline_values} values (MAX_INLINE_VALUES), not {n_values}"
        refuse("/data/features", detail)


def _checked_targets(targets: list[Any]) -> list[float] | list[str] | list[list[float]]:
    """Check that the targets are all numbers, all strings, or all lists of numbers of one length."""
    if not targets:
        refuse("/data/targets", "must not be empty")
    if isinstance(targets[0], list):
        parse_matrix(targets, "/data/targets")
    elif isinstance(targets[0], str):
        for i, target in enumerate(targets):
            if not isinstance(target, str):
                refuse(
                    f"/data/targets/{i}",
                    f"must be a class name like the first target, not {json_type(target)}",
                )
    else:
        parse_vector(targets, "/data/targets")
    return targets


def _feature_names(data: InlineData, n_features: int) -> tuple[str, ...]:
    if data.feature_names is None:
        return tuple(f"x{k}" for k in range(n_features))
    names = tuple(data.feature_names)
    if len(names) != n_features:
        refuse("/data/feature_names", f"expected {n_features} names, one for each feature, got {len(names)}")
    seen: set[str] = set()
    for k, name in enumerate(names):
        if name in seen:
            refuse(f"/data/feature_names/{k}", f"the name {name!r} stands twice")
        seen.add(name)
    return names


def _validation(request: TrainingRequest, dataset: Dataset) -> ValidationConfig | None:
    if request.validation is None:
        return None
    if dataset.n_instances < 2:
        refuse("/validation", "needs at least 2 instances, one to learn from and one to hold out")
    return ValidationConfig(
        fraction=request.validation.fraction,
        early_stopping_patience=request.validation.early_stopping_patience,
    )
