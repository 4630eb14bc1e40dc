"""Which versions and aliases each model has, kept fresh by what a listener hears."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.alarm import report
from storage.circuit_breaker import CircuitBreaker
from storage.errors import CorruptDataError
from storage.models.versions import Model

if TYPE_CHECKING:
    from storage.models.store import ModelStore


@dataclass(slots=True)
class Pointers:
    """What Redis said last about one model."""

    model: Model
    is_fresh: bool
    """Whether no change was heard since."""


@dataclass(eq=False)
class _Read:
    """A read in progress; a change heard meanwhile makes its result outdated."""

    models: frozenset[str]
    is_outdated: bool = False


class PointerCache:
    """The pointers of every model that a request has named.

    Args:
        breaker: guards every call of Redis.
        check_store: raises if Redis was replaced; called before a model counts as not found.
        on_deleted: called with a model and the numbers of its versions that no longer exist.
    """

    def __init__(
        self,
        store: "ModelStore",
        breaker: CircuitBreaker,
        *,
        check_store: Callable[[], None],
        on_deleted: Callable[[str, set[int]], None],
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._check_store = check_store
        self._on_deleted = on_deleted
        self._lock = threading.Lock()  # never held while Redis is called
        self._pointers: dict[str, Pointers] = {}
        self._reads: set[_Read] = set()
        self._changed: set[str] = set()

    def get(self, model: str) -> Pointers | None:
        """Return what is known about a model."""
        return self._pointers.get(model)

    def names(self) -> list[str]:
        """Return the models that anything is known about."""
        return list(self._pointers)

    def read(self, models: Sequence[str]) -> list[Model | CorruptDataError | None]:
        """Ask Redis for the pointers of models, and keep them; None for a model that does not exist.

        An error stands for one whose pointers are damaged. What was known about it is kept, and no longer fresh.

        Raises:
            UnavailableError: Redis is away.
        """
        with self._breaker.calling():
            read = _Read(frozenset(models))
            with self._lock:
                self._reads.add(read)
            try:
                found = self._store.find(models)
                if None in found:
                    self._check_store()
            finally:
                with self._lock:
                    self._reads.discard(read)
        with self._lock:
            for name, model in zip(models, found, strict=True):
                if isinstance(model, CorruptDataError):
                    report(model)
                    if name in self._pointers:
                        self._pointers[name].is_fresh = False
                else:
                    self._keep(name, model, is_fresh=not read.is_outdated)
        return found

    def hear(self, model: str | None) -> None:
        """Note that a model, or with None any of them, has changed. Runs on the event loop, so it calls nobody."""
        with self._lock:
            for name in self._pointers if model is None else (model,):
                if name in self._pointers:
                    self._pointers[name].is_fresh = False
                    self._changed.add(name)
            for read in self._reads:
                read.is_outdated |= model is None or model in read.models

    def take_changed(self) -> list[str]:
        """Return the models that changed since the last call."""
        with self._lock:
            changed, self._changed = list(self._changed), set()
        return changed

    def clear(self) -> None:
        """Remove all pointers; reads in progress are outdated."""
        with self._lock:
            self._pointers.clear()
            for read in self._reads:
                read.is_outdated = True

    def _keep(self, name: str, model: Model | None, *, is_fresh: bool) -> None:
        before = self._pointers.get(name)
        if model is not None:
            self._pointers[name] = Pointers(model, is_fresh)
        else:
            self._pointers.pop(name, None)
        if before is not None:
            self._on_deleted(name, {*before.model.versions}.difference(model.versions if model else ()))
