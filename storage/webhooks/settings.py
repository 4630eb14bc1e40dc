"""The settings of webhooks. The API and the workers read the same."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.store_settings import is_true
from storage.webhooks.receivers import AllowedHost, Receiver, ReceiverRefusedError, receiver_of

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64
"""As the Standard Webhooks specification has it."""


@dataclass(frozen=True)
class WebhookSettings:
    """`docs/operations.md` says what each setting means."""

    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """Each signs the events of jobs that belong to no tenant, and stands behind a secret of each tenant. There are two
    while one replaces the other."""
    hosts: tuple[AllowedHost, ...] = ()
    allow_private: bool = False

    @property
    def is_on(self) -> bool:
        """Whether any event can be delivered."""
        return bool(self.secrets and self.hosts)

    def secrets_of(self, tenant: str) -> tuple[bytes, ...]:
        """Return what signs the events of a tenant; empty: none.

        Each tenant has secrets of its own, so none of them can sign an event of another. They are computed from those
        of the service (HMAC-SHA256), so nothing has to be stored. Whoever knows one of the service knows all of them.
        """
        if not tenant:
            return self.secrets
        # No event's id begins so: the signature of an event is never the secret of a tenant.
        label = f"perceptron webhook secret of tenant {tenant}".encode("ascii")
        return tuple(hmac.digest(secret, label, hashlib.sha256) for secret in self.secrets)

    def receiver(self, url: str) -> Receiver:
        """Return the parts of a URL that may receive events.

        Raises:
            ReceiverRefusedError: it may not, or a setting is missing.
        """
        if not self.secrets:
            raise ReceiverRefusedError(
                "webhooks are off here: the setting WEBHOOK_SECRET, which signs them, is missing"
            )
        if not self.hosts:
            raise ReceiverRefusedError("webhooks are off here: the setting WEBHOOK_HOSTS names no host")
        return receiver_of(url, self.hosts)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "WebhookSettings":
        """Read the environment.

        Raises:
            ValueError: a secret, a host or a truth value cannot be read.
        """
        return cls(
            secrets=tuple(map(_secret, env.get("WEBHOOK_SECRET", "").split())),
            hosts=tuple(map(_host, re.findall(r"[^,\s]+", env.get("WEBHOOK_HOSTS", "")))),
            allow_private=is_true(env, "WEBHOOK_ALLOW_PRIVATE"),
        )


def secret_text(secret: bytes) -> str:
    """Return a secret as receivers and settings have it."""
    return _PREFIX + base64.b64encode(secret).decode("ascii")


def _secret(text: str) -> bytes:
    """Return a secret as bytes. No error quotes it."""
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(_PREFIX) or not _LEAST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ValueError(
            f"WEBHOOK_SECRET must be {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} random bytes in base64: "
            f"make one with `echo {_PREFIX}$(openssl rand -base64 32)`"
        ) from None
    return secret


def _host(text: str) -> AllowedHost:
    try:
        return AllowedHost.parse(text)
    except ValueError as error:
        raise ValueError(f"WEBHOOK_HOSTS {error}") from error
