"""Who comes in: what every way into the service asks before it reads a body."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future

from service.access.authenticate import MISSING, UNKNOWN, WRONG_SECRET, Admission, authenticate
from service.access.failures import Failures
from service.access.hosts import check_allowed, check_no_page_can_have
from service.access.needs import PREDICT, Need
from service.access.origins import check_origin
from service.access.proxied import check_is_of_this_machine
from service.access.rates import Rates
from service.access.ring import KeyRing, Keys, Listener
from service.http.caller import ANYONE, NOBODY, Caller
from service.http.errors import RateLimitedError, UnauthenticatedError
from storage.access.opening import is_of_this_machine
from storage.errors import UnavailableError
from storage.log.throttle import Throttle

_FIRST_READ_S = 2.0
"""A start waits at most this long for the keys."""

_log = logging.getLogger(__name__)


class Gate:
    """Finds out who sends a request, and whether that is enough for the route.

    Args:
        rates: how many requests may come in a second; None: as many as do.
        allowed_hosts: see `check_allowed`; none of them: any host, but for `check_no_page_can_have`.
        cors_origins: those whose pages may send requests while there is no access key, see `check_origin`.
        is_insecure: whether everybody comes in while there is no access key, wherever the API listens.
    """

    def __init__(
        self,
        ring: KeyRing,
        rates: Rates | None = None,
        *,
        allowed_hosts: Collection[str] = (),
        cors_origins: Collection[str] = (),
        is_insecure: bool = False,
    ) -> None:
        self._ring = ring
        self._allowed_hosts = frozenset(allowed_hosts)
        self._cors_origins = frozenset(cors_origins)
        self._is_insecure = is_insecure
        self._rates = rates if rates is not None and rates.is_any else None
        self._may_be_open = is_insecure
        self._has_said = False
        self._failures = Failures()
        self._throttle = Throttle()

    def listens_on(self, hosts: Iterable[str]) -> None:
        """Let everybody in while there is no access key, if only this machine reaches these hosts."""
        found = list(hosts)
        self._may_be_open |= bool(found) and all(map(is_of_this_machine, found))

    async def open(self, listener: Listener) -> None:
        """Read the keys, and keep them fresh from now on. If Redis is away, nobody comes in before it is back."""
        with contextlib.suppress(UnavailableError, TimeoutError):  # whoever listens for changes says why
            await asyncio.wait_for(asyncio.to_thread(self._ring.read), _FIRST_READ_S)
        if self._ring.keys is not None:
            self._say_that_it_is_open(self._ring.keys)
        self._ring.follow(listener)

    def admit(self, headers: Mapping[bytes, bytes], *, is_look: bool = False) -> Admission:
        """Return who sends a request, from memory.

        Args:
            headers: by name in lower case.
            is_look: whether the request changes nothing, by its method.

        Raises:
            UnauthenticatedError: there is no key in force among the headers.
            MisdirectedError: they name a host that is not answered for.
            ProxiedError: they came from another machine through a proxy, and there is no access key.
            OtherOriginError: a page of another origin sent them, and there is no access key.
            UnavailableError: the keys were never read.
        """
        self._check_host(headers)
        keys = self._ring.keys
        if keys is None:
            raise UnavailableError("the access keys could not be read yet")
        if not keys.is_any and self._may_be_open:
            self._say_that_it_is_open(keys)
            if not is_look:
                check_origin(headers, self._cors_origins)
            if not self._is_insecure:
                check_is_of_this_machine(headers)
            if b"host" in headers and not self._allowed_hosts:  # browsers always send one
                check_no_page_can_have(headers[b"host"])
            return Admission(ANYONE, float("inf"), keys)
        return authenticate(headers, keys, _now_ms())

    def still_holds(self, admission: Admission) -> bool:
        """Whether the same headers would be admitted again in the same way."""
        return admission.keys is self._ring.keys and _now_ms() < admission.until_ms

    def is_in_force(self, caller: Caller) -> bool:
        """Whether the key of a caller who came in earlier still lets him in. Anyone's does until there is a key."""
        keys = self._ring.keys
        if keys is None or caller.key_id is None:
            return keys is None or not keys.is_any
        key = keys.by_id.get(caller.key_id)
        return key is not None and key.refusal(_now_ms()) is None

    async def let_in_on_loop(
        self,
        need: Need | None,
        headers: Mapping[bytes, bytes],
        *,
        is_look: bool = False,
        find_address: Callable[[], str | None] = lambda: None,
        is_counted: bool = False,
    ) -> Caller:
        """Return who sends a request if he may; a key that was made a moment ago is looked up in Redis.

        Args:
            need: None: there is no such route, as whoever has a key may know.
            headers: by name in lower case.
            is_look: see `admit`.
            find_address: returns that of the client, see `Failures`; called only for a bad key.
            is_counted: whether this predict was taken from the limits before, by `is_one_too_many`.

        Raises:
            UnauthenticatedError, ForbiddenError: he may not.
            MisdirectedError, ProxiedError, OtherOriginError: not under this name of a host, not through a proxy, or not
                from this page.
            RateLimitedError: not now.
            UnavailableError: the keys were never read, or the key is unknown and Redis is away.
        """
        if need is not None and need.is_free:
            if not need.is_health:
                self._check_host(headers)
            return NOBODY
        try:
            caller = self.admit(headers, is_look=is_look).caller
        except UnauthenticatedError as error:
            address = None if error.reason == MISSING else find_address()
            self._failures.check(address)
            try:
                await asyncio.shield(asyncio.wrap_future(self._look_up(error)))  # others may wait for it, too
                caller = self.admit(headers, is_look=is_look).caller
            except UnauthenticatedError as refusal:
                self._failures.count(address)
                self._note(refusal)
                raise
        if self._rates is not None:
            if need is not PREDICT:
                await asyncio.to_thread(self._rates.take_shared, caller)
            elif not is_counted:
                self._rates.take(caller)
        if need is not None:
            need.check(caller)
        return caller

    def let_in(self, need: Need | None, headers: Mapping[bytes, bytes], *, is_look: bool = False) -> Caller:
        """Do the same in a thread, for the Flask app without the shell."""
        return asyncio.run(self.let_in_on_loop(need, headers, is_look=is_look))

    def is_one_too_many(self, caller: Caller) -> bool:
        """Whether a predict of this caller is one too many in this second; takes it if it is not."""
        if self._rates is None:
            return False
        try:
            self._rates.take(caller)
        except RateLimitedError:
            return True
        return False

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        if self._allowed_hosts:
            check_allowed(headers.get(b"host", b""), self._allowed_hosts)

    def _look_up(self, error: UnauthenticatedError) -> "Future[None]":
        """Begin to look up a key that may have been made a moment ago.

        Raises:
            UnauthenticatedError: it was not, or too many are looked up already.
        """
        # A wrong secret is looked up like an unknown id, so that the time does not tell which ids exist.
        may_be_new = error.reason in (UNKNOWN, WRONG_SECRET) and error.key_id is not None
        look_up = self._ring.look_up(str(error.key_id)) if may_be_new else None
        if look_up is None:
            raise error
        return look_up

    def _note(self, error: UnauthenticatedError) -> None:
        """Log why somebody was not let in, which he is not told."""
        if self._throttle.allows():
            _log.info("a request was not let in: access key %s: %s", error.key_id or "-", error.reason)

    def _say_that_it_is_open(self, keys: Keys) -> None:
        if self._has_said or keys.is_any:
            return
        self._has_said = True
        remedy = "'perceptron keys create --scope admin' makes the first key"
        if self._may_be_open:
            _log.warning(
                "access is off: there is no access key, so whoever reaches the API may do everything; %s", remedy
            )
        else:
            _log.warning("nobody comes in: there is no access key, and other machines reach the API; %s", remedy)


def _now_ms() -> float:
    return time.time() * 1000
