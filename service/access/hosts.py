"""Which Host headers are answered.

A page of the web can make a browser send requests to this machine under a name of the page's own domain (DNS
rebinding), and read the answers. Without an access key it could do everything that way. So while nobody needs one, and
no names are listed, only names are answered that no such page can have.
"""

import ipaddress
import re
from collections.abc import Collection

from service.http.errors import MisdirectedError

_LONGEST = 253
"""Of a name in the DNS. The time that a check takes grows with the square of the number of dots."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:]*)(?::[0-9]{0,5})?")


ANY = "*"


def check_allowed(host: bytes, allowed: Collection[str]) -> None:
    """Check a Host header against a list of names; `*.example.com` stands for all names below, `*` for all there are.

    Raises:
        MisdirectedError: it is not in the list.
    """
    if ANY in allowed:
        return
    name = _name_of(host)
    parents = (f"*.{name[k + 1 :]}" for k, sign in enumerate(name) if sign == ".")
    if name not in allowed and not any(each in allowed for each in parents):
        raise MisdirectedError(f"the host {name!r} is not one that this service answers for (ALLOWED_HOSTS)")


def check_no_page_can_have(host: bytes) -> None:
    """Check that no page of the web can have this name: addresses, names without a dot, and those below localhost.

    Raises:
        MisdirectedError: one could.
    """
    name = _name_of(host)
    if "." in name and not name.endswith(".localhost") and not _is_address(name):
        raise MisdirectedError(
            "while there is no access key, this service answers for localhost, addresses and names without a dot, not "
            f"for the host {name!r}: name it in ALLOWED_HOSTS, or make a key with 'perceptron keys create'"
        )


def _name_of(host: bytes) -> str:
    """Return the name in a Host header, without its port and without a last dot.

    Raises:
        MisdirectedError: it is malformed.
    """
    text = host.decode("latin-1").strip().lower()
    match = _HOST.fullmatch(text)
    if match is None:
        raise MisdirectedError(f"the header Host is malformed: {text[:255]!r} (ALLOWED_HOSTS)")
    name = match[1].strip("[]").removesuffix(".")
    if len(name) > _LONGEST:
        raise MisdirectedError(
            f"the name in the header Host has {len(name)} characters, and may have {_LONGEST} (ALLOWED_HOSTS)"
        )
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
