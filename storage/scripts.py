"""The Lua scripts that make each transition one atomic step, read from `storage/lua/`."""

from functools import cache
from importlib.resources import files

from redis import Redis
from redis.commands.core import Script

from storage import keys
from storage.jobs.events import MAX_EVENTS


def load_script(redis: Redis, name: str) -> Script:
    """Return the script `storage/lua/<name>.lua`, ready to be called with `keys` and `args`.

    redis-py sends its digest and, when the server does not know it (after a restart), its text.
    """
    return redis.register_script(_text(name))


@cache  # a worker child inherits what its parent has read
def _text(name: str) -> str:
    folder = files("storage") / "lua"
    prelude, body = ((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name))
    return f"local CHANGES = '{keys.CHANGES}'\nlocal MAX_EVENTS = {MAX_EVENTS}\n{prelude}{body}"
