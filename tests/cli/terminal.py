"""A real pseudo-terminal, with a process in front of it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path


class Terminal:
    """A process whose stdin, stdout and stderr are a terminal of 150 columns. As a context manager it always ends."""

    def __init__(self, command: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
        self._process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.text = ""
        """All that was shown so far."""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> None:
        """Wait until something is shown."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline and self._read(), self.text

    def finish(self, timeout_s: float = 30.0) -> int:
        """Wait until the process ends, and return its exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read():
            assert time.monotonic() < deadline, self.text
        return self._process.wait(timeout_s)

    def _read(self) -> bool:
        """Read what is there; False once nobody has the terminal open any more."""
        if not select.select([self._master], [], [], 0.5)[0]:
            return True
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # Linux says so by an error
            return False
        self.text += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)
