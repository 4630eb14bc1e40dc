"""A version made ready for use: its network folded into raw units, and what its outputs stand for."""

import hashlib
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from perceptron import Network, Task, fold
from storage.codec import decode_model
from storage.errors import CorruptDataError
from storage.models import Version

_TASK = TypeAdapter(Task)
_NAMES = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A version with its network folded into the units of the raw features, in float64."""

    name: str
    version: int
    task: Task
    feature_names: tuple[str, ...]
    network: Network


def decode_version(version: Version, weights: bytes) -> TrainedModel:
    """Make a version ready for use.

    Raises:
        CorruptDataError: the description or the weights are not what was published.
    """
    description = version.description
    try:
        task = _TASK.validate_python(description["task"])
        names = _NAMES.validate_python(description["feature_names"])
        network = description["network"]
        activations = (network["hidden_activation"],) * len(network["hidden_layers"]) + (task.activation,)
        digest = description["digests"]["weights"]
    except (KeyError, TypeError, ValidationError) as error:
        raise CorruptDataError(f"{_named(version)} cannot be read: {error!r}") from error
    if hashlib.sha256(weights).hexdigest() != digest:
        raise CorruptDataError(f"{_named(version)} has other weights than were published")
    trained, standardization = decode_model(weights, activations)
    if (trained.n_inputs, trained.n_outputs) != (len(names), task.n_outputs):
        shape = f"{trained.n_inputs} inputs and {trained.n_outputs} outputs"
        raise CorruptDataError(f"{_named(version)} has a network with {shape}, which its description has not")
    return TrainedModel(version.model, version.number, task, names, fold(trained, standardization))


def _named(version: Version) -> str:
    return f"version {version.number} of model {version.model!r}"
