"""Every tenant that the workers look after."""

import re
from typing import Any

from redis import Redis

from storage import keys
from storage.alarm import report
from storage.damage import reported
from storage.tenants import TENANT_PATTERN

_is_tenant = re.compile(TENANT_PATTERN).fullmatch


def every_tenant(redis: Redis) -> list[str]:
    """Return every tenant that has or had a job or a data set, and first the empty one: what belongs to none."""
    found: Any = ()
    with reported(keys.TENANTS):
        found = redis.smembers(keys.TENANTS)
    tenants = [""]
    for text in sorted(member.decode("ascii", "replace") for member in found):
        if _is_tenant(text):
            tenants.append(text)
        else:
            report(f"{keys.TENANTS} has the member {text[:100]!r}, which is no tenant's name")
    return tenants
