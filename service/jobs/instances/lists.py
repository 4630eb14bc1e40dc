"""Instances that come with a request, as lists of numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import Dataset, InvalidDatasetError, TargetsOutOfRangeError, Task, as_column, resolve_task
from service.http.errors import Fault, InvalidRequestError
from service.http.parsing import json_type, parse_matrix, parse_vector, refuse
from service.jobs.instances.training_data import TrainingData
from service.jobs.payloads import InlineData, TrainingRequest
from service.settings import Limits
from storage.blobs import BlobStore
from storage.codec import encode_dataset
from storage.jobs.spec import MAX_NAMES_IN_RECORD, DataReference


def from_lists(request: TrainingRequest, data: InlineData, blobs: BlobStore, limits: Limits) -> TrainingData:
    """Check the lists of a request.

    Raises:
        InvalidRequestError, PerceptronError: they cannot be trained on.
    """
    _check_size(request, data, limits)
    task, targets = _resolved(request, data)
    features = parse_matrix(data.features or [], "/data/features")
    if len(features) != len(targets):
        refuse("/data/targets", f"expected {len(features)} targets, one for each instance, got {len(targets)}")
    dataset = Dataset(features, targets)
    if data.instance_weights is not None:
        dataset = with_weights(dataset, parse_vector(data.instance_weights, "/data/instance_weights"))
    names = _feature_names(data, dataset.n_features)

    def put(dataset: Dataset) -> DataReference:
        in_blob = names if len(names) > MAX_NAMES_IN_RECORD else ()
        return DataReference(blobs.put(encode_dataset(dataset, in_blob)), dataset.n_instances, dataset.n_features)

    return TrainingData(task, dataset, dataset.n_instances, names, put)


def with_weights(dataset: Dataset, weights: NDArray[np.float64], pointer: str = "/data/instance_weights") -> Dataset:
    """Return the data set with the weights of its instances, without those of weight 0.

    Raises:
        InvalidRequestError: they cannot be weights.
    """
    try:
        return replace(dataset, instance_weights=weights).counted()
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault(pointer, str(error))]) from error


def _check_size(request: TrainingRequest, data: InlineData, limits: Limits) -> None:
    """Check the size of every array before the first one is made."""
    counts = {
        "features": _n_in_lists(data.features or ()),
        "targets": _n_target_values(as_column(data.targets or []), request),
        "instance_weights": len(data.instance_weights or ()),
    }
    for name, n_values in counts.items():
        if n_values > limits.max_inline_values:
            each = (
                " (one for each instance and class)" if name == "targets" and n_values > len(data.targets or ()) else ""
            )
            detail = f"must hold at most {limits.max_inline_values} values (MAX_INLINE_VALUES), not {n_values}{each}"
            refuse(f"/data/{name}", detail)


def _n_in_lists(rows: Sequence[Any]) -> int:
    return sum(len(row) for row in rows if isinstance(row, list))


def _n_target_values(targets: Sequence[Any], request: TrainingRequest) -> int:
    if targets and isinstance(targets[0], list):
        return _n_in_lists(targets)
    is_of_classes = request.task == "classification" or request.network.activation == "softmax"
    if not is_of_classes and not (targets and isinstance(targets[0], str)):
        return len(targets)
    n_classes = len({target for target in targets if isinstance(target, (str, int, float))})
    return len(targets) * (n_classes if n_classes > 2 else 1)


def _resolved(request: TrainingRequest, data: InlineData) -> tuple[Task, NDArray[np.float64]]:
    try:
        return resolve_task(
            _checked_targets(as_column(data.targets or [])),
            task=request.task,
            activation=request.network.activation,
            loss=request.training.loss,
        )
    except TargetsOutOfRangeError:
        raise  # it names the target
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault("/data/targets", str(error))]) from error


def _checked_targets(targets: Sequence[Any]) -> Sequence[float] | Sequence[str] | Sequence[Sequence[float]]:
    """Check that the targets are all numbers, all booleans, all strings, or all lists of numbers of one length."""
    if not targets:
        refuse("/data/targets", "must not be empty")
    if type(targets[0]) is bool and set(map(type, targets)) == {bool}:
        return [int(target) for target in targets]
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
            refuse(f"/data/feature_names/{k}", f"the name {name!r} occurs twice")
        seen.add(name)
    return names
