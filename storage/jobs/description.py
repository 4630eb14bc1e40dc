"""The description that a job publishes with its version."""

import hashlib
from dataclasses import dataclass, fields

from pydantic import TypeAdapter

from perceptron import NetworkConfig, Task, TrainingConfig, ValidationConfig
from storage.codec import has_columns
from storage.jobs.record import Job
from storage.jobs.reports import Outcome
from storage.jobs.spec import VersionReference
from storage.tenants import local


@dataclass(frozen=True)
class Digests:
    """sha256 of the weights of a version, and of the data that it was trained on."""

    weights: str
    data: str
    feature_names: str | None = None
    """Of their bytes, if the names are stored beside the description."""


@dataclass(frozen=True, kw_only=True)
class Description(Outcome):
    """How a version was trained, and what its network takes and gives."""

    job: str
    task: Task
    network: NetworkConfig
    feature_names: tuple[str, ...]
    training: TrainingConfig
    """With the learning rate that `auto` stood for, and the settings that won a sweep."""
    validation: ValidationConfig | None
    start_from: VersionReference | None
    dataset: str | None = None
    """The id of the data set that it was trained on."""
    n_instances: int
    n_threads: int
    digests: Digests
    has_columns: bool = False
    """Whether it takes rows of a table: the columns are stored with the weights"""

    @classmethod
    def of(
        cls, job: Job, outcome: Outcome, *, training: TrainingConfig, weights: bytes, n_threads: int
    ) -> "Description":
        """Describe the version that a job publishes with these weights."""
        spec = job.spec
        return cls(
            **{field.name: getattr(outcome, field.name) for field in fields(Outcome)},
            job=local(job.id),
            task=spec.task,
            network=spec.network,
            feature_names=spec.feature_names,
            training=training,
            validation=spec.validation,
            start_from=spec.start_from,
            dataset=spec.data.dataset,
            n_instances=spec.data.n_instances,
            n_threads=n_threads,
            has_columns=has_columns(weights),
            digests=Digests(weights=hashlib.sha256(weights).hexdigest(), data=spec.data.blob),
        )


DESCRIPTION = TypeAdapter(Description)
"""Reads and writes a description as JSON."""


def digest_of(description: bytes) -> str:
    """Return the digest of a version: that of its description as it is stored.

    The description holds the digests of all that is stored beside it, so this one stands for those, too.
    """
    return hashlib.sha256(description).hexdigest()
