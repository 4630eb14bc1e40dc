"""Predict on the event loop: small requests at once, large ones and those that need Redis in threads of their own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from service.loaded_models import LoadedModels
from service.messages import Scope, Send
from service.predict import SMALL_BODY_BYTES, predict
from service.requests import request_id
from service.settings import Limits
from service.wire import HttpRequest, all_headers


class PredictOnLoop:
    """Answers `POST /predict` as the Flask app does, by the same function, without its way through a thread.

    Args:
        threads: for requests that would hold the loop up; none of the Flask app's, which may all wait for Redis.
    """

    def __init__(self, models: LoadedModels, limits: Limits, *, threads: int) -> None:
        self._models = models
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")

    def takes(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the request is one for here; what is odd about a request is for the Flask app to say."""
        return (
            scope["path"] == "/predict"
            and scope["method"] == "POST"
            and len(headers) == len(scope["headers"])  # no header twice
            and b"transfer-encoding" not in headers
        )

    async def answer(self, scope: Scope, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        """Answer a request whose body is here."""
        request = HttpRequest(
            body=body,
            request_id=request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
            content_type=headers.get(b"content-type", b""),
            content_encoding=headers.get(b"content-encoding", b""),
            accept=headers.get(b"accept", b""),
            query=scope["query_string"],
        )
        answer = None
        if len(body) <= SMALL_BODY_BYTES:
            answer = predict(request, self._models, self._limits, may_wait=False)
        if answer is None:
            in_thread = partial(predict, request, self._models, self._limits)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)
        assert answer is not None  # it might wait
        headers_out = all_headers(answer, request.request_id)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers_out})
        await send({"type": "http.response.body", "body": answer.body})
