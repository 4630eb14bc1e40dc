"""Which clients are proxies whose headers are believed: those of FORWARDED_ALLOW_IPS, as gunicorn names it."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from service.http.wire import Header

STRICT_TRANSPORT: Header = (b"strict-transport-security", b"max-age=31536000")
"""Browsers use only TLS with this host for a year (RFC 6797)."""

ANY = "*"


class Proxies:
    """The proxies that are believed.

    Args:
        networks: addresses and networks, or `*` for every client.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        texts = set(networks)
        self._is_any = ANY in texts
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(text) for text in texts - {ANY}]

    def is_one(self, host: str | None) -> bool:
        """Return whether a client is a proxy that is believed.

        Args:
            host: its address; None: it came over a unix socket.
        """
        if self._is_any or not host:
            return self._is_any
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def client_of(self, host: str | None, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the address of the client, of which a proxy tells that is believed; None if nobody tells it.

        The last address of X-Forwarded-For is the one that the proxy saw. If that is another proxy, behind which all
        clients are, nobody tells.
        """
        if not self.is_one(host):
            return host or None
        told = headers.get(b"x-forwarded-for", b"").rpartition(b",")[2].decode("latin-1").strip()
        try:
            ip_address(told)
        except ValueError:
            return None
        return told if self._is_any or not self.is_one(told) else None

    def has_tls(self, host: str | None, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a proxy says that the client of this request speaks TLS."""
        return headers.get(b"x-forwarded-proto") == b"https" and self.is_one(host)
