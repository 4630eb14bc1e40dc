"""uvicorn's HTTP protocol with limits on what one connection may take: heads, and answers that nobody reads.

uvicorn has none of these: it collects headers and URLs without end, waits for ever for the rest of a head, and keeps
what a client does not read.
"""

import contextlib
import fcntl
import sys
import termios
from asyncio import Protocol, TimerHandle, Transport
from typing import Any

from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http.errors import problem_answer
from service.http.room import Room
from service.http.wire import all_headers, request_id
from service.observe.metrics.traffic import UNKNOWN_ROUTE
from service.server.request_head import END

MAX_URL_BYTES = 8_192
MAX_HEAD_BYTES = 65_536
"""Of all headers of a request together."""

_BYTES_PER_HEADER = 32
"""Counted for each header besides its text, as HTTP/2 does: many short ones take memory, too."""

HEAD_S = 20.0
"""How long a head may take from its first byte to its last."""

UNREAD_S = 15.0
_UNREAD_BYTES = 15 * 4_096
"""A client must read at least so much of a waiting answer in so many seconds."""

_LINGER_S = 1.0
"""How long a refused connection is still read, so that the client can read why."""


class UnreadAnswers:
    """The answers of one process that wait for clients to read them.

    When they take too much memory, the one that has waited longest is given up, unless it is alone.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._n_bytes: dict[GuardedProtocol, int] = {}

    def add(self, connection: "GuardedProtocol", n_bytes: int) -> None:
        """Count the answer of a connection until `remove`."""
        self._n_bytes[connection] = n_bytes
        self._room.add(n_bytes)
        while self._room.is_overfull and len(self._n_bytes) > 1:
            oldest = next(iter(self._n_bytes))
            self.remove(oldest)
            oldest.transport.abort()

    def remove(self, connection: "GuardedProtocol") -> None:
        """Count the answer no more."""
        self._room.give_back(self._n_bytes.pop(connection, 0))


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._unread: UnreadAnswers = self.config.app.unread  # type: ignore[union-attr]  # the shell
        self._is_in_head = False
        self._n_head_bytes = 0
        self._n_told = 0
        """How often the parser has reported anything."""
        self._n_kept_bytes = 0
        """What came since then: the parser keeps it, if it is an unfinished header."""
        self._head_timer: TimerHandle | None = None
        self._unread_timer: TimerHandle | None = None
        self._refusal = (400, "bad_request", "this is no valid HTTP request")

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Give uvicorn the data, and check what it has collected."""
        n_told = self._n_told
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        self._n_kept_bytes = self._n_kept_bytes + len(data) if self._n_told == n_told else 0
        if self._n_kept_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
            self.send_400_response("")
        elif self._is_in_head:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_S, self._give_up_head)
        elif self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self.timeout_keep_alive_handler()  # what came was no request

    def on_message_begin(self) -> None:
        """Count from here."""
        self._n_told += 1
        self._n_head_bytes = 0
        self._is_in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Collect a piece of the URL."""
        self._n_told += 1
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refusal = (414, "uri_too_long", f"the URL may have {MAX_URL_BYTES} bytes")
            raise HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, or one that follows a body in chunks."""
        self._n_told += 1
        self._n_head_bytes += len(name) + len(value) + _BYTES_PER_HEADER
        if self._n_head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
            raise HttpParserError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to handle the request."""
        self._n_told += 1
        self._is_in_head = False
        self._stop_head_timer()
        if sum(name == b"host" for name, _ in self.headers) > 1:
            self._refusal = (400, "bad_request", "there must be one Host header, not several")
            raise HttpParserError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._n_told += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the body has ended."""
        self._n_told += 1
        super().on_message_complete()

    def eof_received(self) -> None:
        """Say that the body is cut off to a client that still reads. The connection is closed after this."""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline:
            self._refusal = (400, "malformed_encoding", "the connection ended before the whole body had arrived")
            self._write_refusal()

    def send_400_response(self, msg: str) -> None:
        """Say why the connection is closed, unless an earlier request on it still waits for its own answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self._write_refusal()
        self.transport.write_eof()
        self.transport.set_protocol(_Lingering(self))
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; what its client has not read by now is lost."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Begin to watch a client that does not read its answer."""
        super().pause_writing()
        self._watch_reader(self._n_unread_bytes())
        self._unread.add(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """End the watch."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_head_timer()
        self._stop_watching()
        super().connection_lost(exc)

    def _write_refusal(self) -> None:
        status, code, detail = self._refusal
        self.config.app.traffic.answered(UNKNOWN_ROUTE, "", status, None)  # type: ignore[union-attr]  # the shell
        of_request = request_id("")
        answer = problem_answer(status, code, detail, request_id=of_request)
        lines = b"\r\n".join(map(b": ".join, [*all_headers(answer, of_request), (b"connection", b"close")]))
        self.transport.write(b"".join((STATUS_LINE[status], lines, END, answer.body)))

    def _refuse_head(self) -> None:
        self._refusal = (431, "headers_too_large", f"the headers may have {MAX_HEAD_BYTES} bytes together")

    def _give_up_head(self) -> None:
        self._refusal = (408, "request_timeout", f"the head of the request did not end within {HEAD_S:g} s")
        self.send_400_response("")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_reader(self, n_unread: int) -> None:
        self._unread_timer = self.loop.call_later(UNREAD_S, self._check_reader, n_unread)

    def _check_reader(self, n_before: int) -> None:
        n_unread = self._n_unread_bytes()
        if n_before - n_unread < _UNREAD_BYTES:
            self.transport.abort()
        else:
            self._watch_reader(n_unread)

    def _n_unread_bytes(self) -> int:
        """Return what the client has not taken: our buffer, and the system's, which is refilled in large steps."""
        queued = bytearray(4)
        with contextlib.suppress(OSError):  # not everywhere
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return self.transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)

    def _stop_watching(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        self._unread.remove(self)


class _Lingering(Protocol):
    """Ignores what a refused client still sends: closed at once, the connection would lose the answer."""

    def __init__(self, refused: GuardedProtocol) -> None:
        self._refused = refused

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused.connection_lost(exc)
