"""When Redis counts as away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage.errors import RedisAwayError, UnavailableError

RETRY_AFTER_S = 1.0
"""While Redis is away, one caller tries it each time this many seconds have passed."""


class CircuitBreaker:
    """Keeps callers from waiting for a Redis that has just let another caller wait.

    Redis counts as away from the first call that gets no connection or no answer in time until the next call that gets
    an answer, even an error. While it is away, one caller each `RETRY_AFTER_S` is let through to try; the others are
    refused at once. Otherwise each would hold a thread for the full time limit, with a queue behind them.

    Args:
        opens_on: `RedisSilentError` for callers that cannot answer without Redis: they may retry a refused
            connection, which costs no time, and so notice at once that Redis is back.
        translate: returns the `UnavailableError` for an error, None for errors of other kinds. A parameter, so that
            this module need not import redis-py.
    """

    def __init__(
        self,
        translate: Callable[[BaseException], UnavailableError | None],
        *,
        opens_on: type[RedisAwayError] = RedisAwayError,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translate = translate
        self._opens_on = opens_on
        self._clock = clock
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._retry_at_s = 0.0

    @property
    def is_away(self) -> bool:
        """Whether the last call got no answer."""
        return self._reason is not None

    @property
    def is_refusing(self) -> bool:
        """Whether Redis is away and it is too early to try it again."""
        return self.is_away and self._clock() < self._retry_at_s

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call Redis inside the block.

        Raises:
            RedisAwayError: Redis is away, and another caller tries it; the message is that of the last try.
            UnavailableError: in place of an error of the block that means the same.
        """
        with self._lock:
            reason, now_s = self._reason, self._clock()
            if reason is not None:
                if now_s < self._retry_at_s:
                    raise self._opens_on(reason)
                self._retry_at_s = now_s + RETRY_AFTER_S  # this caller tries
        try:
            yield
        except Exception as error:
            unavailable = self.note(error)
            if not isinstance(unavailable, self._opens_on):
                self._reason = None  # an error is an answer, too
            if unavailable is None or unavailable is error:
                raise
            raise unavailable from error
        self._reason = None

    def note(self, error: Exception) -> UnavailableError | None:
        """Count the error of a call made outside `calling`; return the `UnavailableError` it stands for, if any."""
        unavailable = self._translate(error)
        # An error that was translated already has been noted, and a refusal tells nothing new.
        if isinstance(unavailable, self._opens_on) and unavailable is not error:
            self._reason, self._retry_at_s = str(unavailable), self._clock() + RETRY_AFTER_S
        return unavailable
