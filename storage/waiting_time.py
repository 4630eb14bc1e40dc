"""How long a request may wait for Redis in all, however many commands it takes, and how that time is used.

Lost packets are sent again after 0.2 s, 0.6 s and 1.4 s, and the first packet of a connection only after 1 s. So it is
better to try again on a new connection after half a second than to wait longer.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError
from redis.retry import Retry

REQUEST_S = 1.6
"""The time for all commands of a request."""

ONE_WAIT_S = 0.5
"""The time for one connection or one answer, before the command is sent again."""

_SHORTEST_WAIT_S = 0.001
_MOST_RETRIES = 4

Answer = TypeVar("Answer")
_now_s = time.monotonic


class _Time(threading.local):
    """What the current thread has left."""

    left_s: float | None = None
    """None: nobody counts, and each command has the time of a request."""
    ends_at_s: float | None = None
    """Set while a command runs."""

    @property
    def wait_s(self) -> float:
        if self.ends_at_s is None:
            return ONE_WAIT_S
        return max(_SHORTEST_WAIT_S, min(ONE_WAIT_S, self.ends_at_s - _now_s()))


_time = _Time()


def begin_request() -> None:
    """Give the commands that this thread sends from now on the time of one request together."""
    _time.left_s = REQUEST_S


def end_request() -> None:
    """Stop counting."""
    _time.left_s = None


def limit_waiting(redis: Redis, note: Callable[[float], None] = lambda seconds: None) -> None:
    """Let a client, before its first command, wait for Redis as this module says.

    Args:
        note: called with how many seconds each command or pipeline took, with its retries.
    """
    pool = redis.connection_pool
    pool.connection_class = type("LimitedConnection", (_LimitedWaits, pool.connection_class), {})
    # A function: redis-py copies the retry deeply for each connection, a method with its object.
    redis.set_retry(_RetryInTime(lambda seconds: note(seconds)))


class _RetryInTime(Retry):
    """Retries a silent Redis while there is time, and a lost or refused connection once.

    redis-py retries the command and the connection below it, so these calls nest: the outermost one counts.
    """

    def __init__(self, note: Callable[[float], None]) -> None:
        super().__init__(ConstantBackoff(0.05), _MOST_RETRIES)
        self._note = note

    def call_with_retry(
        self,
        do: Callable[[], Answer],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> Answer:
        if _time.ends_at_s is not None:
            return do()
        n_lost = 0

        def is_worth_it(error: Exception) -> bool:
            nonlocal n_lost
            n_lost += isinstance(error, ConnectionError)
            has_time = _time.ends_at_s is not None and _time.ends_at_s - _now_s() > 0.1
            if has_time and n_lost <= 1 and (is_retryable is None or is_retryable(error)):
                return True
            fail(*((error, 1) if with_failure_count else (error,)))  # closes the connection
            return False

        started_s = _now_s()
        _time.ends_at_s = started_s + (REQUEST_S if _time.left_s is None else _time.left_s)
        try:
            return super().call_with_retry(do, fail, is_worth_it, with_failure_count)
        finally:
            _time.ends_at_s = None
            took_s = _now_s() - started_s
            self._note(took_s)
            if _time.left_s is not None:
                _time.left_s -= took_s


class _LimitedWaits(AbstractConnection):
    """Limits each wait. The class of the connection itself comes after it."""

    def _connect(self) -> Any:
        self.socket_connect_timeout = _time.wait_s
        return super()._connect()  # type: ignore[no-untyped-call, safe-super]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        if self._sock is not None:
            self._sock.settimeout(_time.wait_s)
        return super().read_response(*args, **kwargs)
