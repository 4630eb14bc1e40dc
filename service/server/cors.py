"""CORS (Fetch Standard): pages from other origins may read the answers. Off unless CORS_ORIGINS is set."""

from collections.abc import Collection, Mapping

from service.access.origins import ANY
from service.http.wire import RESOURCE_POLICY, SAFE
from service.server.messages import Headers, Message, Scope, Send

_METHODS = b"GET, HEAD, POST, PUT, DELETE"
_MAX_AGE_S = 600
_EXPOSED = (
    b"ETag, Inference-Header-Content-Length, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, "
    b"Server-Timing, WWW-Authenticate, X-Model-Stale, X-Model-Version, X-RateLimit-Limit, X-RateLimit-Remaining, "
    b"X-RateLimit-Reset, X-Request-Id, X-Warnings"
)


class Cors:
    """Adds headers to every answer, whatever made it, and answers preflight requests.

    Cookies are never allowed. Keys in a header work: the page itself has to know them.

    Args:
        origins: those whose pages may read answers, such as `https://app.example`; `*` stands for all.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._is_any = ANY in origins
        self._origins = {origin.encode() for origin in origins}

    async def handle(self, scope: Scope, headers: Mapping[bytes, bytes], send: Send) -> Send | None:
        """Return a sender that adds the headers; None if this was a preflight request, which is answered now."""
        origin = headers.get(b"origin", b"")
        is_allowed = bool(origin) and (self._is_any or origin in self._origins)
        added: Headers = [] if self._is_any else [(b"vary", b"Origin")]
        replaced = (RESOURCE_POLICY,) if is_allowed else ()
        if is_allowed:
            added.append((b"access-control-allow-origin", b"*" if self._is_any else origin))
            added.append((RESOURCE_POLICY[0], b"cross-origin"))
        if is_allowed and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            added += [
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"Content-Type")),
                (b"access-control-max-age", b"%d" % _MAX_AGE_S),
            ]
            safe = [each for each in SAFE if each not in replaced]
            await send({"type": "http.response.start", "status": 204, "headers": [*safe, *added]})
            await send({"type": "http.response.body", "body": b""})
            return None
        if is_allowed:
            added.append((b"access-control-expose-headers", _EXPOSED))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [each for each in message["headers"] if each not in replaced]
                message = {**message, "headers": [*kept, *added]}
            await send(message)

        return send_with_headers
