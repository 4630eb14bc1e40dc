"""How the processes of before a reload know that those of after it serve: by numbers in memory that all share.

gunicorn tells the old processes to stop as soon as it has forked the new ones, which need a second or more to load the
code. Would the old ones obey at once, nobody would answer in between.
"""

import mmap
import struct

_NUMBERS = struct.Struct("qq")


class Reloads:
    """Made by gunicorn before it forks; each process then knows the reload that it came with."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _NUMBERS.size)
        self._ours = 0

    def begin(self) -> None:
        """Count a reload; gunicorn itself does."""
        n_begun, newest = _NUMBERS.unpack(self._shared[:])
        self._shared[:] = _NUMBERS.pack(n_begun + 1, newest)

    def join(self) -> None:
        """Belong to the last reload; a new process does."""
        self._ours = _NUMBERS.unpack(self._shared[:])[0]

    def announce(self) -> None:
        """Say that a process of this reload serves."""
        n_begun, _ = _NUMBERS.unpack(self._shared[:])
        self._shared[:] = _NUMBERS.pack(n_begun, self._ours)

    @property
    def is_awaiting_successor(self) -> bool:
        """Whether a reload has begun since this process came, and none of its processes serves yet."""
        n_begun, newest = _NUMBERS.unpack(self._shared[:])
        return bool(n_begun > self._ours >= newest)


RELOADS = Reloads()
