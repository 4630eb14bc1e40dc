"""uvicorn's HTTP protocol, which answers predicts by itself.

uvicorn starts a task and a cycle of ASGI messages for each request. For a predict of a few instances that costs more
than the answer, and a large body is copied four times on its way. So predicts are taken from the bytes before uvicorn
parses them. Every other request, and a predict that is unusual or slow to arrive, goes uvicorn's way, as if this class
were not there.
"""

import os
import socket
from asyncio import TimerHandle, Transport
from time import perf_counter_ns
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.http.errors import RequestError
from service.http.room import LARGE_BODY_BYTES
from service.http.wire import HttpAnswer, all_headers
from service.server.guarded_protocol import GuardedProtocol
from service.server.messages import COUNTED
from service.server.predict_on_loop import MAX_HEAD_BYTES, PredictHead, PredictOnLoop
from service.server.proxies import STRICT_TRANSPORT, Proxies
from service.server.request_head import END

_BODY_S = 1.0
"""After this time without its whole body, a request goes uvicorn's way, where the limits for slow clients are."""


class PredictProtocol(GuardedProtocol):
    """One connection. It has at most one request at a time: held back, being answered, or in uvicorn's hands."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._predict: PredictOnLoop = self.config.app.predict  # type: ignore[union-attr]  # the shell
        self._proxies: Proxies = self.config.app.proxies  # type: ignore[union-attr]
        self._is_parsing = False
        """Whether uvicorn's parser is in the middle of a request."""
        self._head: PredictHead | None = None
        """Of the request that is held back until its body is complete."""
        self._parts: list[bytes] = []
        """Its body as far as it has come."""
        self._n_missing = 0
        self._n_taken = 0
        """Memory taken for this body."""
        self._timer: TimerHandle | None = None
        self._is_answering = False
        """Whether a thread computes an answer. Nothing is read meanwhile."""
        self._is_counted = False
        """Whether the request that uvicorn gets next was taken from the limits of its key."""
        self._answered_at = 0.0
        self._remote = ""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._remote = str(self.client[0]) if self.client else ""
        self._answered_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Answer the predicts at the front of the data, and give uvicorn what follows."""
        while data and not self.transport.is_closing():
            if self._head is None:
                head = self._next_head(data)
                if head is None or not self._has_room(head):
                    self._is_counted = head is not None
                    super().data_received(data)
                    return
                self._head = head
                self._n_missing = self._head.n_body_bytes
                data = data[len(self._head.raw) :]
            part, data = data[: self._n_missing], data[self._n_missing :]
            self._parts.append(part)
            self._n_missing -= len(part)
            if self._n_missing:
                if self._timer is None:
                    self._timer = self.loop.call_later(_BODY_S, self._let_go)
            elif self._timer is not None and not self._predict.may_still(self._head):
                self._let_go()  # the shell says why
            elif not self._is_answered():
                self._is_answering = True
                self.flow.pause_reading()
                task = self.loop.create_task(
                    self._answer_in_thread(self._head, self._forget(), data, perf_counter_ns())
                )
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
                return

    def on_message_begin(self) -> None:
        """Note that uvicorn has a request."""
        self._is_parsing = True
        super().on_message_begin()
        if self._is_counted:
            self._is_counted = False
            self.scope[COUNTED] = True  # type: ignore[literal-required]  # the shell reads it

    def on_message_complete(self) -> None:
        """Note that uvicorn has all of the request."""
        self._is_parsing = False
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it is idle. One timer serves many answers: a new one for each is a lot of work."""
        is_busy = self._head is not None or self._is_answering
        left_s = self.timeout_keep_alive - (0.0 if is_busy else self.loop.time() - self._answered_at)
        if left_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the request that is held back: nobody waits for its answer."""
        self._forget()
        if not self._is_answering:
            self._give_back()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the request that has begun be answered before the connection is closed."""
        self._let_go()
        if not self._is_answering:  # that answer closes the connection, since the app drains
            super().shutdown()

    def _next_head(self, data: bytes) -> PredictHead | None:
        """Return the head at the front of the data if it is that of a predict, and uvicorn has nothing to do."""
        if self._is_parsing or self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete):
            return None
        end = data.find(END, 0, MAX_HEAD_BYTES) if data.startswith(b"POST ") else -1
        return None if end < 0 else self._predict.read_head(data[: end + len(END)])

    def _is_answered(self) -> bool:
        """Answer the request that is held back, unless that would hold up the loop."""
        assert self._head is not None
        answered = self._predict.answer_now(self._head, self._parts, self._remote)
        if answered is None:
            return False
        head = self._head
        self._forget()
        self._write(*answered, head)
        return True

    async def _answer_in_thread(self, head: PredictHead, parts: list[bytes], rest: bytes, complete_ns: int) -> None:
        answered = None
        try:
            answered = await self._predict.answer_in_thread(
                head, parts, self._is_gone, self._remote, complete_ns=complete_ns
            )
        finally:
            self._is_answering = False
            self._give_back()
            if answered is None:  # cancelled: the process stops
                self.transport.close()
        if not self.transport.is_closing():
            self._write(*answered, head)
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(rest)

    def _write(self, answer: HttpAnswer, request_id: str, head: PredictHead) -> None:
        headers = [*self.server_state.default_headers, *all_headers(answer, request_id)]
        if b"x-forwarded-proto" in head.headers and self._proxies.has_tls((self.client or (None,))[0], head.headers):
            headers.append(STRICT_TRANSPORT)
        is_last = self._predict.is_draining
        if is_last:
            headers.append((b"connection", b"close"))
        lines = b"\r\n".join(map(b": ".join, headers))
        if len(answer.body) < LARGE_BODY_BYTES:
            self.transport.write(b"".join((STATUS_LINE[answer.status], lines, END, answer.body)))
        else:  # without a copy
            self.transport.write(b"".join((STATUS_LINE[answer.status], lines, END)))
            self.transport.write(answer.body)
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if is_last:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_handler()

    def _let_go(self) -> None:
        """Give uvicorn the request that is held back, as far as it has come."""
        head, parts = self._head, self._forget()
        if head is not None:
            self._give_back()  # the shell takes it again
            self._is_counted = True
            super().data_received(b"".join((head.raw, *parts)))

    def _forget(self) -> list[bytes]:
        """Hold no request back any more; return the body of the one that was."""
        parts, self._head, self._parts = self._parts, None, []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return parts

    def _has_room(self, head: PredictHead) -> bool:
        """Take memory for a large body; False if there is none: then uvicorn's way ends with the error."""
        if head.n_body_bytes > LARGE_BODY_BYTES:
            try:
                self._n_taken = self._predict.room.take_for_body(head.n_body_bytes)
            except RequestError:
                return False
        return True

    def _give_back(self) -> None:
        self._predict.room.give_back(self._n_taken)
        self._n_taken = 0

    def _is_gone(self) -> bool:
        """Tell whether the client has closed the connection: nothing is read while a thread computes its answer."""
        if self.transport.is_closing():
            return True
        try:
            with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as connection:
                return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
