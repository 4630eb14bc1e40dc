"""Shared counters that tell old workers when new ones serve.

On a reload, gunicorn tells the old processes to stop as soon as it has forked the new ones, which need a second or more
to import the code. If the old ones obeyed at once, nobody would answer in between.
"""

import mmap

_BEGUN, _SERVING = 0, 1


class Reloads:
    """Created by gunicorn before it forks; each process then remembers the reload that it came with."""

    def __init__(self) -> None:
        # Two numbers that the processes change alone: how many reloads have begun, and the newest one that serves.
        self._counts = memoryview(mmap.mmap(-1, 16)).cast("q")
        self._ours = 0

    def begin(self) -> None:
        """Count a reload. Called in gunicorn's arbiter."""
        self._counts[_BEGUN] += 1

    def join(self) -> None:
        """Remember the current reload. Called in a new process."""
        self._ours = self._counts[_BEGUN]

    def announce(self) -> None:
        """Record that a process of this reload serves."""
        self._counts[_SERVING] = self._ours

    @property
    def is_replaced(self) -> bool:
        """Whether a reload has begun since this process started, so that it stops for another one."""
        return self._counts[_BEGUN] > self._ours

    @property
    def is_awaiting_successor(self) -> bool:
        """Whether a reload has begun since this process started and no process of it serves yet."""
        return self.is_replaced and self._ours >= self._counts[_SERVING]


RELOADS = Reloads()
