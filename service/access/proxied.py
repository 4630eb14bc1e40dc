"""Which requests came through a proxy.

A proxy on this machine that lets others in looks like this machine itself. While there is no access key, it would let
everybody do everything. So while nobody needs one, requests that tell of a proxy are refused.
"""

from collections.abc import Mapping

from service.http.errors import ProxiedError

_ADDED_BY_PROXIES = {
    b"forwarded": "Forwarded",
    b"x-forwarded-for": "X-Forwarded-For",
    b"x-real-ip": "X-Real-IP",
    b"via": "Via",
}


def check_came_directly(headers: Mapping[bytes, bytes]) -> None:
    """Check that no header tells of a proxy.

    Args:
        headers: by name in lower case.

    Raises:
        ProxiedError: one does.
    """
    for name, shown in _ADDED_BY_PROXIES.items():
        if name in headers:
            raise ProxiedError(shown)
