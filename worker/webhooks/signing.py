"""Signs events by the Standard Webhooks specification."""

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(event_id: str, body: bytes, *, secrets: Sequence[bytes], timestamp_s: int) -> dict[str, str]:
    """Return the headers that prove who sent the event, and when.

    The signature covers id and time, so a copy of an event with another id or time is refused, and one with the same by
    whoever remembers ids for a while.

    Args:
        secrets: each gives a signature; one of them has to fit.
        timestamp_s: of this attempt, in seconds since 1970.

    References:
        https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    signed = b"%s.%d.%s" % (event_id.encode("ascii"), timestamp_s, body)
    digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
