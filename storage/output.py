"""Standard output and error that never block: whoever reads the log may stop reading."""

import errno
import io
import os
import select
import stat
import sys
import time
from collections.abc import Callable

_PIECE_BYTES = select.PIPE_BUF
"""A pipe takes so much whole or not at all."""
_PATIENCE_S = 0.05
"""How long a write waits for a reader that is merely slow: at most once a second."""


class LossyOutput(io.TextIOBase):
    """Writes each text at once, or drops it and counts: a full pipe or a stopped terminal holds nobody up.

    No lock and no thread: so a forked child or a signal handler may write at any time.
    """

    def __init__(self, fd: int) -> None:
        self._fd = _own_description(fd)
        self._original_fd = fd
        self._may_block = os.get_blocking(self._fd)
        self._is_unfinished = False
        """Whether the last text was cut off in the middle."""
        self._waited_at_s = 0.0
        self.n_lost = 0
        """Texts that were dropped since the last one that was written."""
        self.note: Callable[[int], str] = lambda n: f"[{n} pieces of the log were lost, because nobody read it]\n"
        """What says so, in the form of the log."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written."""
        return "utf-8"

    def fileno(self) -> int:
        """Return the descriptor that was given."""
        return self._original_fd

    def isatty(self) -> bool:
        """Tell whether somebody watches a terminal."""
        return os.isatty(self._original_fd)

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Write the text or drop it; returns its length in both cases."""
        data = text.encode(errors="backslashreplace")
        if self.n_lost:
            start = "\n" if self._is_unfinished else ""
            note = f"{start}{self.note(self.n_lost)}".encode()
            if self._write(note) < len(note):
                self.n_lost += 1
                return len(text)
            self.n_lost, self._is_unfinished = 0, False
        n_written = self._write(data)
        if n_written < len(data):
            self.n_lost += 1
            self._is_unfinished = n_written > 0
        return len(text)

    def _write(self, data: bytes) -> int:
        """Return how many bytes were written before it would have blocked."""
        n_written = 0
        while n_written < len(data):
            try:
                if self._may_block and not self._has_room(0.0):
                    raise BlockingIOError
                n_written += os.write(self._fd, data[n_written : n_written + _PIECE_BYTES])
            except BlockingIOError:
                now_s = time.monotonic()
                if now_s - self._waited_at_s < 1.0:
                    break
                self._waited_at_s = now_s
                if not self._has_room(_PATIENCE_S):
                    break
            except OSError:  # nobody can read any more (`./run up 2>&1 | head`): continue without a log
                return len(data)
        return n_written

    def _has_room(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(1_000 * timeout_s))


def never_block() -> None:
    """Replace standard output and error of this process, and of what it forks, by ones that never block."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, LossyOutput):
            stream.flush()
            setattr(sys, name, LossyOutput(stream.fileno()))


def _own_description(fd: int) -> int:
    """Return a descriptor of the same pipe or terminal that does not block, without a change for others who write.

    Where there is none, the descriptor itself: it is asked for room before each write, which leaves a moment in which
    another process could fill it.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return fd
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENXIO, errno.EACCES, errno.EPERM):
            raise
        return fd
    return own
