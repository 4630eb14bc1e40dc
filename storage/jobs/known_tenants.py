"""Every tenant that the workers look after."""

from typing import Any

from redis import Redis

from storage import keys
from storage.alarm import report
from storage.damage import reported
from storage.tenants import is_tenant


def every_tenant(redis: Redis) -> list[str]:
    """Return every tenant that has or had a job or a data set, and first the empty one: what belongs to none."""
    with reported(keys.TENANTS):
        return surely_every_tenant(redis)
    return [""]


def surely_every_tenant(redis: Redis) -> list[str]:
    """Return the same, for whoever would delete what belongs to no tenant that is listed.

    Raises:
        redis.ResponseError: the list is damaged.
    """
    found: Any = redis.smembers(keys.TENANTS)
    tenants = [""]
    for text in sorted(member.decode("ascii", "replace") for member in found):
        if is_tenant(text):
            tenants.append(text)
        else:
            report(f"{keys.TENANTS} has the member {text[:100]!r}, which is no tenant's name")
    return tenants
