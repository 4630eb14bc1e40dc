"""Predict on the event loop: small requests at once, all others in threads of their own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from service.http.wire import HttpAnswer, HttpRequest, all_headers, request_id
from service.predict.formats.format import SMALL_BODY_BYTES
from service.predict.memory.loaded_models import LoadedModels
from service.predict.predict import WouldWaitError, predict
from service.predict.ways import Match, find
from service.server.messages import Scope, Send
from service.settings import Limits


class PredictOnLoop:
    """Runs the same predict function as the Flask routes, but small requests on the event loop.

    Args:
        threads: for requests that would hold up the loop. They are not the Flask app's, which may all wait for Redis.
    """

    def __init__(self, models: LoadedModels, limits: Limits, *, threads: int) -> None:
        self._models = models
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    def find(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Match | None:
        """Return what reads the request; None if it does not predict, or if its headers are for Flask to check."""
        is_plain = len(headers) == len(scope["headers"]) and b"transfer-encoding" not in headers  # no header twice
        return find(scope["method"], scope["path"]) if is_plain else None

    async def answer(self, match: Match, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        """Answer a request whose body has been received."""
        http = HttpRequest(
            body=body,
            request_id=request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
            content_type=headers.get(b"content-type", b""),
            content_encoding=headers.get(b"content-encoding", b""),
            accept=headers.get(b"accept", b""),
            query=scope["query_string"],
            headers=headers,
            path_values=match.values,
        )
        answer = await self._predict(match, http)
        headers_out = all_headers(answer, http.request_id)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers_out})
        await send({"type": "http.response.body", "body": answer.body})

    async def _predict(self, match: Match, http: HttpRequest) -> HttpAnswer:
        if len(http.body) <= SMALL_BODY_BYTES:
            try:
                return predict(match.read, http, self._models, self._limits, may_wait=False)
            except WouldWaitError:
                pass
        in_thread = partial(predict, match.read, http, self._models, self._limits)
        return await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)
