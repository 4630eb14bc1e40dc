"""How many requests with a bad access key one address may send in a second; of more, no key is looked up."""

import ipaddress
import time
from collections.abc import Callable

from service.http.errors import RateLimitedError

MOST_PER_S = 20
_BITS_OF_SITE = 64
"""Of an IPv6 address. Whoever has one has all that differ in the other half."""


class Failures:
    """Counts the bad keys of this second, for each address.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._n: dict[str, int] = {}
        """Of one second alone, so never more than it had requests."""

    def check(self, address: str | None) -> None:
        """Check that an address may try another key.

        Args:
            address: of the client; None: it is not known, so it is not counted.

        Raises:
            RateLimitedError: not in this second.
        """
        if address is not None and self._of_this_second().get(_site_of(address), 0) >= MOST_PER_S:
            raise RateLimitedError("address", MOST_PER_S, "requests with an access key that is not in force")

    def count(self, address: str | None) -> None:
        """Count a key that was not in force; not before that is known, as a new key may be unknown for a moment."""
        if address is not None:
            n, site = self._of_this_second(), _site_of(address)
            n[site] = n.get(site, 0) + 1

    def _of_this_second(self) -> dict[str, int]:
        if (second := int(self._clock())) != self._second:
            self._second, self._n = second, {}
        return self._n


def _site_of(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:  # a socket of IPv6 shows clients of IPv4 so
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _BITS_OF_SITE), strict=False))
