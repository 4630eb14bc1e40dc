"""Sends requests, and repeats those that may be repeated."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx

from perceptron_client.errors import InvalidArgument, UnexpectedAnswer
from perceptron_client.requests import Call, Settings, error_of, json_of, objects_of, query_of, url_of
from perceptron_client.retries import Tries
from perceptron_client.waiting import sleep_on_loop

PAGE = 100
"""Entries of one page of a list: the most that the service gives."""


class AsyncHttp:
    """The connections of one client.

    Args:
        transport: instead of that of httpx, for tests.
    """

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None) -> None:
        self.settings = settings
        self._headers = settings.headers()
        self._transport = transport
        self._connect()

    def _connect(self) -> None:
        self._client = httpx.AsyncClient(transport=self._transport, verify=self.settings.needs_certificates())
        self._pid = os.getpid()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def json(self, call: Call) -> dict[str, Any]:
        """Return the JSON object that answers a call.

        Raises:
            PerceptronError: there is none.
        """
        return json_of(await self.send(call))

    async def send(self, call: Call, *, is_stream: bool = False) -> httpx.Response:
        """Return the answer to a call, whose status is below 400 or in `call.accepts`.

        Args:
            is_stream: the answer is read later, by the caller, who closes it.

        Raises:
            ApiError: the service refused.
            ConnectionFailed, RequestTimedOut, UnexpectedAnswer: the service did not answer.
        """
        retry_for_s = self.settings.retry_for_s if call.retry_for_s is None else call.retry_for_s
        tries = Tries(call.what, retry_for_s, call.is_repeatable)
        if self._pid != os.getpid():
            self._connect()  # on the connections of before a fork, each process could read the answers of the other
        while True:
            try:
                response = await self._client.send(self._request(call, tries), stream=is_stream)
                if response.status_code < 300 or response.status_code in call.accepts:
                    return response
                if is_stream:
                    await response.aread()
                    await response.aclose()
            except httpx.TransportError as error:
                delay_s = tries.after_error(error)
            except httpx.RequestError as error:
                raise UnexpectedAnswer(f"{call.what}: {error}") from error
            else:
                if response.status_code < 400:
                    where = response.headers.get("location", "no address")
                    raise UnexpectedAnswer(f"{call.what}: {self.settings.shown_url} redirects to {where}: use that one")
                delay = tries.after_status(response)
                if delay is None:
                    if call.is_deletion and response.status_code == 404 and tries.may_have_arrived:
                        return response
                    raise error_of(response)
                delay_s = delay
            await sleep_on_loop(delay_s)

    async def pages(self, path: str, **query: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield the entries of all pages of a list."""
        after: str | None = None
        while True:
            page = await self.json(Call("GET", path, params=query_of(limit=PAGE, after=after, **query)))
            for each in objects_of(page):
                yield each
            before, after = after, page.get("last_id")
            if not page.get("has_more") or after in (before, None):
                return

    def _request(self, call: Call, tries: Tries) -> httpx.Request:
        timeout_s = tries.timeout_s(self.settings.timeout_s)
        phases = {"connect": timeout_s, "read": timeout_s + call.extra_timeout_s, "write": timeout_s, "pool": timeout_s}
        upload = call.upload
        try:
            return httpx.Request(
                call.method,
                url_of(self.settings.base_url, call.path, call.params),
                headers={**self._headers, **call.headers},
                content=call.content if upload is None else upload.aparts(),
                extensions={"timeout": phases},
            )
        except (UnicodeEncodeError, httpx.InvalidURL) as error:
            raise InvalidArgument(f"{call.what}: this cannot be sent: {error}") from error
