"""A TCP proxy in front of a server, for tests that cut, delay and hang connections, or move them to another server."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.free_port import free_port

Target = Path | int
"""A Unix socket, or a port of this machine."""


class Proxy:
    """Passes bytes on, in a thread of its own. Set its attributes at any time.

    Args:
        delay_s: how long bytes take, each way.
    """

    def __init__(self, target: Target, *, delay_s: float = 0.0) -> None:
        self.target = target
        self.delay_s = delay_s
        self.is_hanging = False
        """Connections are accepted, and nothing passes."""
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.open()

    def open(self) -> None:
        """Accept connections."""
        self._run(self._open)

    def cut(self) -> None:
        """Refuse new connections, and reset the others."""
        self._run(self._cut)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = (
            asyncio.open_unix_connection(str(self.target))
            if isinstance(self.target, Path)
            else asyncio.open_connection("127.0.0.1", self.target)
        )
        try:
            to_reader, to_writer = await opened
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_writer}
        await asyncio.gather(self._pass_on(reader, to_writer), self._pass_on(to_reader, writer))
        self._writers -= {writer, to_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            data = b"begin"
            while data:
                try:
                    data = await reader.read(1 << 16)
                except OSError:
                    data = b""
                under_way.put_nowait((self._loop.time() + self.delay_s, data))

        receiving = asyncio.create_task(receive())
        with contextlib.suppress(OSError):
            while (arrival := await under_way.get())[1]:
                await asyncio.sleep(arrival[0] - self._loop.time())
                while self.is_hanging:
                    await asyncio.sleep(0.05)
                writer.write(arrival[1])
                await writer.drain()
        receiving.cancel()
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()
