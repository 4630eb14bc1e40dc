"""Predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron_client.answers import html
from perceptron_client.answers.answer import Answer, array_of, array_or_none
from perceptron_client.answers.jobs import Notice, notices_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class VersionOutputs(Answer):
    """The outputs of one of several versions."""

    outputs: NDArray[np.float64]
    predictions: NDArray[Any]
    aliases: tuple[str, ...]
    warnings: tuple[Notice, ...]

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {
            "outputs": array_of(np.asarray(raw["outputs"], float)),
            "predictions": array_of(raw["predictions"]),
            "aliases": tuple(raw.get("aliases") or ()),
            "warnings": notices_of(raw.get("warnings")),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Prediction(Answer):
    """The outputs of a model for some instances."""

    model: str
    version: int | None
    """None for the network of a job that still runs."""
    outputs: NDArray[np.float64]
    """y_hat, (n_instances, n_outputs)."""
    predictions: NDArray[Any]
    """What each row of outputs stands for: a class or a value (n_instances,), or values (n_instances, n_outputs)."""
    warnings: tuple[Notice, ...]
    contributions: NDArray[np.float64] | None
    """With explain: (n_instances, n_features), with several outputs (n_instances, n_outputs, n_features)."""
    base: NDArray[np.float64] | None
    """z where all features are 0. With contributions and residual it sums to z."""
    residual: NDArray[np.float64] | None
    by_version: Mapping[int, VersionOutputs] | None
    stale: bool
    """Redis was away: there may be a newer version."""

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        outputs = raw["outputs"]
        compared = raw.get("by_version")
        return {
            "model": raw.get("model", ""),
            "version": raw.get("version"),
            "outputs": array_of(np.asarray(outputs, float)),
            "predictions": array_of(raw["predictions"]),
            "warnings": notices_of(raw.get("warnings")),
            "contributions": array_or_none(raw.get("contributions")),
            "base": array_or_none(raw.get("base")),
            "residual": array_or_none(raw.get("residual")),
            "by_version": None
            if compared is None
            else {int(number): VersionOutputs.of(each) for number, each in compared.items()},
            "stale": bool(raw.get("stale", False)),
        }

    def __len__(self) -> int:
        return len(self.outputs)

    def _repr_html_(self) -> str:
        title = f"{self.model}, version {self.version}" if self.version else f"{self.model}, provisional"
        n_outputs = self.outputs.shape[1]
        names = ["output"] if n_outputs == 1 else [f"output_{k}" for k in range(n_outputs)]
        cells = [
            (i, self.predictions[i].tolist(), *self.outputs[i].tolist()) for i in range(min(len(self), html.MAX_ROWS))
        ]
        card = html.card("Prediction", {"model": title, "instances": len(self)} | html.notices(self.warnings))
        return card + html.table(("", "prediction", *names), cells, len(self))


_BY_INSTANCE = ("outputs", "predictions", "contributions", "residual", "warnings")
"""The members of the JSON that are lists over the instances."""


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Return the predictions of several requests, which one version answered, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        outputs=_stacked([part.outputs for part in parts]),
        predictions=_stacked([part.predictions for part in parts]),
        warnings=tuple(notice for part in parts for notice in part.warnings),
        contributions=_stacked_or_none([part.contributions for part in parts]),
        residual=_stacked_or_none([part.residual for part in parts]),
        by_version=None
        if first.by_version is None
        else {
            number: _joined_version([(part.by_version or {})[number] for part in parts]) for number in first.by_version
        },
        stale=any(part.stale for part in parts),
        raw=_joined_raw([part.raw for part in parts]),
    )


def _joined_version(parts: Sequence[VersionOutputs]) -> VersionOutputs:
    return replace(
        parts[0],
        outputs=_stacked([part.outputs for part in parts]),
        predictions=_stacked([part.predictions for part in parts]),
        warnings=tuple(notice for part in parts for notice in part.warnings),
        raw=_joined_raw([part.raw for part in parts]),
    )


def _joined_raw(raws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    raw = dict(raws[0])
    for name in _BY_INSTANCE:
        lists = [each[name] for each in raws if each.get(name)]
        if lists:
            raw[name] = [value for values in lists for value in values]
    if "by_version" in raw:
        raw["by_version"] = {
            number: _joined_raw([each["by_version"][number] for each in raws]) for number in raw["by_version"]
        }
    return raw


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return array_of(np.concatenate(arrays))


def _stacked_or_none(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    given = [array for array in arrays if array is not None]
    return _stacked(given) if given else None
