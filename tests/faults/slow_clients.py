"""Clients that send a request byte by byte."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.rig import repeated


@contextmanager
def dripping(port: int, n_connections: int) -> Iterator[None]:
    """Send headers and bodies byte by byte over many connections, half of them each."""
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(n_connections)]
    for k, connection in enumerate(connections):
        connection.sendall(head + (b"\r\n{" if k % 2 else b"X-Slow: "))

    def drip() -> None:
        for connection in connections:
            connection.sendall(b"a")

    try:
        with repeated(drip, 0.05):
            yield
    finally:
        for connection in connections:
            connection.close()
