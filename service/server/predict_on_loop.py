"""Predict on the event loop: small requests at once, all others in threads of their own."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType

from service.http.wire import Header, HttpRequest, all_headers, request_id
from service.predict.formats.format import SMALL_BODY_BYTES
from service.predict.memory.loaded_models import LoadedModels
from service.predict.predict import WouldWaitError, predict
from service.predict.protocols.table import Match, find
from service.server.messages import Send, send_parts
from service.settings import Limits


class PredictOnLoop:
    """Runs the same predict function as the Flask routes, but small requests on the event loop.

    Args:
        threads: for requests that would hold up the loop. They are not the Flask app's, which may all wait for Redis.
    """

    def __init__(
        self,
        models: LoadedModels,
        limits: Limits,
        *,
        threads: int,
        renamed: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self._models = models
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._renamed = renamed
        self.is_draining = False
        """Whether each connection is to be closed after its next answer."""

    def find(self, method: str, path: str) -> Match | None:
        """Return what reads a request with this path; None if it does not predict."""
        return find(method, self._renamed.get((method, path), path))

    def answer_now(
        self, match: Match, headers: Mapping[bytes, bytes], query: bytes, body: bytes
    ) -> tuple[int, list[Header], bytes] | None:
        """Answer a request with status, headers and body; None if that would hold up the loop."""
        http = _request(match, headers, query, body)
        try:
            answer = predict(match.read, http, self._models, self._limits, may_wait=False)
        except WouldWaitError:
            return None
        return answer.status, all_headers(answer, http.request_id), answer.body

    async def answer(self, match: Match, headers: Mapping[bytes, bytes], query: bytes, body: bytes, send: Send) -> None:
        """Answer a request whose body has been received: at once, or in a thread."""
        answered = self.answer_now(match, headers, query, body) if len(body) <= SMALL_BODY_BYTES else None
        if answered is None:
            http = _request(match, headers, query, body)
            in_thread = partial(predict, match.read, http, self._models, self._limits)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)
            answered = answer.status, all_headers(answer, http.request_id), answer.body
        await send_parts(send, *answered)


def _request(match: Match, headers: Mapping[bytes, bytes], query: bytes, body: bytes) -> HttpRequest:
    return HttpRequest(
        body=body,
        request_id=request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
        content_type=headers.get(b"content-type", b""),
        content_encoding=headers.get(b"content-encoding", b""),
        accept=headers.get(b"accept", b""),
        query=query,
        headers=headers,
        path_values=match.values,
    )
