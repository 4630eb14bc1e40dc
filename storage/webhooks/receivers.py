"""Who may receive events: the allow-list, and which URLs it lets through. Resolves no name and opens no socket."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from storage.webhooks.addresses import Address

MAX_URL_CHARACTERS = 2_048

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = rf"(?:{_LABEL}\.)*{_LABEL}"
_PORT = r"(?::(?P<port>[1-9][0-9]{0,4}))?"
_HOST = rf"(?P<host>{_NAME}|\[[0-9a-f:.]+\])"

_ENTRY = re.compile(rf"(?P<star>\*\.)?{_HOST}{_PORT}", re.IGNORECASE | re.ASCII)

_URL = re.compile(rf"https://{_HOST}{_PORT}(?P<target>(?:[/?][!-\[\]-~]*)?)", re.IGNORECASE | re.ASCII)
"""Narrower than RFC 3986 in all that parsers read in different ways: the host has no user, percent or backslash."""

_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""A host that ends so is an IPv4 address to some resolver: 127.1, 0177.0.0.1, 0x7f000001 (WHATWG URL, 3.5)."""

HTTPS_PORT = 443


class ReceiverRefusedError(Exception):
    """Events may not go to this URL. The message says why, in words for whoever wrote the URL."""


@dataclass(frozen=True)
class Receiver:
    """The parts of a URL that may receive events."""

    host: str
    """A name in lower case, or an address as `ipaddress` writes it."""
    port: int
    target: str
    """Path and query."""
    address: Address | None
    """That of a host which is one."""

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"


@dataclass(frozen=True)
class AllowedHost:
    """An entry of WEBHOOK_HOSTS."""

    host: str
    port: int = HTTPS_PORT
    has_star: bool = False

    @classmethod
    def parse(cls, text: str) -> "AllowedHost":
        """Read an entry.

        Raises:
            ValueError: it is neither a name, nor `*.` and a name, nor an address, with or without a port.
        """
        match = _ENTRY.fullmatch(text)
        address = _address(match["host"]) if match else None
        if match is None or (address is None and _is_numeric(match["host"])) or (address and match["star"]):
            raise ValueError(
                f"must be names like hooks.example.com, *.example.com or hooks.example.com:8443, not {text[:200]!r}"
            )
        return cls(
            host=match["host"].lower() if address is None else str(address),
            port=_port(match["port"]),
            has_star=bool(match["star"]),
        )

    def lets_through(self, receiver: Receiver) -> bool:
        """Return whether the entry names the host and port of a URL."""
        if self.port != receiver.port:
            return False
        if self.has_star:
            return receiver.address is None and receiver.host.endswith(f".{self.host}")
        return self.host == receiver.host


def receiver_of(url: str, allowed: tuple[AllowedHost, ...]) -> Receiver:
    """Return the parts of a URL that may receive events.

    Raises:
        ReceiverRefusedError: the URL has a form that is not taken, or no entry names its host and port.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise ReceiverRefusedError(f"may have {MAX_URL_CHARACTERS:,} characters, not {len(url):,}")
    if not url.lower().startswith("https://"):
        raise ReceiverRefusedError("must begin with https://")
    if "@" in re.split(r"[/?#\\]", url[len("https://") :])[0]:
        raise ReceiverRefusedError("must name no user")
    match = _URL.fullmatch(url)
    if match is None or "#" in match["target"]:
        raise ReceiverRefusedError(
            "must be https://, a host name in ASCII, and a path without fragment, spaces or backslashes"
        )
    address = _address(match["host"])
    if address is None and _is_numeric(match["host"]):
        raise ReceiverRefusedError("must name its host by a name, not by a number")
    receiver = Receiver(
        host=match["host"].lower() if address is None else str(address),
        port=_port(match["port"]),
        target=match["target"] if match["target"].startswith("/") else f"/{match['target']}",
        address=address,
    )
    if receiver.port > 65_535 or not any(each.lets_through(receiver) for each in allowed):
        raise ReceiverRefusedError(f"must name a host and port that WEBHOOK_HOSTS allows, not {receiver.authority}")
    return receiver


def _port(text: str | None) -> int:
    return HTTPS_PORT if text is None else int(text)


def _is_numeric(host: str) -> bool:
    return host.startswith("[") or _NUMBER.fullmatch(host.lower()) is not None


def _address(host: str) -> Address | None:
    """Return the address that a host is in its usual spelling; others are none."""
    try:
        return ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return None
