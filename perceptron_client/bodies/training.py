"""From the arguments of `jobs.create` to the body of `POST /jobs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict

import numpy as np

from perceptron_client.bodies.frames import column_names, kind_of_frame, to_columns, to_records
from perceptron_client.errors import InvalidArgument


class TrainingMembers(TypedDict, total=False):
    """The arguments of `jobs.create`. What is None or left out is chosen by the service; see docs/api.md."""

    model: Required[str]
    data: Any
    """`{"features": ..., "targets": ..., "feature_names": ...}` with lists or arrays, or (X, y); or, with `target`,
    records: `{"records": [...]}`, a list of dicts, or a data frame."""
    dataset: Any
    """Instead of data, with `target`: an uploaded Dataset, or its id."""
    target: str | None
    features: Sequence[str] | None
    exclude: Sequence[str] | None
    types: Mapping[str, str] | None
    weights: str | None
    """The column that says how often each row counts."""
    task: str | None
    network: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    validation: Mapping[str, Any] | None
    sweep: Mapping[str, Any] | None
    start_from: Mapping[str, Any] | None
    alias: str | None
    metadata: Mapping[str, str] | None
    webhook: str | Mapping[str, Any] | None
    """The URL that is told the end of the job, or `{"url": ...}`."""


def training_request(members: TrainingMembers) -> dict[str, Any]:
    """Return the body of a training request.

    Raises:
        InvalidArgument: the data is none of the forms that are taken.
    """
    body: dict[str, Any] = {name: value for name, value in members.items() if value is not None}
    if "data" in body:
        body["data"] = inline_data(body["data"])
    if "dataset" in body:
        body["dataset"] = getattr(body["dataset"], "id", body["dataset"])
    if isinstance(body.get("webhook"), str):
        body["webhook"] = {"url": body["webhook"]}
    return body


def inline_data(data: Any) -> dict[str, Any]:
    """Return the member `data`.

    Raises:
        InvalidArgument: it is none of the forms that are taken.
    """
    if kind_of_frame(data):
        return {"records": to_records(data)}
    if isinstance(data, Mapping):
        return {name: _as_lists(value) for name, value in data.items()}
    if isinstance(data, tuple) and len(data) == 2:
        return _from_pair(*data)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and all(isinstance(x, Mapping) for x in data):
        return {"records": list(data)}
    raise InvalidArgument(
        "data must be a dict with features and targets or with records, a tuple (X, y), a list of dicts or a "
        f"data frame, not {type(data).__name__}"
    )


def _from_pair(features: Any, targets: Any) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if kind_of_frame(features):
        members["feature_names"] = column_names(features)
        columns = to_columns(features).values()
        members["features"] = [list(row) for row in zip(*columns, strict=True)]
    else:
        members["features"] = _as_lists(features)
    if kind_of_frame(targets):
        columns = to_columns(targets).values()
        members["targets"] = [row[0] if len(row) == 1 else list(row) for row in zip(*columns, strict=True)]
    else:
        members["targets"] = _as_lists(targets)
    return members


def _as_lists(values: Any) -> Any:
    """Return arrays and columns of data frames as lists."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    if kind_of_frame(values):
        return [list(row) for row in zip(*to_columns(values).values(), strict=True)]
    to_list = getattr(values, "tolist", None) or getattr(values, "to_list", None) or getattr(values, "to_pylist", None)
    return to_list() if to_list is not None else values
