"""Versions in process memory, ready to predict with, and the pointers that say which one is meant."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from perceptron import Architecture, NetworkConfig
from service.http.errors import RedisHangsError
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.pointers import Pointers
from service.predict.memory.statistics import Statistics
from service.predict.model_reference import ModelReference
from service.settings import Settings
from storage.availability import is_unavailable
from storage.errors import ModelNotFoundError, VersionNotFoundError
from storage.jobs.store import JobStore
from storage.models.store import Model, ModelStore, Version
from storage.models.trained_model import decode_version

_ASK_AGAIN_AFTER_S = 1.0
"""While Redis is away, one request in so long asks it; the others go on without."""

_CHECK_EVERY_S = 1.0
_CHECK_AT_ONCE = 200
_MAX_PRELOADED = 1_000

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """What tells of changed models: `changes.Changes`."""

    is_connected: bool

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        """Call back with the name of each model that changes, or with None when any may have."""


class Found(NamedTuple):
    """The version that a request means."""

    model: LoadedModel
    is_stale: bool
    """Redis could not be asked: a pointer may have moved, or the version may be deleted."""


@dataclass(eq=False)
class _Read:
    """A read of pointers under way; a change heard meanwhile makes its result old."""

    models: frozenset[str]
    is_outdated: bool = False


class LoadedModels:
    """The versions used last, and every pointer asked for.

    A version never changes, so one in memory stays right. Pointers move: while a listener hears of every change, they
    are taken from memory; without one, Redis is asked each time, and while it cannot answer, the last known ones are
    taken.

    Args:
        jobs: whose networks can be predicted with, too.
        max_bytes: what the versions in memory may take together.
        check_store: raises one of UNAVAILABLE_ERRORS when the Redis is another one than it was; asked before anything
            is believed not to exist, and every second.
        default: the model that is meant where none is named.
    """

    def __init__(
        self,
        models: ModelStore,
        jobs: JobStore,
        *,
        max_bytes: int = Settings.model_memory_bytes,
        check_store: Callable[[], None] = lambda: None,
        default: ModelReference | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.default = default
        self.jobs = jobs
        self._models = models
        self._max_bytes = max_bytes
        self._check_store = check_store
        self._clock = clock
        self._lock = threading.Lock()  # held for moments only, never while Redis is asked
        self._by_version: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._n_bytes = 0
        self._loading: dict[tuple[str, int], Future[LoadedModel]] = {}
        self._pointers: dict[str, Pointers] = {}
        self._reads: set[_Read] = set()
        self._changed: set[str] = set()
        self._wake = threading.Event()
        self._listener: Listener | None = None
        self._is_away = False
        self._ask_again_at_s = 0.0
        self._is_preloaded = False
        self.statistics = Statistics()

    @property
    def is_ready(self) -> bool:
        """Whether the models that aliases name are in memory, where somebody follows them."""
        return self._is_preloaded or self._listener is None

    def follow(self, listener: Listener) -> None:
        """Keep the pointers fresh from now on, and begin with loading the models that aliases name."""
        self._listener = listener
        listener.on_model(self._hear)
        threading.Thread(target=self._keep_fresh, name="pointers", daemon=True).start()

    def forget(self) -> None:
        """Forget all that is in memory: the data that it was read of are given up, and numbers are used again."""
        with self._lock:
            self._by_version.clear()
            self._pointers.clear()
            self._n_bytes = 0
            for read in self._reads:
                read.is_outdated = True

    def find(self, model: str, *, version: int | None = None, alias: str | None = None) -> Found | None:
        """Return the version meant without waiting for anybody; None: only `get` can tell."""
        pointers = self._pointers.get(model)
        if pointers is None:
            return None
        is_stale = False
        if not (pointers.is_fresh and self._is_followed):
            if not self._is_away or self._clock() >= self._ask_again_at_s:
                return None
            is_stale = True
        number = pointers.number(version, alias)
        if number is None:
            return None
        with self._lock:
            loaded = self._by_version.get((model, number))
            if loaded is None:
                return None
            self._by_version.move_to_end((model, number))
        return Found(loaded, is_stale)

    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> Found:
        """Return the version given, the alias's, or else the latest; ask and load whatever that takes.

        Raises:
            ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what was named does not exist.
            CorruptDataError: the version is not what was published.
            RedisHangsError, or one of UNAVAILABLE_ERRORS: it is not in memory, and Redis cannot be asked.
        """
        found = self.find(model, version=version, alias=alias)
        if found is not None:
            return found
        for is_last in (False, True):
            pointers, is_stale = self._pointers_for(model, version, alias)
            number = pointers.number(version, alias)
            if number is None:
                raise pointers.missing(model, version, alias)
            try:
                return Found(self._loaded(model, number), is_stale)
            except VersionNotFoundError:
                # It was deleted a moment ago; the pointer moves, too.
                if is_last:
                    raise
                self._hear(model)
        raise AssertionError("unreachable")

    def aliases(self, model: str) -> Mapping[str, int]:
        """Return where the aliases of a model point; as `get`, but for the versions."""
        pointers, _ = self._pointers_for(model, None, None)
        if not pointers.versions:
            raise ModelNotFoundError(model)
        return pointers.aliases

    @property
    def _is_followed(self) -> bool:
        return self._listener is not None and self._listener.is_connected

    def _pointers_for(self, model: str, version: int | None, alias: str | None) -> tuple[Pointers, bool]:
        known = self._pointers.get(model)
        if known is not None:
            if known.is_gone(version):
                return known, False
            if known.is_fresh and self._is_followed and known.number(version, alias) is not None:
                return known, False
        try:
            return self._read([model])[0], False
        except Exception as error:
            if not _is_away(error) or known is None or known.number(version, alias) is None:
                raise
            return known, True

    def _read(self, models: list[str]) -> list[Pointers]:
        """Ask Redis for the pointers of models, and keep them."""
        with self._asking():
            read = _Read(frozenset(models))
            with self._lock:
                self._reads.add(read)
            try:
                found = self._models.find(models)
                if None in found:
                    self._check_store()
            finally:
                with self._lock:
                    self._reads.discard(read)
        with self._lock:
            return [
                self._keep(name, model, is_fresh=not read.is_outdated)
                for name, model in zip(models, found, strict=True)
            ]

    def _keep(self, name: str, model: Model | None, *, is_fresh: bool) -> Pointers:
        pointers = Pointers.of(model, is_fresh=is_fresh)
        before = self._pointers.get(name)
        for number in before.versions - pointers.versions if before else ():
            self._drop((name, number))
        if model is not None:
            self._pointers[name] = pointers
        else:
            self._pointers.pop(name, None)
        return pointers

    def _loaded(self, model: str, number: int) -> LoadedModel:
        """Return a version from memory or load it: once, however many ask for it at the same time."""
        key = (model, number)
        ours: Future[LoadedModel] = Future()
        with self._lock:
            if (loaded := self._by_version.get(key)) is not None:
                self._by_version.move_to_end(key)
                return loaded
            first = self._loading.setdefault(key, ours)
        if first is not ours:
            return first.result()
        try:
            with self._asking():
                stored = self._models.load(model, number)
            loaded = LoadedModel(decode_version(*stored))
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            ours.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            self._by_version[key] = loaded
            self._n_bytes += loaded.n_bytes
            while self._n_bytes > self._max_bytes and len(self._by_version) > 1:
                self._drop(next(iter(self._by_version)))
        ours.set_result(loaded)
        return loaded

    def _drop(self, key: tuple[str, int]) -> None:
        dropped = self._by_version.pop(key, None)
        if dropped is not None:
            self._n_bytes -= dropped.n_bytes

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask Redis inside the block, but while it is known to be away let one caller a second try.

        Raises:
            RedisHangsError: it is away, and another caller is the one that tries.
        """
        if self._is_away:
            with self._lock:
                now = self._clock()
                if now < self._ask_again_at_s:
                    raise RedisHangsError("Redis did not answer another request just now")
                self._ask_again_at_s = now + _ASK_AGAIN_AFTER_S
        try:
            yield
        except Exception as error:
            self._ask_again_at_s = self._clock() + _ASK_AGAIN_AFTER_S
            self._is_away = is_unavailable(error)
            raise
        self._is_away = False

    def _hear(self, model: str | None) -> None:
        """Take note that a model, or any, has changed; called on the event loop, so it asks nobody."""
        with self._lock:
            for name in self._pointers if model is None else (model,):
                if name in self._pointers:
                    self._pointers[name].is_fresh = False
                    self._changed.add(name)
            for read in self._reads:
                read.is_outdated |= model is None or model in read.models
        self._wake.set()

    def _keep_fresh(self) -> None:
        """Read what has changed as soon as it is heard, and everything now and then: a message may be lost."""
        unchecked: list[str] = []
        while True:
            is_told = self._wake.wait(_CHECK_EVERY_S)
            self._wake.clear()
            if not self._is_followed:
                continue
            try:
                if not self._is_preloaded:
                    self._preload()
                if is_told:
                    with self._lock:
                        changed, self._changed = list(self._changed), set()
                else:
                    self._check_store()
                    unchecked = unchecked or list(self._pointers)
                    changed, unchecked = unchecked[:_CHECK_AT_ONCE], unchecked[_CHECK_AT_ONCE:]
                for first in range(0, len(changed), _CHECK_AT_ONCE):
                    self._read(changed[first : first + _CHECK_AT_ONCE])
            except Exception as error:
                if not _is_away(error):
                    _log.exception("the pointers of models could not be read")

    def _preload(self) -> None:
        """Load the versions that aliases name, as far as half of the memory goes."""
        after, has_more, n_loaded = None, True, 0
        while has_more and n_loaded < _MAX_PRELOADED:
            with self._asking():
                page, has_more = self._models.page(limit=_CHECK_AT_ONCE, after=after)
            if page:
                after = page[-1].name
                self._read([model.name for model in page])
            for model in page:
                for number in sorted(set(model.aliases.values())):
                    if self._n_bytes < self._max_bytes // 2 and n_loaded < _MAX_PRELOADED:
                        with suppress(VersionNotFoundError):
                            self._preload_one(model.name, number)
                            n_loaded += 1
        self._is_preloaded = True

    def _preload_one(self, model: str, number: int) -> None:
        try:
            self._loaded(model, number)
        except Exception as error:
            if _is_away(error) or isinstance(error, VersionNotFoundError):
                raise
            _log.critical("ALARM: version %d of model %r cannot be loaded: %s", number, model, error)


def _is_away(error: BaseException) -> bool:
    return isinstance(error, RedisHangsError) or is_unavailable(error)


def n_parameters(version: Version) -> int:
    """Count a version's weights and biases without decoding them."""
    network, task = version.description["network"], version.description["task"]
    n_inputs = len(version.description["feature_names"])
    shape = Architecture.of(NetworkConfig(**network), n_inputs=n_inputs, n_outputs=task["n_outputs"])
    return shape.n_parameters
