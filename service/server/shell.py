"""The ASGI shell around the Flask app: it answers on the event loop what would hold a thread for long."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any

import orjson
from a2wsgi import WSGIMiddleware
from redis.asyncio import Redis

from service.access.authenticate import by_name
from service.access.flask_admission import CALLER
from service.access.gate import Gate
from service.access.needs import LOOKS, PREDICT, need_of
from service.http.caller import ANYONE, NOBODY
from service.http.errors import RequestError, UnauthenticatedError, answer_to, problem_body
from service.http.flask_requests import COMPLETE_NS
from service.http.room import Room
from service.observe.metrics.metrics import Metrics
from service.observe.payloads import ALIVE, READINESS_PATHS
from service.predict.memory.loaded_models import LoadedModels
from service.server.changes import Changes
from service.server.cors import Cors
from service.server.counting import counted
from service.server.guarded_protocol import UnreadAnswers
from service.server.messages import (
    COUNTED,
    App,
    Receive,
    Scope,
    Send,
    adding,
    once,
    own_headers,
    read_body,
    send_answer,
)
from service.server.predict_on_loop import PredictOnLoop
from service.server.proxies import STRICT_TRANSPORT, Proxies
from service.server.routing import ROUTE
from service.server.uploads import Uploads
from service.server.waiting import Waiting
from service.settings import Limits
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.errors import UnavailableError
from storage.log import traces
from storage.log.form import add

_FREE_BODY_BYTES = 4_096

_ALIVE = {path: orjson.dumps(answer) for path, answer in ALIVE.items()}


class Shell:
    """Hands requests to Flask's threads once their body is here, and answers by itself those that only wait.

    A client that sends its body slowly costs a buffer, not a thread. A body that is too large is not read: the Flask
    app refuses it from the headers alone.

    Liveness is answered here, because all threads may be waiting for a Redis that hangs.

    Args:
        models: the same that the Flask app predicts with.
        blobs: where uploads go; None: the Flask app receives them by itself.
        check_blobs: raises if the blob store cannot be used.
        room: what all requests of the process take together.
        gate: who comes in; None: everybody, for everything.
        cors_origins: see `Cors`; none of them: no headers for other origins.
        body_timeout_s: how long a client may pause while it sends its body.
        renamed: paths to replace by others, by method and path.
        proxies: see `Proxies`.
        stop_delay_s: how long `leave` takes.
        metrics: what keeps the metrics of the process up to date while it lives.
    """

    def __init__(
        self,
        wsgi_app: Any,
        redis: Redis,
        models: LoadedModels,
        *,
        threads: int,
        limits: Limits,
        room: Room | None = None,
        gate: Gate | None = None,
        blobs: BlobStore | None = None,
        check_blobs: Callable[[], None] = lambda: None,
        body_timeout_s: float = 30.0,
        renamed: Mapping[tuple[str, str], str] = MappingProxyType({}),
        cors_origins: Collection[str] = (),
        proxies: Collection[str] = (),
        stop_delay_s: float = 0.0,
        metrics: Metrics | None = None,
    ) -> None:
        self.traffic = models.traffic
        self._metrics = metrics
        self._counted = counted(self._answer, self.traffic, wsgi_app.url_map, lambda: not models.is_ready)
        self._flask: App = WSGIMiddleware(wsgi_app, workers=threads)  # type: ignore[assignment]
        self._changes = Changes(redis)
        self._waiting = Waiting(self._flask, redis, self._changes, gate)
        self.gate = gate
        self._models = models
        room = room or Room()
        self.unread = UnreadAnswers(room)
        self.predict = PredictOnLoop(models, limits, room=room, threads=threads, gate=gate, renamed=renamed)
        self._uploads: Uploads | None = None
        if blobs is not None:
            most = max(threads // 2, 1)  # of the threads that read the files afterwards
            self._uploads = Uploads(
                self._flask, blobs, limits, check_blobs, max_at_once=most, body_timeout_s=body_timeout_s
            )
        self._max_body_bytes = limits.max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._renamed = renamed
        self._cors = Cors(cors_origins) if cors_origins else None
        self.proxies = Proxies(proxies)
        self._stop_delay_s = stop_delay_s
        self._is_leaving = False

    async def leave(self) -> None:
        """Be not ready, and otherwise go on as before until load balancers have noticed. Called before `drain`."""
        self._is_leaving = True
        await asyncio.sleep(self._stop_delay_s)

    def drain(self) -> None:
        """End waiting requests soon, and close each connection after its next answer. Called when the server stops."""
        self.predict.is_draining = True
        self._waiting.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan of the process (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self.predict.is_draining:
            send = adding(send, (b"connection", b"close"))  # the client opens another one for its next request
        if (path := self._renamed.get((scope["method"], scope["path"]))) is not None:
            scope = {**scope, "path": path}
        await self._counted(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self.proxies.has_tls((scope.get("client") or (None,))[0], headers):
            send = adding(send, STRICT_TRANSPORT)
        if self._cors is not None:
            allowed = await self._cors.handle(scope, headers, send)
            if allowed is None:
                return
            send = allowed
        length = int(headers.get(b"content-length") or 0)  # the server has checked that it is a number
        if (alive := _ALIVE.get(scope["path"])) is not None and scope["method"] in ("GET", "HEAD"):
            await send_answer(scope, send, 200, own_headers(scope, b"application/json"), alive)
            return
        if self._is_leaving and scope["path"] in READINESS_PATHS:
            await self._say(scope, send, 503, "unavailable", "this process is stopping", (b"retry-after", b"1"))
            return
        if self.gate is not None:
            try:
                scope = await self._let_in(self.gate, scope)
            except (RequestError, UnavailableError) as error:
                # A long body is not read only to be thrown away; the rest of a short one is, so that the client, which
                # may still be sending it, reads the answer.
                is_short = length <= self._max_body_bytes and b"transfer-encoding" not in headers
                await self._refuse(scope, send, error, *(() if is_short else [(b"connection", b"close")]))
                return
            if scope[CALLER] is NOBODY and length > _FREE_BODY_BYTES:
                # A route for which nobody is asked has no use for a body, which would take the room of others.
                await self._flask(scope, once(b""), adding(send, (b"connection", b"close")))
                return
        if await self._waiting.handle(scope, receive, send):
            return
        if self._uploads is not None and self._uploads.is_one(scope):
            await self._upload(self._uploads, scope, receive, send, headers)
            return
        if not 0 < length <= self._max_body_bytes:
            await self._flask(scope, receive, send)
            return
        try:
            n_taken = self.predict.room.take_for_body(length)
        except RequestError as error:
            await self._refuse(scope, send, error)
            return
        try:
            await self._handle_body(scope, receive, send, headers)
        finally:
            self.predict.room.give_back(n_taken)

    async def _upload(
        self, uploads: Uploads, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]
    ) -> None:
        try:
            await uploads.handle(scope, receive, send, headers)
        except TimeoutError:
            await self._say_timeout(scope, send)
        except Exception as error:
            await self._refuse(scope, send, as_unavailable(error) or error, (b"connection", b"close"))

    async def _handle_body(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]) -> None:
        try:
            body = await read_body(receive, self._body_timeout_s)
        except TimeoutError:
            await self._say_timeout(scope, send)
            return
        if body is None:
            return
        # A header sent twice, or chunks, are for Flask to check.
        is_plain = len(headers) == len(scope["headers"]) and b"transfer-encoding" not in headers
        if is_plain and (match := self.predict.find(scope["method"], scope["path"])) is not None:
            caller = scope.get(CALLER, ANYONE)
            if self.gate is not None and not self.gate.is_in_force(caller):
                await self._refuse(scope, send, UnauthenticatedError("ended meanwhile", caller.key_id))
                return
            await self.predict.answer(scope, match, headers, caller, body, send)
            return
        receive = once(body)
        del body
        await self._flask({**scope, COMPLETE_NS: perf_counter_ns()}, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Listen for changes as long as the process lives."""
        await receive()  # lifespan.startup
        self._models.follow(self._changes)
        if self.gate is not None:
            await self.gate.open(self._changes)
        tasks = [asyncio.create_task(self._changes.listen()), asyncio.create_task(self._waiting.watch_keys())]
        if self._metrics is not None:
            self._metrics.start()
            tasks.append(asyncio.create_task(self._metrics.watch_loop()))
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        for task in tasks:
            task.cancel()
        if self._metrics is not None:
            self._metrics.pour()
        await asyncio.to_thread(traces.end)
        await send({"type": "lifespan.shutdown.complete"})

    async def _let_in(self, gate: Gate, scope: Scope) -> Scope:
        """Return the request with its caller, before anything of its body is read.

        Raises:
            RequestError, UnavailableError: as `Gate.let_in_on_loop`.
        """
        method, headers = scope["method"], by_name(scope["headers"])
        is_predict = self.predict.find(method, scope["path"]) is not None
        caller = await gate.let_in_on_loop(
            PREDICT if is_predict else need_of(method, scope[ROUTE].rule),
            headers,
            is_look=method in LOOKS,
            find_address=lambda: self.proxies.client_of((scope.get("client") or (None,))[0], headers),
            is_counted=scope.get(COUNTED, False),
        )
        add(key_id=caller.key_id, tenant=caller.tenant or None)
        return {**scope, CALLER: caller}

    async def _refuse(self, scope: Scope, send: Send, error: Exception, *more: tuple[bytes, bytes]) -> None:
        own = own_headers(scope, b"application/problem+json")
        answer = answer_to(error, request_id=dict(own)[b"x-request-id"].decode())
        await send_answer(scope, send, answer.status, [*own, *answer.headers, *more], answer.body)

    async def _say_timeout(self, scope: Scope, send: Send) -> None:
        detail = f"no more of the body arrived for {self._body_timeout_s:g} s"
        await self._say(scope, send, 408, "request_timeout", detail, (b"connection", b"close"))

    async def _say(
        self, scope: Scope, send: Send, status: int, code: str, detail: str, header: tuple[bytes, bytes]
    ) -> None:
        headers = own_headers(scope, b"application/problem+json")
        request_id = dict(headers)[b"x-request-id"].decode()
        body = orjson.dumps(problem_body(status, code, detail, request_id=request_id))
        await send_answer(scope, send, status, [*headers, header], body)
