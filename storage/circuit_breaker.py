"""When Redis counts as away."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storage.errors import RedisAwayError, RedisSilentError, UnavailableError

RETRY_AFTER_S = 1.0
"""While Redis is silent, one caller tries it each time this many seconds have passed."""

RETRY_REFUSED_AFTER_S = 0.1
"""The same while it refuses connections, which costs a caller no time."""

OPENS_AFTER_SILENCES = 2
"""One slow answer is no outage: packets are lost now and then, and disks are slow."""


class CircuitBreaker:
    """Keeps callers from waiting for a Redis that has just let another caller wait.

    Redis counts as away from the first call that gets no connection, or the second in a row that gets no answer in
    time, or the first while another one waits and none was answered meanwhile; until the next call that gets an answer,
    even an error. While it is away, one caller is let through now and
    then to try; the others are refused at once. Otherwise each would hold a thread for the full time limit, with a
    queue behind them.

    A process has one breaker, which its health check asks, too: so what is reported ready can be used.

    Args:
        translate: returns the `UnavailableError` for an error, None for errors of other kinds. A parameter, so that
            this module need not import redis-py.
    """

    def __init__(
        self,
        translate: Callable[[BaseException], UnavailableError | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translate = translate
        self._clock = clock
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._retry_at_s = 0.0
        self._n_silences = 0
        self._n_calls = 0
        """Under way now, within `calling`."""
        self._answered_at_s = -math.inf

    @property
    def is_away(self) -> bool:
        """Whether the last calls got no answer."""
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
                    raise RedisAwayError(reason)
                self._retry_at_s = now_s + RETRY_AFTER_S  # this caller tries
            self._n_calls += 1
        try:
            yield
        except Exception as error:
            if self._n_calls > 1 and self._answered_at_s < now_s:
                self._n_silences = OPENS_AFTER_SILENCES - 1  # what this one is to report, the others wait for, too
            unavailable = self.note(error)
            if not isinstance(unavailable, RedisAwayError):
                self._note_answer()  # an error is an answer, too
            if unavailable is None or unavailable is error:
                raise
            raise unavailable from error
        else:
            self._note_answer()
        finally:
            with self._lock:
                self._n_calls -= 1

    def note(self, error: Exception) -> UnavailableError | None:
        """Count the error of a call made outside `calling`; return the `UnavailableError` it stands for, if any."""
        unavailable = self._translate(error)
        # An error that was translated already has been noted, and a refusal tells nothing new.
        if isinstance(unavailable, RedisAwayError) and unavailable is not error:
            is_silent = isinstance(unavailable, RedisSilentError)
            self._n_silences += is_silent
            if not is_silent or self.is_away or self._n_silences >= OPENS_AFTER_SILENCES:
                self._reason = str(unavailable)
                self._retry_at_s = self._clock() + (RETRY_AFTER_S if is_silent else RETRY_REFUSED_AFTER_S)
        return unavailable

    def _note_answer(self) -> None:
        self._answered_at_s = self._clock()
        self._reason = None
        self._n_silences = 0
