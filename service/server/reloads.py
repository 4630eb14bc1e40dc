"""Shared counters that tell old workers when new ones serve.

On a reload, gunicorn tells the old processes to stop as soon as it has forked the new ones, which need a second or more
to import the code. If the old ones obeyed at once, nobody would answer in between.
"""

import mmap
import struct

_NUMBERS = struct.Struct("qq")


class Reloads:
    """Created by gunicorn before it forks; each process then remembers the reload that it came with."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _NUMBERS.size)
        self._ours = 0

    def begin(self) -> None:
        """Count a reload. Called in gunicorn's arbiter."""
        n_begun, newest = _NUMBERS.unpack(self._shared[:])
        self._shared[:] = _NUMBERS.pack(n_begun + 1, newest)

    def join(self) -> None:
        """Remember the current reload. Called in a new process."""
        self._ours = _NUMBERS.unpack(self._shared[:])[0]

    def announce(self) -> None:
        """Record that a process of this reload serves."""
        n_begun, _ = _NUMBERS.unpack(self._shared[:])
        self._shared[:] = _NUMBERS.pack(n_begun, self._ours)

    @property
    def is_awaiting_successor(self) -> bool:
        """Whether a reload has begun since this process started and no process of it serves yet."""
        n_begun, newest = _NUMBERS.unpack(self._shared[:])
        return bool(n_begun > self._ours >= newest)


RELOADS = Reloads()
