"""The Lua scripts that make each transition one atomic step, read from `storage/lua/`."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from storage import keys
from storage.jobs.events import MAX_EVENTS

# Read at import, so that a worker child inherits them from its parent.
_TEXTS = {file.name: file.read_text(encoding="utf-8") for file in (files("storage") / "lua").iterdir()}
_CONSTANTS = f"""\
local CHANGES = '{keys.CHANGES}'
local COUNTERS = '{keys.COUNTERS}'
local TENANTS = '{keys.TENANTS}'
local WEBHOOK_OUTBOX = '{keys.WEBHOOK_OUTBOX}'
local WEBHOOKS_DUE = '{keys.WEBHOOKS_DUE}'
local MAX_EVENTS = {MAX_EVENTS}
"""
_BEFORE_EACH = _CONSTANTS + _TEXTS["prelude.lua"]

_Value = bytes | str | int


class Script:
    """A script that runs whether the server knows it or not.

    Its digest is sent, and the whole text in the same command if the server does not know it: after a restart, a
    failover or SCRIPT FLUSH. redis-py would load the text first and then send the digest again, and fail if the script
    was forgotten in between. In a transaction the text is sent at once, because a refused command does not undo the
    others.
    """

    def __init__(self, redis: Redis, text: str, digest: str) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._text = text
        self._digest = digest

    def __call__(self, keys: Sequence[str], args: Sequence[_Value] = ()) -> Any:
        """Run the script; in a pipeline, add it."""
        if isinstance(self._redis, Pipeline):
            return self._redis.eval(self._text, len(keys), *keys, *args)
        try:
            return self._redis.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return self._redis.eval(self._text, len(keys), *keys, *args)


def load_script(redis: Redis, name: str) -> Script:
    """Return the script `storage/lua/<name>.lua`, ready to be called with `keys` and `args`."""
    return Script(redis, *_read(name))


@cache
def _read(name: str) -> tuple[str, str]:
    text = _BEFORE_EACH + _TEXTS[f"{name}.lua"]
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
