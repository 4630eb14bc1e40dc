"""Models and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron_client.answers import html, plots
from perceptron_client.answers.answer import Answer, array_of, time_of
from perceptron_client.answers.jobs import Notice, notices_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class VersionSummary(Answer):
    """A version in the list of its model."""

    version: int
    created_at: datetime | None
    job: str | None
    metrics: Mapping[str, Any]

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {
            "version": raw["version"],
            "created_at": time_of(raw.get("created_at")),
            "job": raw.get("job"),
            "metrics": raw.get("metrics") or {},
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Model(Answer):
    """A model."""

    name: str
    latest_version: int
    n_versions: int
    aliases: Mapping[str, int]
    versions: tuple[VersionSummary, ...] | None = field(repr=False)
    """None in a list of models."""

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        versions = raw.get("versions")
        return {
            "name": raw["name"],
            "latest_version": raw["latest_version"],
            "n_versions": raw["n_versions"] if versions is None else len(versions),
            "aliases": raw.get("aliases") or {},
            "versions": None if versions is None else tuple(map(VersionSummary.of, versions)),
        }

    def _repr_html_(self) -> str:
        rows: dict[str, Any] = {"name": self.name, "latest version": self.latest_version, "versions": self.n_versions}
        rows |= {"aliases": ", ".join(f"{alias}: {number}" for alias, number in self.aliases.items())}
        card = html.card("Model", rows)
        if not self.versions:
            return card
        newest_first = self.versions[::-1]
        figures = [html.figures(each.metrics) for each in newest_first]
        names = list(dict.fromkeys(name for each in figures for name in each))
        cells = [
            (each.version, each.created_at, *(of_version.get(name, "") for name in names))
            for each, of_version in zip(newest_first, figures, strict=True)
        ]
        return card + html.table(("version", "created", *names), cells)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Version(Answer):
    """One immutable trained network."""

    model: str
    version: int
    created_at: datetime | None
    aliases: tuple[str, ...]
    weights: tuple[NDArray[np.float64], ...] | None = field(repr=False)
    """One matrix (n_inputs, n_outputs) for each layer, for raw features; None above 10,000 parameters."""
    bias: tuple[NDArray[np.float64], ...] | None = field(repr=False)
    """One vector (n_outputs,) for each layer."""
    job: str | None
    feature_names: tuple[str, ...]
    task: Mapping[str, Any]
    network: Mapping[str, Any] = field(repr=False)
    training: Mapping[str, Any] = field(repr=False)
    metrics: Mapping[str, Any] = field(repr=False)
    warnings: tuple[Notice, ...]
    columns: tuple[Mapping[str, Any], ...] | None = field(repr=False)
    """Of a version trained on a table: the columns of the rows to predict for."""
    target: str | None

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        weights, bias, columns = raw.get("weights"), raw.get("bias"), raw.get("columns")
        return {
            "model": raw["model"],
            "version": raw["version"],
            "created_at": time_of(raw.get("created_at")),
            "aliases": tuple(raw.get("aliases") or ()),
            "weights": None if weights is None else tuple(array_of(np.asarray(each, float)) for each in weights),
            "bias": None if bias is None else tuple(array_of(np.asarray(each, float)) for each in bias),
            "job": raw.get("job"),
            "feature_names": tuple(raw.get("feature_names") or ()),
            "task": raw.get("task") or {},
            "network": raw.get("network") or {},
            "training": raw.get("training") or {},
            "metrics": raw.get("metrics") or {},
            "warnings": notices_of(raw.get("warnings")),
            "columns": None if columns is None else tuple(columns),
            "target": raw.get("target"),
        }

    def plot(self, *, figure: Any = None) -> Any:
        """Draw the weights of the first layer by feature, and the confusion matrix if there is one.

        Needs matplotlib. With hidden layers, a bar is the norm of the feature's weights.

        Args:
            figure: to draw on; None: a new one.

        Returns:
            The figure.
        """
        return plots.version(self, figure)

    def _repr_html_(self) -> str:
        rows: dict[str, Any] = {
            "model": self.model,
            "version": self.version,
            "aliases": ", ".join(self.aliases),
            "task": self.task.get("kind", ""),
            "features": len(self.feature_names),
        }
        card = html.card("Version", rows | html.figures(self.metrics) | html.notices(self.warnings))
        if self.weights is None or self.bias is None or len(self.weights) != 1 or self.weights[0].shape[1] != 1:
            return card
        values = self.weights[0][:, 0]
        order = np.argsort(-np.abs(values))[: html.MAX_ROWS - 1]
        cells = [("bias", float(self.bias[0][0])), *((self.feature_names[k], float(values[k])) for k in order)]
        return card + html.table(("feature", "weight"), cells, len(values) + 1)
