"""Who sends a request, and what he may do. No Flask, no Redis."""

from dataclasses import dataclass

from storage.access.record import SCOPES, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    key_id: str | None
    """The public id of the access key; None where access is off."""
    tenant: str
    """Whose jobs, models and data sets are seen; empty: those that belong to no tenant."""
    scopes: frozenset[Scope]


ANYONE = Caller(None, "", frozenset(SCOPES))
"""Who sends a request while access is off."""

NOBODY = Caller(None, "", frozenset())
"""Who asks a route that is free, while access is on."""
