"""What predicts: versions in process memory, and which of them a request means."""

import logging
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from service.http.errors import StartingError
from service.observe.metrics.readings import Readings
from service.observe.metrics.traffic import Traffic
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.pointers import PointerCache
from service.predict.memory.statistics import Statistics
from service.predict.memory.version_cache import VersionCache
from service.settings import Settings
from storage.alarm import report
from storage.circuit_breaker import CircuitBreaker
from storage.errors import CorruptDataError, ModelNotFoundError, UnavailableError, VersionNotFoundError
from storage.log.faults import describe
from storage.log.unexpected import log_unexpected
from storage.models.trained_model import TrainedModel
from storage.models.versions import Model, ModelReference

if TYPE_CHECKING:
    from storage.jobs.store import JobStore
    from storage.models.store import ModelStore

_CHECK_EVERY_S = 1.0
_MAX_MODELS_PER_READ = 200
_MAX_PRELOADED = 1_000

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """What hears of changed models: `service.server.changes.Changes`."""

    is_connected: bool

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        """Call back with the name of each model that changes, or with None if any of them may have."""

    def on_use(self, callback: Callable[[], None]) -> None:
        """Call back when another process may have begun to use a version."""


class Found(NamedTuple):
    """The version that a request means."""

    model: LoadedModel
    is_stale: bool
    """Redis could not be asked: a pointer may have moved, or the version may be deleted."""
    members: Mapping[str, Any] = MappingProxyType({})
    """What the native JSON answer has besides the outputs."""
    was_loaded: bool = False
    """Whether the version was not in memory when it was asked for."""


