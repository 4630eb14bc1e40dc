"""Predict on the event loop: small requests at once, large ones and those that need Redis in threads of their own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from service.http.requests import request_id
from service.http.wire import HttpRequest, all_headers
from service.predict.memory.loaded_models import LoadedModels
from service.predict.native import SMALL_BODY_BYTES
from service.predict.ways import Match, find
from service.server.messages import Scope, Send
from service.settings import Limits


class PredictOnLoop:
    """Answers what `dispatch` finds as the Flask app does, by the same function, without its way through a thread.

    Args:
        threads: for requests that would hold the loop up; none of the Flask app's, which may all wait for Redis.
    """

    def __init__(self, models: LoadedModels, limits: Limits, *, threads: int) -> None:
        self._models = models
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    def find(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Match | None:
        """Return what answers the request here; what is odd about a request is for the Flask app to say."""
        is_plain = len(headers) == len(scope["headers"]) and b"transfer-encoding" not in headers  # no header twice
        return find(scope["method"], scope["path"]) if is_plain else None

    async def answer(self, match: Match, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        """Answer a request whose body is here."""
        request = HttpRequest(
            body=body,
            request_id=request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
            content_type=headers.get(b"content-type", b""),
            content_encoding=headers.get(b"content-encoding", b""),
            accept=headers.get(b"accept", b""),
            query=scope["query_string"],
            headers=headers,
            path_values=match.values,
        )
        answer = None
        if len(body) <= SMALL_BODY_BYTES:
            answer = match.predict(request, self._models, self._limits, may_wait=False)
        if answer is None:
            in_thread = partial(match.predict, request, self._models, self._limits)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)
        assert answer is not None  # it might wait
        headers_out = all_headers(answer, request.request_id)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers_out})
        await send({"type": "http.response.body", "body": answer.body})
