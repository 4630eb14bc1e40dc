"""What no client can see in a short time: how one connection counts its idle time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.http.room import Room
from service.http.wire import HttpAnswer
from service.server.guarded_protocol import UnreadAnswers
from service.server.predict_protocol import PredictProtocol
from service.server.proxies import Proxies

HEAD = b"POST /predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n"


class Loop:
    """A clock that stands still, and the one timer that is due last."""

    now = 0.0
    timer: tuple[float, Any] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Any) -> Any:
        self.timer = (self.now + delay_s, callback)
        return SimpleNamespace(cancel=lambda: None)


class Transport:
    is_closed = False
    written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def protocol(loop) -> PredictProtocol:
    return connected(loop, answer_now=lambda head, parts, remote: (HttpAnswer(200, b"text/plain", b""), "id"))


def connected(loop: Any, **answers: Any) -> PredictProtocol:
    """A connection of an app whose predicts are answered as given."""
    head = SimpleNamespace(raw=HEAD, n_body_bytes=2, headers={})

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    room = Room()
    app.proxies = Proxies(())  # type: ignore[attr-defined]
    app.unread = UnreadAnswers(room)  # type: ignore[attr-defined]
    app.predict = SimpleNamespace(  # type: ignore[attr-defined]
        room=room,
        read_head=lambda raw: head if raw == HEAD else None,
        may_still=lambda _head: True,
        is_draining=False,
        **answers,
    )
    config = Config(app, timeout_keep_alive=75, lifespan="off", interface="asgi3")
    protocol = PredictProtocol(config, ServerState(), {}, loop)  # type: ignore[arg-type]
    protocol.connection_made(Transport())  # type: ignore[arg-type]
    return protocol


def fire(loop: Loop) -> None:
    assert loop.timer is not None
    loop.now, callback = loop.timer
    callback()


def test_a_connection_is_closed_75_s_after_its_last_answer_not_its_first(protocol, loop):
    protocol.data_received(HEAD + b"{}")
    loop.now = 50.0
    protocol.data_received(HEAD + b"{}")
    fire(loop)
    assert (loop.now, protocol.transport.is_closing()) == (75.0, False)
    fire(loop)
    assert (loop.now, protocol.transport.is_closing()) == (125.0, True)


def test_a_connection_is_not_closed_while_a_request_arrives(protocol, loop):
    protocol.data_received(HEAD + b"{}")
    idle = loop.timer
    loop.now = 74.5
    protocol.data_received(HEAD + b"{")
    loop.timer = idle
    fire(loop)
    assert not protocol.transport.is_closing()
    protocol.data_received(b"}")
    assert protocol.transport.written.count(b"HTTP/1.1 200") == 2


def test_a_stopping_process_lets_a_thread_answer_before_it_closes_the_connection():
    async def stop_meanwhile() -> PredictProtocol:
        is_computed = asyncio.Event()

        async def answer_in_thread(head: Any, parts: Any, is_gone: Any, remote: str, *, complete_ns: int) -> Any:
            await is_computed.wait()
            return HttpAnswer(200, b"text/plain", b""), "id"

        protocol = connected(
            asyncio.get_running_loop(), answer_now=lambda head, parts, remote: None, answer_in_thread=answer_in_thread
        )
        protocol.data_received(HEAD + b"{}")
        protocol._predict.is_draining = True
        protocol.shutdown()
        assert not protocol.transport.is_closing()
        is_computed.set()
        await asyncio.gather(*protocol.tasks)
        return protocol

    protocol = asyncio.run(stop_meanwhile())
    assert b"connection: close" in protocol.transport.written
    assert protocol.transport.is_closing()
