"""How often something that takes time is done."""

import contextlib
from collections.abc import Callable, Iterator

LONGEST_S = 60.0
"""The longest delay. What waited for a store that was away looks slow, but must not be put off for hours."""


class Pace:
    """Limits how often something is done, and what share of the time it takes.

    Args:
        clock: seconds that never run backwards.
        every_s: the shortest time from one end to the next start.
        share: how much of all time it may take.
        is_due_at_once: if false, it is first due after `every_s`.
    """

    def __init__(
        self, clock: Callable[[], float], *, every_s: float, share: float = 1.0, is_due_at_once: bool = False
    ) -> None:
        self._clock = clock
        self._every_s = every_s
        self._share = share
        self._due_at = clock() + (0.0 if is_due_at_once else every_s)

    @property
    def is_due(self) -> bool:
        """Whether it is time to do it."""
        return self._clock() >= self._due_at

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what happens inside, to decide when it is due again."""
        began_at = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            self._due_at = now + min(max(self._every_s, (now - began_at) / self._share), LONGEST_S)
