"""The versions used last. A version never changes, so one in memory stays right for its digest."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future

from service.predict.memory.loaded_model import LoadedModel
from storage.models.trained_model import TrainedModel

_Key = tuple[str, int]
_Loading = tuple[str, int, str | None]


class VersionCache:
    """Versions in memory by model and number; the least recently used are evicted.

    Args:
        load: reads a version from the store.
        max_bytes: what all versions together may take. One version is kept even if it takes more.
    """

    def __init__(self, load: Callable[[str, int], TrainedModel], *, max_bytes: int) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # never held while the store is called
        self._loaded: OrderedDict[_Key, LoadedModel] = OrderedDict()
        self._loading: dict[_Loading, Future[LoadedModel]] = {}
        self.n_bytes = 0
        self.n_loads = 0
        self.n_evictions = 0

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, model: str, number: int, digest: str | None) -> LoadedModel | None:
        """Return a version if it is in memory.

        Args:
            digest: of the version meant, since another one may have had its number; None if it is unknown.
        """
        key = (model, number)
        try:  # without the lock, which costs more than both steps: each of them is atomic
            self._loaded.move_to_end(key)
            loaded = self._loaded[key]
        except KeyError:
            return None
        return loaded if digest in (None, loaded.trained.digest) else None

    def get_or_load(self, model: str, number: int, digest: str | None) -> LoadedModel:
        """Return a version, loaded once however many threads want it at the same time.

        What was loaded has another digest if the store has another version by now.

        Raises:
            VersionNotFoundError and so on: what `load` raises.
        """
        loading = (model, number, digest)
        ours: Future[LoadedModel] = Future()
        with self._lock:
            if (loaded := self.get(model, number, digest)) is not None:
                return loaded
            first = self._loading.setdefault(loading, ours)
        if first is not ours:
            return first.result()
        try:
            loaded = LoadedModel(self._load(model, number))
            self._keep(loading, ours, loaded)
        except BaseException as error:
            self._keep(loading, ours, None)
            ours.set_exception(error)
            raise
        ours.set_result(loaded)
        return loaded

    def discard(self, model: str, numbers: Iterable[int]) -> None:
        """Remove versions that were deleted."""
        with self._lock:
            for number in numbers:
                self._evict((model, number))

    def clear(self) -> None:
        """Remove every version, and keep none that is being loaded now."""
        with self._lock:
            self._loaded.clear()
            self._loading.clear()
            self.n_bytes = 0

    def _keep(self, loading: _Loading, ours: Future[LoadedModel], loaded: LoadedModel | None) -> None:
        with self._lock:
            if self._loading.get(loading) is not ours:
                return  # cleared meanwhile
            del self._loading[loading]
            if loaded is not None:
                key = loading[:2]
                self._evict(key)  # another version had the number
                self._loaded[key] = loaded
                self.n_loads += 1
                self.n_bytes += loaded.n_bytes
                while self.n_bytes > self._max_bytes and len(self._loaded) > 1:
                    # Not by an iterator, which `get` may disturb: it takes no lock.
                    _, oldest = self._loaded.popitem(last=False)
                    self.n_bytes -= oldest.n_bytes
                    self.n_evictions += 1

    def _evict(self, key: _Key) -> None:
        evicted = self._loaded.pop(key, None)
        if evicted is not None:
            self.n_bytes -= evicted.n_bytes
