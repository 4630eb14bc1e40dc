"""A real https server that receives webhooks, with a certificate of a CA made for the test run."""

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import trustme

SECRET = "whsec_" + "bm8gc2VjcmV0LCBvbmx5IGZvciB0ZXN0cw=="


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """Trust the CA of the tests, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: bytes
    server_name: str | None
    """What the client asked for in its TLS greeting."""


class Receiver:
    """Listens on 127.0.0.1 inside a `with` block, and notes what comes.

    Args:
        names: those of the certificate.
        answers: statuses, one for each request; the last one for all others.
    """

    def __init__(self, *names: str, answers: tuple[int, ...] = (204,), address: str = "127.0.0.1") -> None:
        self.received: list[Received] = []
        self.n_connections = 0
        self.hold_s = 0.0
        self.headers: dict[str, str] = {}
        self.answer_body = b""
        self._answers = list(answers)
        self.was_cut_off = threading.Event()
        self._released = threading.Event()
        self._server_names: dict[int, str | None] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server_name = receiver._server_names.get(id(self.connection))
                receiver.received.append(Received(self.path, dict(self.headers), body, server_name))
                if receiver.hold_s:
                    receiver._released.wait(receiver.hold_s)
                self.send_response(receiver._answers.pop(0) if len(receiver._answers) > 1 else receiver._answers[0])
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(receiver.answer_body)
                except OSError:
                    receiver.was_cut_off.set()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                connection, client = super().get_request()
                receiver.n_connections += 1
                return connection, client

            def finish_request(self, request: Any, client: Any) -> None:
                try:
                    with receiver._tls.wrap_socket(request, server_side=True) as connection:
                        super().finish_request(connection, client)  # type: ignore[arg-type]
                except OSError:
                    pass  # a client that does not trust us hangs up

            def handle_error(self, *_: Any) -> None: ...

        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(*(names or ("localhost",))).configure_cert(self._tls)
        self._tls.sni_callback = lambda connection, name, _: self._server_names.update({id(connection): name})
        self._server = Server((address, 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
