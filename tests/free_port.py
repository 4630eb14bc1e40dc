"""A TCP port for a server that a test starts."""

import random
import socket
from contextlib import suppress

_RANDOM = random.SystemRandom()  # not seeded by tests, so that parallel processes choose different ports


def free_port() -> int:
    """Return a free port below 32768, where Linux begins to choose ports for outgoing connections."""
    while True:
        port = _RANDOM.randrange(15_000, 32_768)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
