"""Lists with texts, booleans and nulls, which are rows of columns: the same as records."""

from typing import Any

import numpy as np

from perceptron import Dataset, as_column
from service.http.parsing import check_cells, json_type, parse_vector, refuse
from service.jobs.instances.lists import with_weights
from service.jobs.payloads import InlineData, TrainingRequest

_OF_COLUMNS = {str, bool, type(None)}


def is_of_columns(data: InlineData) -> bool:
    """Tell whether the features are rows of columns: they have names, and a value that is no number."""
    rows = data.features or ()
    return data.feature_names is not None and any(
        isinstance(row, list) and not _OF_COLUMNS.isdisjoint(map(type, row)) for row in rows
    )


def as_records(request: TrainingRequest, data: InlineData) -> tuple[TrainingRequest, list[dict[str, Any]]]:
    """Return the request on records, whose target and weights are columns with names of their own, and the records.

    Raises:
        InvalidRequestError: rows, targets and weights do not fit together.
    """
    names, rows, targets = data.feature_names or [], data.features or [], list(as_column(data.targets or []))
    columns: dict[str, list[Any]] = {_free("target", names): targets}
    if data.instance_weights is not None:
        columns[_free("instance_weights", names)] = data.instance_weights
    for name, values in zip(("targets", "instance_weights"), columns.values(), strict=False):
        if len(values) != len(rows):
            refuse(f"/data/{name}", f"expected {len(rows)} values, one for each instance, got {len(values)}")
    _check_targets(targets, data.instance_weights)
    seen: set[str] = set()
    for k, name in enumerate(names):
        if name in seen:
            refuse(f"/data/feature_names/{k}", f"the name {name!r} occurs twice")
        seen.add(name)
    records = []
    for i, row in enumerate(rows):
        if not isinstance(row, list):
            refuse(f"/data/features/{i}", f"must be a list, not {json_type(row)}")
        if len(row) != len(names):
            refuse(f"/data/features/{i}", f"expected {len(names)} values, one for each name, got {len(row)}")
        check_cells(row, lambda k: f"/data/features/{i}/{k}")  # noqa: B023 (called at once)
        own = {name: values[i] for name, values in columns.items()}
        records.append(dict(zip(names, row, strict=True)) | own)
    target, *weights = columns
    return request.model_copy(update={"target": target, "weights": weights[0] if weights else None}), records


def _check_targets(targets: list[Any], weights: list[Any] | None) -> None:
    """Refuse targets and weights by their places in the body: their columns are none of the client's."""
    if any(isinstance(target, list) for target in targets):
        index = next(index for index, target in enumerate(targets) if isinstance(target, list))
        detail = "must be one value: several outputs are learned from features that are all numbers"
        refuse(f"/data/targets/{index}", detail)
    check_cells(targets, lambda k: f"/data/targets/{k}")
    if weights is not None:
        ones = np.ones((len(weights), 1))
        counted = with_weights(Dataset(ones, ones), parse_vector(weights, "/data/instance_weights"))
        if counted.n_instances < 2:
            refuse("/data/instance_weights", "leaves 1 instance that counts: no network learns from one alone")
    for index, target in enumerate(targets):
        if target is None and (weights is None or weights[index]):
            refuse(f"/data/targets/{index}", "must not be null: leave the instance out, or give it a weight of 0")


def _free(name: str, taken: list[str]) -> str:
    """Return the name, with underscores before it if a feature has it."""
    while name in taken:
        name = f"_{name}"
    return name
