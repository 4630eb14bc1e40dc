"""The access keys in the memory of a process, kept fresh by what a listener hears."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from storage.access.record import AccessKey
from storage.alarm import report
from storage.circuit_breaker import CircuitBreaker
from storage.errors import AccessKeyNotFoundError, CorruptDataError, UnavailableError

if TYPE_CHECKING:
    from storage.access.store import AccessKeyStore

_CHECK_EVERY_S = 1.0
_READ_ALL_EVERY_S = 30.0
"""How often all records are read though none is known to have changed: somebody may have edited Redis by hand."""

_LOOK_UPS_PER_S = 10.0
"""Of ids that this process does not know: a flood of bad keys must not become a flood of calls of Redis."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """What hears of changed access keys: `service.server.changes.Changes`."""

    def on_access(self, callback: Callable[[], None]) -> None:
        """Call back when an access key has changed, or may have."""


@dataclass(frozen=True, eq=False, slots=True)
class Keys:
    """All access keys at one moment. Each change makes another object, so that its identity says what is up to date."""

    by_id: Mapping[str, AccessKey]
    is_any: bool
    """Whether any was ever made: then nobody comes in without one."""


class KeyRing:
    """The access keys as they were when Redis was last read.

    Once a process has seen a key, it never lets everybody in again, whatever happens to Redis.

    Args:
        breaker: guards every call of Redis.
        check_store: raises if Redis was replaced; called before it is believed to have no keys.
    """

    def __init__(
        self, store: "AccessKeyStore", breaker: CircuitBreaker, *, check_store: Callable[[], object] = lambda: None
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._check_store = check_store
        self._lock = threading.Lock()  # held while Redis is read, so never taken on the event loop
        self._look_up_lock = threading.Lock()
        self._wake = threading.Event()
        self._state: bytes | None = None
        self._read_all_at_s = float("-inf")
        self._looked_up_at_s = time.monotonic()
        self._n_look_ups = _LOOK_UPS_PER_S
        self.keys: Keys | None = None
        """None: they were never read, so nobody knows who may come in."""

    def follow(self, listener: Listener) -> None:
        """Keep the keys fresh from now on, in a thread."""
        listener.on_access(self._wake.set)
        threading.Thread(target=self._keep_fresh, name="access-keys", daemon=True).start()

    def forget(self) -> None:
        """Drop all keys. Called after `--accept-loss`, when Redis is used as it is now."""
        self.keys = None
        self._wake.set()

    def read(self, *, is_all: bool = True) -> None:
        """Read the keys from Redis.

        Args:
            is_all: whether to read them even if none seems to have changed.

        Raises:
            UnavailableError: Redis is away; the keys stay as they are.
        """
        with self._lock, self._breaker.calling():
            state = self._store.state()  # before the keys: what changes meanwhile is read the next time
            if not (is_all or self.keys is None or state != self._state):
                return
            found = self._store.all()
            if not found.is_any:
                self._check_store()
            is_any = found.is_any or (self.keys is not None and self.keys.is_any)
            if self.keys is None or (found.keys, is_any) != (self.keys.by_id, self.keys.is_any):
                self.keys = Keys(found.keys, is_any)
            self._state = state
            self._read_all_at_s = time.monotonic()

    def may_look_up(self) -> bool:
        """Take one of the look-ups that there may be per second; False if none is left."""
        with self._look_up_lock:
            now_s = time.monotonic()
            grown = self._n_look_ups + (now_s - self._looked_up_at_s) * _LOOK_UPS_PER_S
            self._n_look_ups, self._looked_up_at_s = min(grown, _LOOK_UPS_PER_S), now_s
            if self._n_look_ups < 1:
                return False
            self._n_look_ups -= 1
            return True

    def look_up(self, key_id: str) -> None:
        """Read one key again, of whose making or change this process may not have heard yet.

        Raises:
            UnavailableError: Redis is away, so nobody knows.
        """
        with self._lock:
            try:
                with self._breaker.calling():
                    key = self._store.get(key_id)
            except AccessKeyNotFoundError:
                return
            except CorruptDataError as error:
                report(error)
                return
            known = {} if self.keys is None else self.keys.by_id
            if known.get(key_id) != key:
                self.keys = Keys({**known, key_id: key}, is_any=True)

    def _keep_fresh(self) -> None:
        while True:
            is_told = self._wake.wait(_CHECK_EVERY_S)
            self._wake.clear()
            try:
                self.read(is_all=is_told or time.monotonic() - self._read_all_at_s >= _READ_ALL_EVERY_S)
            except UnavailableError:
                pass  # the next turn tries again
            except Exception:
                _log.exception("the access keys could not be read")
