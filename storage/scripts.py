"""The Lua scripts that make each transition one atomic step, read from `storage/lua/`."""

from importlib.resources import files

from redis import Redis
from redis.commands.core import Script

from storage import keys
from storage.events import MAX_EVENTS


def load_script(redis: Redis, name: str) -> Script:
    """Return the script `storage/lua/<name>.lua`, ready to be called with `keys` and `args`.

    redis-py sends its digest and, when the server does not know it (after a restart), its text.
    """
    folder = files("storage") / "lua"
    prelude, body = ((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name))
    constants = f"local CHANGES = '{keys.CHANGES}'\nlocal MAX_EVENTS = {MAX_EVENTS}\n"
    return redis.register_script(constants + prelude + body)
