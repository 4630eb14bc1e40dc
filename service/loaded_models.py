"""Versions in process memory, ready to predict with."""

import threading
from collections import OrderedDict

from perceptron import Architecture, NetworkConfig
from storage import ModelStore, TrainedModel, Version, decode_version

_MAX_BYTES = 80_000_000


class LoadedModels:
    """The versions used last, up to 80 MB. A version never changes, so one in memory stays right."""

    def __init__(self, models: ModelStore) -> None:
        self._models = models
        self._by_version: OrderedDict[tuple[str, int], TrainedModel] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> TrainedModel:
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
