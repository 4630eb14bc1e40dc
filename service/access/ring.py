"""The access keys in the memory of a process, kept fresh by what a listener hears."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from storage.access.record import AccessKey
from storage.circuit_breaker import CircuitBreaker
from storage.errors import UnavailableError
from storage.log.unexpected import log_unexpected

if TYPE_CHECKING:
    from storage.access.store import AccessKeyStore

_CHECK_EVERY_S = 1.0
_READ_ALL_EVERY_S = 30.0
"""How often all records are read though none is known to have changed: somebody may have edited Redis by hand."""

_MAX_READ_AT_ONCE = 500
"""Of keys that changed at the same time; of more, all keys are read. A second later they are read anyway."""

_LOOK_UPS_PER_S = 10.0
"""Of ids that this process does not know: a flood of bad keys must not become a flood of calls of Redis."""

_SAME_ID_EVERY_S = 1.0
_MAX_REMEMBERED = 1_000

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """What hears of changed access keys: `service.server.changes.Changes`."""

    def on_access(self, callback: Callable[[str | None], None]) -> None:
        """Call back with the id of each access key that changes, or with None if any of them may have."""


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
        self._lock = threading.Lock()
        """Guards what is known. Nobody holds it while Redis is read."""
        self._reading_all = threading.Lock()
        self._reading_some = threading.Lock()  # an older record must not replace a newer one
        self._look_up_lock = threading.Lock()
        self._must_read_all = threading.Event()
        self._wake = threading.Event()
        self._told: deque[str] = deque()
        """What was heard and not read yet."""
        self._read_meanwhile: dict[str, AccessKey | None] = {}
        """Keys that were read alone since the last read of all began; None: there was no such key."""
        self._n_forgotten = 0
        self._state: bytes | None = None
        self._read_all_at_s = float("-inf")
        self._looked_up_at_s = time.monotonic()
        self._n_look_ups = _LOOK_UPS_PER_S
        self._began_at_s: dict[str, float] = {}
        self._running: dict[str, Future[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access-key")
        self.keys: Keys | None = None
        """None: they were never read, so nobody knows who may come in."""

    def follow(self, listener: Listener) -> None:
        """Keep the keys fresh from now on, in two threads: a change does not wait until all keys are read."""
        listener.on_access(self.hear)
        threading.Thread(target=self._follow_changes, name="access-keys", daemon=True).start()
        threading.Thread(target=self._follow_all, name="all-access-keys", daemon=True).start()

    def hear(self, key_id: str | None) -> None:
        """Note that a key, or with None any of them, has changed. Runs on the event loop, so it calls nobody."""
        if key_id is None:
            self._must_read_all.set()
        else:
            self._told.append(key_id)
            self._wake.set()

    def forget(self) -> None:
        """Drop all keys. Called after `--accept-loss`, when Redis is used as it is now.

        It may be called by whoever opens a connection, so also in the middle of a read.
        """
        with self._lock:
            self.keys = self._state = None
            self._n_forgotten += 1
        self._must_read_all.set()

    def read(self, *, is_all: bool = True) -> None:
        """Read the keys from Redis.

        Args:
            is_all: whether to read them even if none seems to have changed.

        Raises:
            UnavailableError: Redis is away; the keys stay as they are.
        """
        with self._reading_all, self._breaker.calling():
            state = self._store.state()  # before the keys: what changes meanwhile is read the next time
            if not (is_all or self.keys is None or state != self._state):
                return
            with self._lock:
                self._read_meanwhile.clear()
                n_forgotten = self._n_forgotten
            found = self._store.all()
            if not found.is_any:
                self._check_store()
            with self._lock:
                if n_forgotten != self._n_forgotten:
                    return  # some are of the Redis before; the next turn reads again
                is_any = found.is_any or (self.keys is not None and self.keys.is_any)
                # A key that was read alone meanwhile may have been revoked after its turn among all.
                self._put(found.keys, self._read_meanwhile, is_any=is_any)
                self._state = state
                self._read_all_at_s = time.monotonic()

    def look_up(self, key_id: str) -> "Future[None] | None":
        """Begin to read a key of which this process may not have heard yet; None if it was asked too often.

        Requests that come together with a new key share one look-up. The future raises UnavailableError if Redis is
        away, so nobody knows.
        """
        with self._look_up_lock:
            if (running := self._running.get(key_id)) is not None and not running.done():
                return running
            now_s = time.monotonic()
            grown = self._n_look_ups + (now_s - self._looked_up_at_s) * _LOOK_UPS_PER_S
            self._n_look_ups, self._looked_up_at_s = min(grown, _LOOK_UPS_PER_S), now_s
            # Of this id the last second: a client that goes on with a bad key must not keep a new key from its look-up.
            if self._n_look_ups < 1 or now_s - self._began_at_s.get(key_id, float("-inf")) < _SAME_ID_EVERY_S:
                return None
            self._n_look_ups -= 1
            if len(self._began_at_s) >= _MAX_REMEMBERED:
                self._began_at_s.clear()
                self._running.clear()
            self._began_at_s[key_id] = now_s
            self._running[key_id] = self._thread.submit(self.read_one, key_id)
            return self._running[key_id]

    def read_one(self, key_id: str) -> None:
        """Read one key, which was made a moment ago.

        Raises:
            UnavailableError: Redis is away, so nobody knows.
        """
        self.read_some([key_id])

    def read_some(self, key_ids: Collection[str]) -> None:
        """Read keys that have changed: all of them would take longer than a revoke may.

        Raises:
            UnavailableError: Redis is away, so nobody knows.
        """
        with self._reading_some:
            if self.keys is None:
                return  # all of them are read first
            n_forgotten = self._n_forgotten
            with self._breaker.calling():
                found = self._store.some(key_ids)
            with self._lock:
                if self.keys is None or n_forgotten != self._n_forgotten:
                    return
                now = {key_id: found.get(key_id) for key_id in key_ids}
                self._read_meanwhile.update(now)
                self._put(self.keys.by_id, now, is_any=self.keys.is_any or bool(found))

    def _put(self, known: Mapping[str, AccessKey], newer: Mapping[str, AccessKey | None], *, is_any: bool) -> None:
        """Remember keys; of those that are newer, None stands for one that does not exist. The lock is held."""
        by_id = {key_id: key for key_id, key in {**known, **newer}.items() if key is not None}
        if self.keys is None or (by_id, is_any) != (self.keys.by_id, self.keys.is_any):
            self.keys = Keys(by_id, is_any)

    def _follow_changes(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            told = {self._told.popleft() for _ in range(len(self._told))}
            if self.keys is None or len(told) > _MAX_READ_AT_ONCE:
                self._must_read_all.set()
            else:
                self._attempt(partial(self.read_some, told))

    def _follow_all(self) -> None:
        while True:
            is_told = self._must_read_all.wait(_CHECK_EVERY_S)
            self._must_read_all.clear()
            is_due = time.monotonic() - self._read_all_at_s >= _READ_ALL_EVERY_S
            self._attempt(partial(self.read, is_all=is_told or is_due))

    @staticmethod
    def _attempt(read: Callable[[], None]) -> None:
        try:
            read()
        except UnavailableError:
            pass  # a second later the keys are compared with Redis again
        except Exception as error:
            log_unexpected(_log, error, "the access keys could not be read")
