"""The text of an access key, `psk_<id>_<secret>`: made once, shown once, and stored only as a digest."""

import hashlib
import re
import secrets
from typing import NamedTuple

from storage.keys import ACCESS_KEY_ID_PATTERN

KEY_PREFIX = "psk_"

_SECRET_BYTES = 32
_parts = re.compile(rf"{KEY_PREFIX}({ACCESS_KEY_ID_PATTERN})_([A-Za-z0-9_-]{{43}})").fullmatch
"""43 characters of base64 hold the 256 bits of a secret."""


class Credentials(NamedTuple):
    """What a text says: which key it claims to be, and the digest that proves it."""

    key_id: str
    digest: str
    """SHA-256 of the secret in hexadecimal. A random secret of 256 bits needs no slow or salted digest."""


def new_text() -> str:
    """Return the text of a new access key."""
    return f"{KEY_PREFIX}{secrets.token_hex(8)}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def read_text(text: str) -> Credentials | None:
    """Return what the text of an access key says; None if it has another form."""
    if (found := _parts(text)) is None:
        return None
    return Credentials(found[1], hashlib.sha256(found[2].encode("ascii")).hexdigest())
