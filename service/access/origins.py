"""Which pages of the web may send requests that change something.

A browser asks nobody before it sends a plain POST to another origin. So while nobody needs an access key, any page
could send data or jobs to a service on its visitor's machine, though it cannot read the answers. With a key no page
can: it would have to know it, as there are no cookies. Requests that no browser sent have neither header.
"""

from collections.abc import Collection, Mapping

from service.http.errors import OtherOriginError

ANY = "*"


def check_origin(headers: Mapping[bytes, bytes], allowed: Collection[str]) -> None:
    """Check that no page of another origin sends a request, unless its origin is allowed.

    Browsers name the relation of the two origins to secure hosts, of which localhost is one; to all others they name
    the origin of the page alone. Go's `http.CrossOriginProtection` does the same.

    Args:
        headers: by name in lower case.
        allowed: origins such as `https://app.example`; `*` stands for all.

    Raises:
        OtherOriginError: one does.
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    if ANY in allowed or origin in allowed:
        return
    relation = headers.get(b"sec-fetch-site")
    if relation is not None:
        is_own = relation in (b"same-origin", b"none")  # none: the visitor himself, who typed the address
    else:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        is_own = not origin or origin.partition("://")[2] == host != ""
    if not is_own:
        raise OtherOriginError(origin)
