"""Versions in process memory, ready to predict with."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from perceptron import Architecture, Network, NetworkConfig, Task, fold
from storage import CorruptDataError, ModelStore, Version, decode_model

_TASK = TypeAdapter(Task)
_NAMES = TypeAdapter(tuple[str, ...])
_MAX_BYTES = 80_000_000


@dataclass(frozen=True)
class LoadedModel:
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


class LoadedModels:
    """The versions used last, up to 80 MB. A version never changes, so one in memory stays right."""

    def __init__(self, models: ModelStore) -> None:
        self._models = models
        self._by_version: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> LoadedModel:
        """Return the version given, the alias's, or else the latest.

        Which one that is, and whether it still exists, is asked anew each time.

        Raises:
            ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what was named does not exist.
        """
        number = self._models.resolve(model, version=version, alias=alias)
        with self._lock:
            loaded = self._by_version.get((model, number))
            if loaded is not None:
                self._by_version.move_to_end((model, number))
                return loaded
        loaded = decode_version(*self._models.load(model, number))
        with self._lock:
            if (model, number) not in self._by_version:
                self._by_version[model, number] = loaded
                self._n_bytes += loaded.n_bytes
            while self._n_bytes > _MAX_BYTES and len(self._by_version) > 1:
                _, oldest = self._by_version.popitem(last=False)
                self._n_bytes -= oldest.n_bytes
        return loaded


def n_parameters(version: Version) -> int:
    """Count a version's weights and biases without decoding them."""
    network, task = version.description["network"], version.description["task"]
    n_inputs = len(version.description["feature_names"])
    shape = Architecture.of(NetworkConfig(**network), n_inputs=n_inputs, n_outputs=task["n_outputs"])
    return shape.n_parameters


def decode_version(version: Version, weights: bytes) -> LoadedModel:
    """Make a version ready to predict with.

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
    return LoadedModel(
        name=version.model,
        version=version.number,
        task=task,
        feature_names=names,
        network=fold(trained, standardization),
    )
