"""The Lua scripts that make each transition one atomic step, read from `storage/lua/`."""

from importlib.resources import files

from redis import Redis
from redis.commands.core import Script

from storage import keys
from storage.jobs.events import MAX_EVENTS

# Read at import, so that a worker child inherits them from its parent.
_TEXTS = {file.name: file.read_text(encoding="utf-8") for file in (files("storage") / "lua").iterdir()}
_BEFORE_EACH = f"local CHANGES = '{keys.CHANGES}'\nlocal MAX_EVENTS = {MAX_EVENTS}\n{_TEXTS['prelude.lua']}"


def load_script(redis: Redis, name: str) -> Script:
    """Return the script `storage/lua/<name>.lua`, ready to be called with `keys` and `args`.

    redis-py sends its digest, and its text only if the server does not know it, as after a restart.
    """
    return redis.register_script(_BEFORE_EACH + _TEXTS[f"{name}.lua"])
