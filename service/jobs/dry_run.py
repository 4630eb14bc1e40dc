"""What a job would do, without doing it: its config, its columns, and what it would take."""

import time
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from perceptron import Dataset, fit
from service.jobs.acceptance import Prepared
from storage.jobs.reports import TrainingWarning
from storage.jobs.shown import config_payload

_STEPS = 50_000_000
"""So many multiplications are measured, about a tenth of a second."""

_MAX_ROWS = 2_000
_MAX_EPOCHS = 20


class DryRunPayload(BaseModel):
    """What a job would do."""

    config: dict[str, Any] = Field(description="As the job would show it.")
    warnings: list[TrainingWarning]
    feature_names: list[str] | None = Field(description="Null if there are more than 1,000.")
    n_features: int
    n_parameters: int = Field(description="Of one network.")
    n_networks: int = Field(description="Candidates of a sweep times folds.")
    memory_bytes: int = Field(description="At most, by estimate; MAX_TRAINING_BYTES is the limit.")
    epoch_s: float = Field(description="For one epoch of one network, from the speed of the machine that answers.")
    at_most_s: float = Field(description="For max_epochs epochs of all networks. Most trainings end much earlier.")


def dry_run(prepared: Prepared, max_names: int) -> DryRunPayload:
    """Say what a job would do."""
    spec, names = prepared.spec, prepared.data.feature_names
    epoch_s = _epoch_s(prepared)
    at_most_s = epoch_s * spec.training.max_epochs * prepared.n_networks
    return DryRunPayload(
        config=config_payload(spec),
        warnings=list(spec.warnings),
        feature_names=list(names) if len(names) <= max_names else None,
        n_features=prepared.dataset.n_features,
        n_parameters=prepared.shape.n_parameters,
        n_networks=prepared.n_networks,
        memory_bytes=prepared.memory_bytes,
        epoch_s=epoch_s,
        at_most_s=at_most_s if spec.time_limit_s is None else min(at_most_s, spec.time_limit_s),
    )


def _epoch_s(prepared: Prepared) -> float:
    """Train the network on some rows of random features, and scale the time of an epoch to all rows."""
    spec, dataset = prepared.spec, prepared.dataset
    n_instances = prepared.data.n_instances
    n_rows = int(np.clip(_STEPS // prepared.shape.n_parameters, 2, min(_MAX_ROWS, n_instances)))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, dataset.n_instances, n_rows)
    sample = Dataset(rng.normal(size=(n_rows, dataset.n_features)), dataset.targets[rows])
    config = spec.training.__class__(**{**vars(spec.training), "max_epochs": _MAX_EPOCHS})
    results = fit(sample, spec.network, config)
    began_at, epochs = time.perf_counter(), 0
    for result in results:
        epochs = result.epoch
        if time.perf_counter() - began_at > 0.1:
            break
    return (time.perf_counter() - began_at) / epochs * n_instances / n_rows
