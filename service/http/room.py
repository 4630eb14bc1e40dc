"""How much the requests of one process may take at once: memory, and threads that work for long."""

import contextlib
import threading
from collections.abc import Iterator

from service.http.errors import BodyTooLargeError, BusyError
from storage.memory_limit import memory_bytes

LARGE_BODY_BYTES = 65_536
"""Shorter bodies are not counted."""

BYTES_PER_BODY_BYTE = 16
"""Memory that a body takes at most while it is read: its copies, and Python's objects for what is in it."""

BYTES_PER_OUTPUT = 60
"""Memory of one output: the number, its text in JSON, and a copy of that."""

LONG_STEPS = 300_000_000
"""Work of so many multiplications takes long: half a second at worst."""

_MOST_BYTES = 1024**3
_OTHERS_BYTES = 160 * 1024**2
"""What a process takes without any request."""
_LEAST_BYTES = 16 * 1024**2


def default_room_bytes(n_processes: int) -> int:
    """Return the default for each of so many processes: half of the memory that they leave, at most 1 GiB."""
    return min(max((memory_bytes() // n_processes - _OTHERS_BYTES) // 2, _LEAST_BYTES), _MOST_BYTES)


class Room:
    """Counts estimates, before the memory is taken or the work begins. Threads and the event loop share one.

    Args:
        max_bytes: for all requests together (REQUEST_MEMORY_BYTES).
        max_long: how many may work for long at a time: fewer than there are threads, or short ones would wait.
    """

    def __init__(self, max_bytes: int = _MOST_BYTES, max_long: int = 4) -> None:
        self.max_bytes = max_bytes
        self._max_long = max_long
        self._n_bytes = 0
        self._n_long = 0
        self._lock = threading.Lock()

    @property
    def is_overfull(self) -> bool:
        """Whether what could not be refused takes too much."""
        return self._n_bytes > self.max_bytes

    def take_for_body(self, n_body_bytes: int) -> int:
        """Take memory for reading a body; returns how much to give back.

        Raises:
            BodyTooLargeError: reading it takes more than all requests may.
            BusyError: the others leave too little.
        """
        if n_body_bytes <= LARGE_BODY_BYTES:
            return 0
        n_bytes = BYTES_PER_BODY_BYTE * n_body_bytes
        self.take(n_bytes, f"a body of {n_body_bytes} bytes")
        return n_bytes

    def take(self, n_bytes: int, what: str) -> None:
        """Take memory that `give_back` returns.

        Raises:
            BodyTooLargeError, BusyError: as `take_for_body`.
        """
        setting = f"{self.max_bytes} bytes of memory (REQUEST_MEMORY_BYTES)"
        if n_bytes > self.max_bytes:
            raise BodyTooLargeError(f"{what} may take {n_bytes} bytes of memory; all requests together have {setting}")
        with self._lock:
            if self._n_bytes + n_bytes > self.max_bytes:
                raise BusyError(f"other requests leave too little of {setting} for {what}: try again later")
            self._n_bytes += n_bytes

    def add(self, n_bytes: int) -> None:
        """Count memory that is taken already."""
        with self._lock:
            self._n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Return what was taken or added."""
        if n_bytes:
            self.add(-n_bytes)

    @contextlib.contextmanager
    def for_outputs(self, n_outputs: int) -> Iterator[None]:
        """Hold memory for the outputs of one answer.

        Raises:
            BodyTooLargeError, BusyError: as `take_for_body`.
        """
        n_bytes = BYTES_PER_OUTPUT * n_outputs
        self.take(n_bytes, f"an answer of {n_outputs} outputs")
        try:
            yield
        finally:
            self.give_back(n_bytes)

    @contextlib.contextmanager
    def for_work(self, n_steps: int) -> Iterator[None]:
        """Hold one of the few places for work that takes long, if this does.

        Raises:
            BusyError: all of them are taken.
        """
        if n_steps < LONG_STEPS:
            yield
            return
        with self._lock:
            if self._n_long >= self._max_long:
                raise BusyError(f"{self._max_long} requests that take long are under way already: try again later")
            self._n_long += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_long -= 1
