"""Predict on the event loop: small requests at once, all others in threads of their own."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from time import perf_counter_ns
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from service.access.authenticate import Admission
from service.access.gate import Gate
from service.access.needs import PREDICT
from service.http.caller import ANYONE, Caller
from service.http.errors import RequestError
from service.http.room import Room
from service.http.wire import HttpAnswer, HttpRequest, all_headers, request_id
from service.predict.formats.format import SMALL_BODY_BYTES
from service.predict.memory.loaded_models import LoadedModels
from service.predict.predict import WouldWaitError, predict
from service.predict.protocols.table import Match, find
from service.server.messages import Scope, Send, remote_of, send_parts
from service.server.request_head import parse_plain_head
from service.settings import Limits
from storage.errors import UnavailableError
from storage.log import traces

MAX_HEAD_BYTES = 2_048
"""Longer heads are not kept in memory."""

_MAX_HEADS = 1_024
"""Clients send the same head again and again, but for the length of the body."""

Answered: TypeAlias = tuple[HttpAnswer, str]
"""An answer and the id of its request."""


class PredictHead(NamedTuple):
    """The head of a predict with nothing unusual."""

    raw: bytes
    match: Match
    headers: Mapping[bytes, bytes]
    """By name in lower case."""
    query: bytes
    n_body_bytes: int
    caller: Caller = ANYONE


class _KnownHead:
    """A head in memory, with who sent it: that is found out once for each change of the access keys."""

    __slots__ = ("admission", "head")

    def __init__(self, head: PredictHead) -> None:
        self.head = head
        self.admission: Admission | None = None


class PredictOnLoop:
    """Runs the same predict function as the Flask routes, but small requests on the event loop.

    Args:
        gate: who may predict; None: everybody.
        threads: for requests that would hold up the loop. They are not the Flask app's, which may all wait for Redis.
    """

    def __init__(
        self,
        models: LoadedModels,
        limits: Limits,
        *,
        room: Room,
        threads: int,
        gate: Gate | None = None,
        renamed: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self._models = models
        self._limits = limits
        self.room = room
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._renamed = renamed
        self._gate = gate
        self._known_head = lru_cache(_MAX_HEADS)(self._parse_head)
        self.is_draining = False
        """Whether each connection is to be closed after its next answer."""

    def find(self, method: str, path: str) -> Match | None:
        """Return what reads a request with this path; None if it does not predict."""
        return find(method, self._renamed.get((method, path), path))

    def read_head(self, raw: bytes) -> PredictHead | None:
        """Read the head of a request, its empty line included.

        Returns None if it is unusual or does not predict, or if its sender may not, or not now: then the shell says so.
        """
        known = self._known_head(raw)
        if known is None or (self._gate is not None and not self._is_let_in(self._gate, known)):
            return None
        if self._gate is not None and self._gate.is_one_too_many(known.head.caller):
            return None
        return known.head

    def may_still(self, head: PredictHead) -> bool:
        """Whether the sender of a head that came earlier may predict now: the key may have ended meanwhile."""
        if self._gate is None:
            return True
        known = self._known_head(head.raw)
        return known is not None and self._is_let_in(self._gate, known)

    @staticmethod
    def _is_let_in(gate: Gate, known: _KnownHead) -> bool:
        if known.admission is not None and gate.still_holds(known.admission):
            return True
        try:
            admission = gate.admit(known.head.headers)
            PREDICT.check(admission.caller)
        except (RequestError, UnavailableError):
            known.admission = None
            return False
        known.admission, known.head = admission, known.head._replace(caller=admission.caller)
        return True

    def _parse_head(self, raw: bytes) -> _KnownHead | None:
        head = parse_plain_head(raw)
        if head is None or head.n_body_bytes > self._limits.max_body_bytes:
            return None
        if b"origin" in head.headers:
            return None  # a browser's request, which the shell gives the headers of CORS
        if traces.is_on() and traces.is_sampled(head.headers.get(b"traceparent", b"")):
            return None  # the shell makes its span
        match = self.find("POST", head.path)
        if match is None:
            return None
        return _KnownHead(PredictHead(raw, match, head.headers, head.query, head.n_body_bytes))

    def answer_now(self, head: PredictHead, parts: list[bytes], remote: str = "") -> Answered | None:
        """Answer a request with a body in parts; None if that would hold up the loop.

        Args:
            remote: the address of whoever connected, for the log.
        """
        if head.n_body_bytes > SMALL_BODY_BYTES:
            return None
        try:
            return self._answered(head, parts, remote, may_wait=False)
        except WouldWaitError:
            return None

    async def answer_in_thread(
        self,
        head: PredictHead,
        parts: list[bytes],
        is_gone: Callable[[], bool] | None = None,
        remote: str = "",
        *,
        complete_ns: int,
    ) -> Answered:
        """Answer a request with a body in parts, whatever that takes. The list is empty then.

        Args:
            is_gone: ends long work early.
            complete_ns: when the request was complete: the wait for a thread is part of its time.
        """
        answered = partial(self._answered, head, parts, remote, is_gone=is_gone, complete_ns=complete_ns)
        return await asyncio.get_running_loop().run_in_executor(self._threads, answered)

    def _answered(
        self,
        head: PredictHead,
        parts: list[bytes],
        remote: str,
        *,
        may_wait: bool = True,
        is_gone: Callable[[], bool] | None = None,
        complete_ns: int | None = None,
    ) -> Answered:
        headers, body = head.headers, b"".join(parts)
        if may_wait:
            parts.clear()  # the caller holds them until there is an answer, and the body would be there twice
        http = HttpRequest(
            body,
            request_id(headers.get(b"x-request-id", b"").decode("latin-1")),
            headers.get(b"content-type", b""),
            headers.get(b"content-encoding", b""),
            headers.get(b"accept", b""),
            head.query,
            headers,
            head.match.values,
            self.room,
            caller=head.caller,
            rule=head.match.rule,
            remote=remote,
            complete_ns=complete_ns or perf_counter_ns(),
        )
        if is_gone is not None:
            http.is_gone = is_gone
        return predict(head.match.read, http, self._models, self._limits, may_wait=may_wait), http.request_id

    async def answer(
        self, scope: Scope, match: Match, headers: Mapping[bytes, bytes], caller: Caller, body: bytes, send: Send
    ) -> None:
        """Answer a request of the shell, whose body has been received."""
        complete_ns = perf_counter_ns()
        head = PredictHead(b"", match, headers, scope["query_string"], len(body), caller)
        remote = remote_of(scope)
        answered = self.answer_now(head, [body], remote)
        answer, of_request = answered or await self.answer_in_thread(
            head, [body], remote=remote, complete_ns=complete_ns
        )
        await send_parts(send, answer.status, all_headers(answer, of_request), answer.body)
