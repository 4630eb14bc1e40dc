"""One access key as its record in Redis describes it. Nothing of its secret is stored but the digest."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, StringConstraints, TypeAdapter, ValidationError

from storage.errors import CorruptDataError
from storage.keys import ACCESS_KEY_ID_PATTERN
from storage.tenants import TENANT_PATTERN

Scope: TypeAlias = Literal["read", "predict", "train", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)

MAX_NAME_LENGTH = 128


def _split(scopes: object) -> object:
    return scopes.split() if isinstance(scopes, str) else scopes


_Scopes = Annotated[frozenset[Scope], BeforeValidator(_split)]
_Tenant = Annotated[str, StringConstraints(pattern=f"^({TENANT_PATTERN})?$")]
_KeyId = Annotated[str, StringConstraints(pattern=f"^{ACCESS_KEY_ID_PATTERN}$")]
_Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """Who holds the key may do what its scopes name, with what belongs to its tenant."""

    id: str
    digest: _Digest
    """SHA-256 of the secret."""
    scopes: _Scopes
    tenant: _Tenant
    """Empty: the operator's own, of no tenant."""
    name: str
    """What people call it; it is shown, and nothing else."""
    created_at_ms: int
    """Milliseconds since 1970, UTC, by the clock of Redis, like the two times below."""
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    successor: _KeyId | None = None
    """The key that `rotate` made of this one."""

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ValueError("an access key needs at least one scope")

    def refusal(self, now_ms: float) -> str | None:
        """Return why the key opens nothing now; None if it is in force."""
        if self.revoked_at_ms is not None:
            return "revoked"
        if self.expires_at_ms is not None and now_ms >= self.expires_at_ms:
            return "expired"
        return None


_KEY = TypeAdapter(AccessKey)
_NAMES = frozenset(each.name for each in fields(AccessKey)) - {"id"}


def decode_access_key(key_id: str, record: Mapping[bytes, bytes]) -> AccessKey:
    """Read the fields of a record.

    Raises:
        CorruptDataError: it is not the record of an access key.
    """
    try:
        known = {name.decode(): value.decode() for name, value in record.items()}
        return _KEY.validate_python({"id": key_id, **{name: known[name] for name in known.keys() & _NAMES}})
    except ValueError as error:
        # Without the values, which may be anything.
        faults = error.errors(include_input=False) if isinstance(error, ValidationError) else []
        where = ", ".join(".".join(map(str, each["loc"])) or each["msg"] for each in faults) or "it is no text"
        raise CorruptDataError(f"the record of access key {key_id!r} cannot be read: {where}") from error