class LoadedModels:
    """The versions used last, and the pointers of every model that a request has named.

    While a listener hears of every change, pointers are taken from memory. Without one, Redis is asked each time; while
    it is away, the last known pointers are used.

    Args:
        jobs: whose networks can predict, too.
        breaker: guards every call of Redis.
        max_bytes: what the versions in memory may take together.
        check_store: raises if Redis was replaced; called before anything counts as not found, and once a second.
        default: the model of a request that names none.
        traffic: counts every predict.
    """

    def __init__(
        self,
        models: "ModelStore",
        jobs: "JobStore",
        breaker: CircuitBreaker,
        *,
        max_bytes: int = Settings.model_memory_bytes,
        check_store: Callable[[], None] = lambda: None,
        default: ModelReference | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.default = default
        self.jobs = jobs
        self.breaker = breaker
        self.statistics = Statistics()
        self.traffic = traffic or Traffic()
        self.versions = VersionCache(self._load, max_bytes=max_bytes)
        self.pointers = PointerCache(models, breaker, check_store=check_store, on_deleted=self.versions.discard)
        self._models = models
        self._max_bytes = max_bytes
        self._check_store = check_store
        self._wake = threading.Event()
        self._listener: Listener | None = None
        self._is_preloaded = False
        self._used: set[tuple[str, int]] = set()
        """Versions that requests have asked for, and that the other processes do not know of."""
        self._used_until: str | None = None
        """How far the versions in use were read."""

    @property
    def is_ready(self) -> bool:
        """Whether the versions that aliases name are in memory; always true without a listener."""
        return self._is_preloaded or self._listener is None

    def check_ready(self) -> None:
        """Refuse to answer before the versions that aliases name are in memory.

        Raises:
            StartingError: they are being loaded.
        """
        if not self.is_ready:
            raise StartingError("the versions that aliases point at are being loaded")

    def follow(self, listener: Listener) -> None:
        """Load the versions that aliases name, and keep the pointers fresh from now on, in a thread."""
        self._listener = listener
        listener.on_model(self._hear)
        listener.on_use(self._wake.set)
        threading.Thread(target=self._keep_fresh, name="pointers", daemon=True).start()

    def forget(self) -> None:
        """Drop everything in memory. Called after `--accept-loss`, when version numbers start again."""
        self.versions.clear()
        self.pointers.clear()
        self._used_until = None

    def find(self, reference: ModelReference) -> Found | None:
        """Return the version meant without waiting; None if only `get` can tell."""
        pointers = self.pointers.get(reference.model)
        if pointers is None:
            return None
        is_stale = not (pointers.is_fresh and self._is_followed)
        if is_stale and not self.breaker.is_refusing:
            return None
        number = pointers.model.number(reference.version, reference.alias)
        if number is None:
            return None
        loaded = self.versions.get(reference.model, number, pointers.model.digests.get(number))
        return None if loaded is None else Found(loaded, is_stale)

    def readings(self) -> Readings:
        """Return what metrics show of the versions in memory."""
        return Readings(
            n_loads=self.versions.n_loads,
            n_evictions=self.versions.n_evictions,
            n_versions=len(self.versions),
            n_bytes=self.versions.n_bytes,
            is_redis_away=self.breaker.is_away,
        )

    def get(self, reference: ModelReference) -> Found:
        """Return the version meant; ask Redis and load the version if necessary.

        Raises:
            ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what the reference names does not exist.
            CorruptDataError: the version is not what was published.
            UnavailableError: the version is not in memory, and Redis is away.
        """
        found = self.find(reference)
        if found is not None:
            return found
        was_loaded = False
        for is_last in (False, True):
            model, is_stale = self._model(reference)
            number = model.number(reference.version, reference.alias)
            if number is None:
                raise model.missing(reference.version, reference.alias)
            digest = model.digests.get(number)
            try:
                if (loaded := self.versions.get(model.name, number, digest)) is None:
                    was_loaded = True
                    loaded = self.versions.get_or_load(model.name, number, digest)
                    self._use(model.name, number)
            except VersionNotFoundError:
                if is_last:
                    raise
            else:
                if digest in (None, loaded.trained.digest):
                    return Found(loaded, is_stale, was_loaded=was_loaded)
            self._hear(model.name)  # it was deleted or replaced a moment ago, so its pointer has moved
        raise CorruptDataError(f"version {number} of model {model.name!r} is not the one published under this number")

    def aliases(self, model: str) -> Mapping[str, int]:
        """Return the versions that the aliases of a model name.

        Raises:
            ModelNotFoundError: there is no such model.
            UnavailableError: the model is not in memory, and Redis is away.
        """
        return self._model(ModelReference(model))[0].aliases

    @property
    def _is_followed(self) -> bool:
        return self._listener is not None and self._listener.is_connected

    def _model(self, reference: ModelReference) -> tuple[Model, bool]:
        """Return the versions and aliases of a model, and whether they may be stale."""
        pointers = self.pointers.get(reference.model)
        known = pointers.model if pointers else None
        is_known = known is not None and known.number(reference.version, reference.alias) is not None
        # Version numbers rise, so a missing one below the latest does not come.
        is_settled = is_known or (known and reference.version is not None and reference.version < known.latest)
        if pointers and known and is_settled and pointers.is_fresh and self._is_followed:
            return known, False
        try:
            (model,) = self.pointers.read([reference.model])
            if isinstance(model, CorruptDataError):
                raise model
        except (UnavailableError, CorruptDataError):
            if known is None or not is_known:
                raise
            return known, True
        if model is None:
            raise ModelNotFoundError(reference.model)
        return model, False

    def _use(self, model: str, number: int) -> None:
        """Tell the other processes soon that this version is in use: they load it, too, while there is room."""
        if self._listener is not None and self._has_room:
            self._used.add((model, number))
            self._wake.set()

    @property
    def _has_room(self) -> bool:
        """Whether half of the memory is free for versions that no request to this process has asked for."""
        return self.versions.n_bytes < self._max_bytes // 2

    def _load(self, model: str, number: int) -> TrainedModel:
        with self.breaker.calling():
            return self._models.load(model, number)

    def _hear(self, model: str | None) -> None:
        self.pointers.hear(model)
        self._wake.set()

    def _keep_fresh(self) -> None:
        """Read again what has changed, and now and then everything: a message may have been lost."""
        unchecked: list[str] = []
        while True:
            is_told = self._wake.wait(_CHECK_EVERY_S)
            self._wake.clear()
            if not self._is_followed:
                continue
            try:
                if not self._is_preloaded:
                    self._preload()
                self._share_use()
                if is_told:
                    due = self.pointers.take_changed()
                else:
                    with self.breaker.calling():
                        self._check_store()
                    unchecked = unchecked or self.pointers.names()
                    due, unchecked = unchecked[:_MAX_MODELS_PER_READ], unchecked[_MAX_MODELS_PER_READ:]
                for first in range(0, len(due), _MAX_MODELS_PER_READ):
                    self.pointers.read(due[first : first + _MAX_MODELS_PER_READ])
            except UnavailableError:
                pass  # the next turn tries again
            except Exception as error:
                log_unexpected(_log, error, "the pointers of models could not be read")

    def _preload(self) -> None:
        """Load the versions that aliases name, until half of the memory is used."""
        with self.breaker.calling():
            tenants = self._models.tenants()
        n_loaded = 0
        for tenant in tenants:
            after, has_more = None, True
            while has_more and n_loaded < _MAX_PRELOADED:
                with self.breaker.calling():
                    page, has_more = self._models.page(limit=_MAX_MODELS_PER_READ, tenant=tenant, after=after)
                if page:
                    after = page[-1].name
                    self.pointers.read([model.name for model in page])
                for model in page:
                    for number in sorted(set(model.aliases.values())):
                        if self._has_room and n_loaded < _MAX_PRELOADED:
                            self._preload_one(model.name, number)
                            n_loaded += 1
        self._share_use()
        self._is_preloaded = True

    def _share_use(self) -> None:
        """Tell the other processes what requests to this one ask for, and load what they were asked for."""
        with self.breaker.calling():
            if self._used:
                used, self._used = self._used, set()
                self._models.note_in_use(list(used))
            in_use, self._used_until = self._models.in_use(self._used_until)
        for model, number in in_use:
            if self._has_room:
                self._preload_one(model, number)

    def _preload_one(self, model: str, number: int) -> None:
        try:
            if self.pointers.get(model) is None:
                self.pointers.read([model])  # needed while Redis is away
            pointers = self.pointers.get(model)
            if pointers is not None:
                self.versions.get_or_load(model, number, pointers.model.digests.get(number))
        except (ModelNotFoundError, VersionNotFoundError):
            pass  # it was deleted
        except UnavailableError:
            raise
        except Exception as error:
            report(f"version {number} of model {model!r} cannot be loaded: {describe(error)}")
