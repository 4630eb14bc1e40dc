"""Sends one event to one receiver, at an address that was checked."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import TypeAlias

import httpx

from storage.webhooks.addresses import Address, may_receive
from storage.webhooks.receivers import Receiver

TIMEOUT_S = 10.0
"""For all of it: the name, the connection, the request and the status of the answer."""

_CONNECT_S = 4.0
"""Of each address of a name, so that the next one has its turn."""

_MAX_ADDRESSES = 3
_MAX_ANSWER_BYTES = 64 * 1024
_ANSWER_S = 1.0
"""An answer is read so that the receiver can end its work, and thrown away."""

_GONE = 410

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


class DeliveryError(Exception):
    """The event was not delivered. The message is for the owner of the job: it says nothing of what was answered."""

    def __init__(self, reason: str, *, is_final: bool = False, was_sent: bool = True) -> None:
        super().__init__(reason)
        self.is_final = is_final
        """Whether the receiver wants no more attempts."""
        self.was_sent = was_sent
        """False if the event may not go where the receiver is; otherwise it was sent, as far as that was possible."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, the best first, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Sender:
    """Posts events over https. It knows no proxies, follows no redirects, and keeps no connection.

    The name of a receiver is resolved once. If all its addresses may receive events, the connection goes to one of
    these, so no later answer of the name server counts. The certificate is checked for the name.

    Args:
        certificates: whom to trust.
        allow_private: whether receivers may have addresses of private networks.
    """

    def __init__(self, certificates: ssl.SSLContext, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._certificates = certificates
        self._allow_private = allow_private
        self._resolve = resolve

    async def post(self, receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> None:
        """Send an event.

        Raises:
            DeliveryError: it was not accepted.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                addresses = await self._addresses(receiver)
                status = await self._post_to_one(addresses, receiver, body, headers)
        except DeliveryError:
            raise
        except Exception as error:
            raise DeliveryError(_reason(error)) from error
        if not 200 <= status < 300:
            raise DeliveryError(f"it answered with status {status}", is_final=status == _GONE)

    async def _addresses(self, receiver: Receiver) -> Sequence[Address]:
        """Return the addresses of a receiver.

        Raises:
            DeliveryError: events may not go to one of them.
        """
        texts = [receiver.host]
        if receiver.address is None:
            try:
                texts = list(await self._resolve(receiver.host, receiver.port))
            except (OSError, UnicodeError) as error:
                raise DeliveryError(f"its name cannot be resolved ({type(error).__name__})") from error
        addresses = [ip_address(text) for text in texts]
        if not addresses or not all(may_receive(each, allow_private=self._allow_private) for each in addresses):
            kind = "of a machine" if self._allow_private else "public (WEBHOOK_ALLOW_PRIVATE)"
            raise DeliveryError(f"its name leads to an address that is not {kind}", was_sent=False)
        return addresses[:_MAX_ADDRESSES]

    async def _post_to_one(
        self, addresses: Sequence[Address], receiver: Receiver, body: bytes, headers: Mapping[str, str]
    ) -> int:
        """Return the status of the answer of the first address that takes the connection."""
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._post(address, receiver, body, headers)
        return await self._post(addresses[-1], receiver, body, headers)

    async def _post(self, address: Address, receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> int:
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        transport = httpx.AsyncHTTPTransport(verify=self._certificates, trust_env=False)
        async with httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client:
            request = client.build_request(
                "POST",
                f"https://{host}:{receiver.port}{receiver.target}",
                content=body,
                headers={
                    "host": receiver.authority,
                    "content-type": "application/json",
                    "user-agent": "perceptron-service",
                    "accept-encoding": "identity",
                    "connection": "close",
                    **headers,
                },
                timeout=httpx.Timeout(TIMEOUT_S, connect=_CONNECT_S),
                extensions={"sni_hostname": receiver.host},
            )
            response = await client.send(request, stream=True)
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    await _read_some(response)
            return response.status_code


async def _read_some(response: httpx.Response) -> None:
    n_bytes = 0
    async for part in response.aiter_raw():
        n_bytes += len(part)
        if n_bytes >= _MAX_ANSWER_BYTES:
            return


def _reason(error: Exception) -> str:
    """Say what went wrong, without anything that the receiver wrote."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    kind = type(error).__name__
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"it did not answer within {TIMEOUT_S:g} s ({kind})"
    return f"the connection failed ({kind})"
