"""Whose a job, a model or a data set is. Knows nothing of Redis.

An id or a name that belongs to a tenant is `<tenant>/<id>` wherever the code passes it on, so that no two tenants can
meet in a cache, a queue or a message. The service puts the tenant of the caller in front of what a request names, and
shows ids and names without it. What belongs to no tenant has nothing in front.
"""

TENANT_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
"""Names of tenants."""


def owned(tenant: str, text: str) -> str:
    """Return an id or a name as the code passes it on, from one as its tenant knows it; empty: no tenant."""
    return f"{tenant}/{text}" if tenant else text


def tenant_of(text: str) -> str:
    """Return the tenant that an id or a name belongs to; empty: none."""
    return text.rpartition("/")[0]


def local(text: str) -> str:
    """Return an id or a name as its tenant knows it."""
    return text.rpartition("/")[2]
