"""A version made ready for use: its network folded into raw units, and what its outputs stand for."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from perceptron import Network, Task, fold
from storage.codec import decode_model
from storage.errors import CorruptDataError
from storage.models import Version

_TASK = TypeAdapter(Task)
_NAMES = TypeAdapter(tuple[str, ...])


@dataclass(frozen=True)
class TrainedModel:
    """A version with its network folded into the units of the raw features, in float64."""

    name: str
    version: int
    task: Task
    feature_names: tuple[str, ...]
    network: Network

    @property
    def n_bytes(self) -> int:
        """How much memory it takes, about: a number has 8 bytes, a text some 60 beside its characters."""
        return 8 * self.network.n_parameters + sum(60 + len(name) for name in self.feature_names)


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
    except (KeyError, TypeError, ValidationError) as error:
        raise CorruptDataError(
            f"version {version.number} of model {version.model!r} cannot be read: {error}"
        ) from error
    trained, standardization = decode_model(weights, activations)
    return TrainedModel(version.model, version.number, task, names, fold(trained, standardization))
