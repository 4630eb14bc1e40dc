"""A copy of all that a Redis holds at one moment, in the format of its own files (RDB).

It is asked for as a replica asks, so it works over a socket, TCP or TLS, and needs no access to the server's files.
"""

import os
import socket
from pathlib import Path
from typing import Any

from redis import Redis, exceptions

_CHUNK_BYTES = 1 << 20


def write_snapshot(redis: Redis, path: Path, timeout_s: float = 60.0) -> int:
    """Write the data of this Redis as of now into a new file, and return its size in bytes.

    Args:
        timeout_s: the longest silence: a server that still writes its snapshot says so every ten seconds.

    Raises:
        RedisError: it cannot be reached, is silent, or refuses: its ACL must allow SYNC, and a replica must have its
            data.
    """
    connection: Any = redis.connection_pool.get_connection()
    try:
        connection.send_command("SYNC", check_health=False)
        stream: socket.socket = connection._sock  # the answer is no reply that a parser of redis-py reads
        stream.settimeout(timeout_s)
        with path.open("xb") as file:
            n_bytes = left = _length(stream)
            while left:
                chunk = _received(stream, min(left, _CHUNK_BYTES))
                file.write(chunk)
                left -= len(chunk)
            file.flush()
            os.fsync(file.fileno())
        return n_bytes
    finally:
        connection.disconnect()  # what was written since would follow
        redis.connection_pool.release(connection)


def _length(stream: socket.socket) -> int:
    """Read the line before the snapshot: `$` and how many bytes there are. Empty lines come until it is written."""
    line = b""
    while not line.endswith(b"\r\n"):
        line = (line + _received(stream, 1)).lstrip(b"\n")  # no byte more, since what follows is not ours to parse
    if line.startswith(b"$") and line[1:].strip().isdigit():
        return int(line[1:])
    kind = exceptions.NoPermissionError if line.startswith(b"-NOPERM") else exceptions.ResponseError
    raise kind(line[1:].decode(errors="replace").strip())


def _received(stream: socket.socket, n_bytes: int) -> bytes:
    """Return some of the next bytes, at most `n_bytes` and at least one."""
    try:
        chunk = stream.recv(n_bytes)
    except TimeoutError as error:
        raise exceptions.TimeoutError(f"Redis sent nothing of its snapshot for {stream.gettimeout():g} s") from error
    except OSError as error:
        why = error.strerror or error
        raise exceptions.ConnectionError(f"the connection broke before the snapshot was complete: {why}") from error
    if not chunk:
        raise exceptions.ConnectionError("Redis ended the connection before its snapshot was complete")
    return chunk
