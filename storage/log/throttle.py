"""A few lines of the log in a second: many requests with the same trouble must not become as many lines."""

import time

LINES_PER_S = 5


class Throttle:
    """Says which lines are logged: the first ones of each second. Threads that ask at once may get one more."""

    def __init__(self) -> None:
        self._second = 0
        self._n = 0

    def allows(self) -> bool:
        """Whether one more line is logged now."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._n = second, 0
        self._n += 1
        return self._n <= LINES_PER_S
