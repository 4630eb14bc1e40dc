"""A version ready for use: its network in raw units, and what its outputs stand for."""

import hashlib
from dataclasses import dataclass

from perceptron import Network, NetworkConfig, TableEncoder, Task, fold
from storage.codec import StoredNetwork, decode_model
from storage.errors import CorruptDataError
from storage.jobs.record import BestNetwork
from storage.models.versions import Version


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A version whose network is folded into the units of the raw features, in float64."""

    name: str
    version: int
    """0 for the network of a job that still runs; no version has this number."""
    task: Task
    feature_names: tuple[str, ...]
    network: Network
    digest: str = ""
    """That of the version."""
    encoder: TableEncoder | None = None
    """Of a network trained on the columns of a table: turns its rows into features."""
    target: str | None = None
    """The column of that table that was learned, if it has a name."""


def decode_version(version: Version, weights: bytes) -> TrainedModel:
    """Return a version ready for use.

    Raises:
        CorruptDataError: the weights are not what was published.
    """
    description = version.description
    task, names = description.task, description.feature_names
    if hashlib.sha256(weights).hexdigest() != description.digests.weights:
        raise CorruptDataError(f"{_named(version)} has weights with another digest than those published")
    stored = _decoded(weights, description.network, task)
    network = fold(stored.network, stored.standardization)
    encoder = stored.encoder
    model = TrainedModel(version.model, version.number, task, names, network, version.digest, encoder, stored.target)
    if (model.network.n_inputs, model.network.n_outputs) != (len(names), task.n_outputs):
        shape = f"{model.network.n_inputs} inputs and {model.network.n_outputs} outputs"
        raise CorruptDataError(f"{_named(version)} has a network with {shape}, unlike its description")
    if encoder is not None and encoder.n_features != len(names):
        raise CorruptDataError(f"{_named(version)} has columns for {encoder.n_features} features, not {len(names)}")
    return model


def decode_best(best: BestNetwork) -> TrainedModel:
    """Return the best network so far of a job ready for use.

    Raises:
        CorruptDataError: the weights are not what was written.
    """
    job, spec = best.job, best.job.spec
    stored = _decoded(best.weights, spec.network, spec.task)
    network, encoder = fold(stored.network, stored.standardization), stored.encoder
    feature_names = spec.feature_names if encoder is None else encoder.feature_names
    if network.n_inputs != len(feature_names):
        names = f"{len(feature_names)} names of features"
        raise CorruptDataError(f"the best network of job {job.id!r} has {network.n_inputs} inputs, but {names}")
    return TrainedModel(job.model, 0, spec.task, feature_names, network, encoder=encoder, target=stored.target)


def _decoded(weights: bytes, config: NetworkConfig, task: Task) -> StoredNetwork:
    activations = (config.hidden_activation,) * len(config.hidden_layers) + (task.activation,)
    return decode_model(weights, activations)


def _named(version: Version) -> str:
    return f"version {version.number} of model {version.model!r}"
