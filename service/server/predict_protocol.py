"""uvicorn's HTTP protocol, which answers small predicts as soon as their last byte is parsed.

uvicorn starts a task and a cycle of ASGI messages for each request. For a predict of a few instances that costs more
than the answer. Whatever cannot be answered at once takes uvicorn's way, as if this class were not there.
"""

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.predict.formats.format import SMALL_BODY_BYTES
from service.server.predict_on_loop import PredictOnLoop

_BODY_S = 1.0
"""After this time without its whole body, a request takes uvicorn's way, where the limits for slow clients are."""


class PredictProtocol(HttpToolsProtocol):
    """One connection. At most one request of it is held back here, until its body is complete."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._predict: PredictOnLoop = self.config.app.predict  # type: ignore[union-attr]  # the shell
        self._body: list[bytes] | None = None
        """The parts of the body of the request that is held back; None if there is none."""
        self._timer: TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """Hold the request back if it can probably be answered here."""
        if not self._is_candidate():
            super().on_headers_complete()
            return
        self._body = []
        self._timer = self.loop.call_later(_BODY_S, self._let_go)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request that is held back, or let it go uvicorn's way."""
        if self._body is not None and not self._is_answered(b"".join(self._body)):
            self._let_go()
        if self.cycle is not None and not self.cycle.response_complete:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the request that is held back: nobody waits for its answer."""
        self._forget()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the request that is held back be answered before the connection is closed."""
        self._let_go()
        super().shutdown()

    def _is_candidate(self) -> bool:
        """Say whether the headers are those of a small predict, and the connection is idle but for it."""
        if self.parser.get_method() != b"POST" or self.expect_100_continue or self.flow.write_paused:
            return False
        if self.pipeline or not (self.cycle is None or self.cycle.response_complete):
            return False  # the answers to pipelined requests keep their order
        if self.parser.get_http_version() != "1.1" or self.parser.should_upgrade():
            return False
        headers = dict(self.headers)
        if len(headers) != len(self.headers) or b"transfer-encoding" in headers:
            return False
        if not 0 < int(headers.get(b"content-length", 0)) <= SMALL_BODY_BYTES:  # httptools has checked the number
            return False
        path, _, query = self.url.partition(b"?")
        if not path.startswith(b"/") or b"%" in path or b"#" in self.url or not path.isascii():
            return False
        match = self._predict.find("POST", path.decode("ascii"))
        if match is None:
            return False
        self._request = (match, headers, query)
        return True

    def _is_answered(self, body: bytes) -> bool:
        answer = self._predict.answer_now(*self._request, body)
        if answer is None:
            return False
        self._forget()
        status, headers, content = answer
        is_kept = self.parser.should_keep_alive() and not self._predict.is_draining
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if is_kept else b"connection: close\r\n\r\n", content)
        self.transport.write(b"".join(lines))
        if not is_kept:
            self.transport.close()
        self.on_response_complete()
        return True

    def _let_go(self) -> None:
        """Give uvicorn the request that is held back, as far as it has come."""
        if (parts := self._forget()) is None:
            return
        super().on_headers_complete()
        if parts:
            super().on_body(b"".join(parts))

    def _forget(self) -> list[bytes] | None:
        parts, self._body = self._body, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return parts
