"""Uploads: their bodies are written to a file as they arrive, so that they take no memory and no thread meanwhile."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from service.datasets.upload import UPLOAD, Upload
from service.http.errors import BusyError, TableError
from service.server.messages import App, Receive, Scope, Send, once, without
from service.settings import Limits
from storage.blobs import BlobStore

PATH = "/datasets"

_PART_BYTES = 1 << 20
"""So much is written at a time."""


class Uploads:
    """Receives the bodies of uploads, and hands their requests to the Flask app then.

    Args:
        check_blobs: raises if the blob store cannot be used; it may take a while.
        max_at_once: of all threads of the app, which reads the files.
        body_timeout_s: how long a client may pause while it sends its body.
    """

    def __init__(
        self,
        flask: App,
        blobs: BlobStore,
        limits: Limits,
        check_blobs: Callable[[], None],
        *,
        max_at_once: int,
        body_timeout_s: float,
    ) -> None:
        self._flask = flask
        self._blobs = blobs
        self._max_bytes = limits.tables.max_dataset_bytes
        self._check_blobs = check_blobs
        self._n_left = max_at_once
        self._max_at_once = max_at_once
        self._body_timeout_s = body_timeout_s
        # Writing waits for the disk.
        self._threads = ThreadPoolExecutor(max_at_once, thread_name_prefix="upload")

    def is_one(self, scope: Scope) -> bool:
        """Whether the request uploads a data set."""
        return bool(scope["method"] == "POST" and scope["path"].rstrip("/") == PATH)

    async def handle(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]) -> None:
        """Handle one upload.

        Raises:
            RequestError, StorageError: it is refused; the rest of its body has not been read.
            TimeoutError: no more of the body arrived.
        """
        if int(headers.get(b"content-length") or 0) > self._max_bytes:
            detail = f"a data set may have {self._max_bytes} bytes (MAX_DATASET_BYTES)"
            raise TableError("too_large", detail, more={"limit": self._max_bytes})
        if self._n_left == 0:
            raise BusyError(f"{self._max_at_once} uploads are under way in this process: try again later")
        self._n_left -= 1
        stack = ExitStack()
        loop = asyncio.get_running_loop()
        try:
            upload = await loop.run_in_executor(self._threads, self._begin, stack, headers)
            if not await self._receive(upload, receive):
                return  # the client has gone
            bare = without(scope, b"content-length", b"transfer-encoding")
            await self._flask({**bare, UPLOAD: upload}, once(b""), send)
        finally:
            self._n_left += 1
            await loop.run_in_executor(self._threads, stack.close)

    def _begin(self, stack: ExitStack, headers: Mapping[bytes, bytes]) -> Upload:
        self._check_blobs()
        upload = Upload(stack.enter_context(self._blobs.scratch()), headers, self._max_bytes)
        stack.callback(upload.close)
        return upload

    async def _receive(self, upload: Upload, receive: Receive) -> bool:
        """Write the body to the file; return False if the client disconnected first."""
        loop = asyncio.get_running_loop()
        parts: list[bytes] = []
        n_bytes, more = 0, True
        writing: asyncio.Future[None] | None = None  # one part is written while the next one arrives
        try:
            while more:
                async with asyncio.timeout(self._body_timeout_s):
                    message = await receive()
                if message["type"] != "http.request":
                    return False
                part, more = message.get("body", b""), message.get("more_body", False)
                parts.append(part)
                n_bytes += len(part)
                if n_bytes >= _PART_BYTES or not more:
                    if writing is not None:
                        await writing
                    writing = loop.run_in_executor(self._threads, upload.write, b"".join(parts))
                    parts, n_bytes = [], 0
            if writing is not None:
                await writing
        finally:
            if writing is not None:
                await asyncio.gather(writing, return_exceptions=True)  # the file must not be closed meanwhile
        await loop.run_in_executor(self._threads, upload.complete)
        return True
