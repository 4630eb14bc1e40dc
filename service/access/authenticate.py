"""From the headers of a request to who sends it. Pure: no clock, no Redis, no log."""

import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from service.access.ring import Keys
from service.http.caller import Caller
from service.http.errors import UnauthenticatedError
from storage.access.key_text import read_text

_NOBODYS_DIGEST = "0" * 64

MISSING, UNKNOWN, WRONG_SECRET = "missing", "unknown", "wrong secret"

AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"


class Admission(NamedTuple):
    """Who sends a request, and how long that is known."""

    caller: Caller
    until_ms: float
    """When the key expires, in milliseconds since 1970."""
    keys: Keys
    """The keys that said so: once others are in force, the question must be asked again."""


def authenticate(headers: Mapping[bytes, bytes], keys: Keys, now_ms: float) -> Admission:
    """Return who sends a request.

    Args:
        headers: by name in lower case.

    Raises:
        UnauthenticatedError: there is no key in force. The message is the same for whatever is wrong with a key.
    """
    sent = sent_text(headers)
    given = None if sent is None else read_text(sent)
    if given is None:
        raise UnauthenticatedError("malformed" if sent else MISSING)
    key = keys.by_id.get(given.key_id)
    # An unknown id costs the same compare, so that the time does not tell which ids exist.
    is_right = hmac.compare_digest(given.digest, _NOBODYS_DIGEST if key is None else key.digest)
    if key is None:
        raise UnauthenticatedError(UNKNOWN, given.key_id)
    if not is_right:
        raise UnauthenticatedError(WRONG_SECRET, given.key_id)
    if (reason := key.refusal(now_ms)) is not None:
        raise UnauthenticatedError(reason, given.key_id)
    until_ms = float("inf") if key.expires_at_ms is None else key.expires_at_ms
    return Admission(Caller(key.id, key.tenant, key.scopes), until_ms, keys)


def sent_text(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the text of the access key that was sent, whatever its form; None if there is none.

    Raises:
        UnauthenticatedError: there are two, and they differ.
    """
    scheme, _, token = headers.get(AUTHORIZATION, b"").strip().partition(b" ")
    in_bearer = token.strip() if scheme.lower() == b"bearer" else b""
    in_api_key = headers.get(API_KEY, b"").strip()
    if in_bearer and in_api_key and not hmac.compare_digest(in_bearer, in_api_key):
        raise UnauthenticatedError("two keys that differ")
    sent = in_bearer or in_api_key
    return sent.decode("latin-1") if sent else None


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name. One that was sent twice has both values, so it holds no valid key."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = value if name not in found else found[name] + b", " + value
    return found
