"""The schema of the stores: a number that says which releases can read what is in Redis and in the blob store.

Without it, an older release would answer from records that it half understands.
"""

from storage import keys
from storage.availability import NewerSchemaError

SCHEMA = 1
"""Raise it when a release that knows the number before must not work on what this one writes: another type of key, a
field with another meaning. Not for a key or field more, which older releases ignore. A store without a number is from
before schema 1, and is read as it is."""

OLDEST_RELEASE = "0.1.0"
"""The oldest release that knows `SCHEMA`. Errors of older ones name it."""

_RAISE = """\
local found = redis.call('GET', KEYS[1])
local number = found and tonumber(string.match(found .. ' ', '^(%d+) '))
if not found or (number and number < tonumber(ARGV[1])) then
  redis.call('SET', KEYS[1], ARGV[2])
  return ARGV[2]
end
return found
"""
"""Not among the scripts of `storage/lua`: each new connection may send it, before anything else is loaded."""


def raising() -> tuple[str, ...]:
    """Return the command that writes the schema of this release unless there is the same or a higher one.

    It answers with what there is then: of two releases that start together, the older one must not write last.
    """
    return "EVAL", _RAISE, "1", keys.SCHEMA, str(SCHEMA), f"{SCHEMA} {OLDEST_RELEASE}"


def must_be_written(found: bytes | None) -> bool:
    """Whether the store has a lower schema than this release, or none. After that, older releases refuse it.

    Raises:
        NewerSchemaError: the store has a schema that this release does not know.
    """
    if found is None:
        return True
    number, _, release = found.partition(b" ")
    if not number.isdigit() or int(number) > SCHEMA:
        raise NewerSchemaError(found.decode(errors="replace"), SCHEMA, release.decode(errors="replace"))
    return int(number) < SCHEMA
