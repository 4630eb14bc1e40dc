"""When a request is repeated, and after which time. One deadline holds for all tries of a call."""

from __future__ import annotations

import errno
import logging
import random
import socket
import ssl
import time
from dataclasses import dataclass, field

import httpx

from perceptron_client.errors import ConnectionFailed, PerceptronError, RequestTimedOut

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
REPEATED_STATUSES = frozenset({429, 502, 503, 504})

_log = logging.getLogger("perceptron_client")


@dataclass
class Tries:
    """The tries of one call.

    A timeout is repeated like a reset, also for predict: nothing changes on the service by that, another process may
    answer, and the deadline bounds what the caller waits.
    """

    what: str
    """The method and path, for messages."""
    retry_for_s: float
    is_repeatable: bool
    """Whether a second request has no other effect than the first."""
    began_at: float = field(default_factory=lambda: time.monotonic())
    n_failed: int = 0
    may_have_arrived: bool = False
    """Whether the service may have done what an earlier try asked for."""

    @property
    def left_s(self) -> float:
        """The time until the deadline."""
        return self.began_at + self.retry_for_s - time.monotonic()

    def timeout_s(self, timeout_s: float) -> float:
        """Return the timeout of the next try: that of the client, but for later tries no more than is left."""
        return timeout_s if self.n_failed == 0 else min(timeout_s, max(self.left_s, 1.0))

    def after_error(self, error: httpx.TransportError) -> float:
        """Return how many seconds to wait before the next try.

        Raises:
            ConnectionFailed, RequestTimedOut: there is none.
        """
        is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        self.may_have_arrived |= not is_unsent
        if (self.is_repeatable or is_unsent) and not _is_lasting(error):
            delay_s = self._next_delay_s(str(error) or type(error).__name__)
            if delay_s is not None:
                return delay_s
        raise self.as_ours(error) from error

    def after_status(self, response: httpx.Response) -> float | None:
        """Return how many seconds to wait before the next try; None if the answer is final."""
        if response.status_code not in REPEATED_STATUSES or not self.is_repeatable:
            return None
        self.may_have_arrived |= response.status_code != 429
        return self._next_delay_s(f"status {response.status_code}", retry_after_s(response) or 0.0)

    def as_ours(self, error: httpx.HTTPError) -> PerceptronError:
        """Return httpx's error as one of ours."""
        tries = "" if self.n_failed == 0 else f", {self.n_failed + 1} tries in {time.monotonic() - self.began_at:.0f} s"
        text = str(error) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return RequestTimedOut(f"{self.what}: {text}{tries}")
        return ConnectionFailed(f"{self.what}: {text}{tries}")

    def _next_delay_s(self, why: str, at_least_s: float = 0.0) -> float | None:
        """Return a random delay (full jitter) from Retry-After on; None if the deadline comes before."""
        delay_s = at_least_s + random.uniform(0, min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** min(self.n_failed, 10)))
        left_s = self.left_s
        if at_least_s >= left_s or left_s <= 0:
            return None
        self.n_failed += 1
        delay_s = min(delay_s, left_s)
        level = logging.WARNING if self.n_failed == 4 else logging.DEBUG
        _log.log(level, "%s: %s; trying again for %.0f s", self.what, why, left_s)
        return delay_s


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds of Retry-After."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _is_lasting(error: BaseException) -> bool:
    """Tell whether the next try would fail in the same way: no such host, a certificate that is not trusted."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.ProxyError):
        return True
    if isinstance(error, httpx.RemoteProtocolError):  # either the connection was closed, or this is no HTTP
        return "closed" not in str(error) and "disconnected" not in str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno != socket.EAI_AGAIN
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if isinstance(cause, OSError) and cause.errno == errno.EACCES:
            return True
        cause = cause.__cause__ or cause.__context__
    return False
