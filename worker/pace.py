"""When something that takes time is due again."""

import contextlib
from collections.abc import Callable, Iterator

LONGEST_S = 60.0
"""What waited for a store that was away looks slow, and must not be put off for hours."""


class Pace:
    """Lets something happen every so often, and less often if it takes long.

    Args:
        clock: seconds that never run backwards.
        every_s: the shortest time between two of them.
        share: of all time, that they may take together.
        is_due_at_once: else the first is due after `every_s`.
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
        """Whether it is time."""
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
