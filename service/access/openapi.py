"""What the OpenAPI document says about access: made from the table of needs."""

import re
from typing import Any

from service.access.needs import NEEDS, Need, need_of
from service.http.openapi import problems

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access key, `psk_...`, in the header `Authorization: Bearer`. While the service has no "
        "access key, none is asked for.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in another header."},
}


def add_security(document: dict[str, Any]) -> dict[str, Any]:
    """Add to each operation which scopes are enough, and the errors of access; return the document."""
    rules = {(method.lower(), _in_braces(rule)): rule for method, rule in NEEDS}
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path, item in document["paths"].items():
        for method, operation in item.items():
            need = need_of(method.upper(), rules.get((method, path), path))
            assert need is not None, "it has a rule"
            operation["security"] = _alternatives(need)
            refused = _refusals(need)
            operation["responses"] |= {
                str(status): answer for status, answer in problems(*refused).items() if status in refused
            }
            if need.is_for_operator:
                operation["x-operator-only"] = True
    return document


def _alternatives(need: Need) -> list[dict[str, list[str]]]:
    """Return one entry for each way in which a request may show that it has enough."""
    if need.is_free:
        return []
    return [{scheme: [scope]} for scheme in SCHEMES for scope in need.enough]


def _refusals(need: Need) -> tuple[int, ...]:
    """Return the statuses with which the gate refuses requests."""
    if need.is_free:
        return () if need.is_health else (421,)
    return 401, 403, 421, 429


def _in_braces(rule: str) -> str:
    """Return a rule of Flask in the notation of OpenAPI."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
