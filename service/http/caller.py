"""Who sends a request, and what he may do. No Flask, no Redis."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Scope: TypeAlias = Literal["read", "predict", "train", "admin"]

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    key_id: str | None
    """The public id of the access key; None where access is off."""
    tenant: str
    """Whose jobs, models and data sets are seen; empty: those that belong to no tenant."""
    scopes: frozenset[Scope]


ANYONE = Caller(None, "", SCOPES)
"""Who sends a request while access is off."""
