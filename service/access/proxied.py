"""Which requests came from another machine through a proxy on this one.

Such a proxy looks like this machine itself. While there is no access key, it would let everybody do everything. So
while nobody needs one, requests are refused of which a proxy tells that their client is elsewhere.
"""

import ipaddress
import re
from collections.abc import Mapping

from service.http.errors import ProxiedError

_FOR = re.compile(rb"(?:.*;)?\s*for=", re.IGNORECASE)
_ADDRESS = re.compile(rb'"?\[?([0-9a-f:.]+)', re.IGNORECASE)
_TOLD_BY_PROXIES = {b"x-forwarded-for": "X-Forwarded-For", b"x-real-ip": "X-Real-IP", b"forwarded": "Forwarded"}


def check_is_of_this_machine(headers: Mapping[bytes, bytes]) -> None:
    """Check that no proxy tells of a client on another machine.

    Args:
        headers: by name in lower case.

    Raises:
        ProxiedError: one does, or names no address.
    """
    for name, shown in _TOLD_BY_PROXIES.items():
        if name in headers and not _is_loopback(headers[name]):
            raise ProxiedError(shown)


def _is_loopback(told: bytes) -> bool:
    """Whether the last client that is named, which the nearest proxy saw, is this machine."""
    found = _ADDRESS.match(_FOR.sub(b"", told.rpartition(b",")[2].strip(), count=1))
    if found is None:
        return False
    text = found[1].decode("ascii")
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text.count(":") == 1 and text.startswith("127.")  # with a port
