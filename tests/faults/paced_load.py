"""Clients that predict at a steady rate, half of them over kept connections, and what went wrong meanwhile."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

N_CLIENTS = 24


class PacedLoad:
    """Ask the same question again and again while the context is open; nothing is asked twice.

    Args:
        answer: the members that every answer must have.
    """

    def __init__(
        self, address: str, question: Mapping[str, Any], answer: Mapping[str, Any], *, per_second: float = 300.0
    ) -> None:
        self._address = address
        self._body = json.dumps(question)
        self._answer = answer
        self._pause_s = N_CLIENTS / per_second
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(N_CLIENTS)
        self.failed: list[str] = []
        self.seconds: list[float] = []

    def __enter__(self) -> "PacedLoad":
        self._started = time.monotonic()
        self._futures = [self._pool.submit(self._run, number) for number in range(N_CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._took_s = time.monotonic() - self._started
        for future in self._futures:
            future.result()

    def __str__(self) -> str:
        n, slowest_s = len(self.seconds), max(self.seconds)
        return (
            f"{len(self.failed)} of {n} failed at {n / self._took_s:.0f} requests/s, the slowest took {slowest_s:.2f} s"
        )

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        due = time.monotonic() + number * self._pause_s / N_CLIENTS
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._pause_s
            began = time.monotonic()
            try:
                connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = response.read()
                if response.status != 200 or not self._answer.items() <= json.loads(body).items():
                    self.failed.append(f"{response.status}: {body[:300]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            self.seconds.append(time.monotonic() - began)
            if number % 2:
                connection.close()
        connection.close()
