"""The commands of Redis that the service cannot do without, and the check that it may use them.

`docs/operations.md` lists them for whoever writes an ACL. A test compares this list with what the service sends.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from storage import keys
from storage.errors import MissingCommandsError

_OURS, _OF_RQ = "perceptron:probe", "rq:probe"

NEEDED: tuple[tuple[str, ...], ...] = (
    ("BLPOP", _OF_RQ, "1"),
    ("DEL", _OF_RQ),
    ("EVAL", "return 1", "1", _OURS),
    ("EVALSHA", "0" * 40, "1", _OURS),
    ("EXISTS", _OURS),
    ("EXPIRE", _OF_RQ, "1"),
    ("GET", _OURS),
    ("HDEL", _OURS, "field"),
    ("HGET", _OURS, "field"),
    ("HGETALL", _OURS),
    ("HINCRBY", _OURS, "field", "1"),
    ("HMGET", _OURS, "field"),
    ("HSET", _OURS, "field", "value"),
    ("HSETNX", _OURS, "field", "value"),
    ("LLEN", _OF_RQ),
    ("LRANGE", _OF_RQ, "0", "-1"),
    ("LREM", _OF_RQ, "1", "value"),
    ("PING",),
    ("PUBLISH", keys.CHANGES, "message"),
    ("RPUSH", _OF_RQ, "value"),
    ("SADD", _OF_RQ, "value"),
    ("SET", _OURS, "value"),
    ("SISMEMBER", _OF_RQ, "value"),
    ("SMEMBERS", _OF_RQ),
    ("SREM", _OF_RQ, "value"),
    ("SUBSCRIBE", keys.CHANGES),
    ("TIME",),
    ("TYPE", _OURS),
    ("UNLINK", _OF_RQ),
    ("UNSUBSCRIBE", keys.CHANGES),
    ("UNWATCH",),
    ("WATCH", _OURS),
    ("XADD", _OURS, "*", "field", "value"),
    ("XRANGE", _OURS, "-", "+"),
    ("XREVRANGE", _OURS, "+", "-"),
    ("ZADD", _OURS, "0", "value"),
    ("ZCARD", _OURS),
    ("ZCOUNT", _OURS, "-inf", "+inf"),
    ("ZRANGE", _OURS, "0", "-1"),
    ("ZRANGEBYLEX", _OURS, "-", "+"),
    ("ZRANGEBYSCORE", _OURS, "-inf", "+inf"),
    ("ZREM", _OURS, "value"),
    ("ZREVRANGEBYSCORE", _OURS, "+inf", "-inf"),
    ("ZSCORE", _OURS, "value"),
)
"""Each with arguments that the server accepts, on keys with the prefixes that we and RQ use. Besides them, MULTI, EXEC
and DISCARD."""


def check_commands(redis: Redis) -> None:
    """Check that the server has the commands, and that its ACL allows them. Nothing is executed.

    In a transaction the server checks each command at once and executes none before EXEC, which is not sent.

    Raises:
        MissingCommandsError: some are missing or denied.
        An error of redis-py: the server cannot be reached, or refuses everything.
    """
    connection = redis.connection_pool.get_connection()
    try:
        _ask(connection, [("MULTI",)])
        missing = [
            command[0]
            for command, answer in zip(NEEDED, _ask(connection, NEEDED), strict=True)
            if isinstance(answer, NoPermissionError) or "unknown command" in str(answer)
        ]
        _ask(connection, [("DISCARD",)])
    except BaseException:
        connection.disconnect()  # otherwise it would be used again in the middle of the transaction
        raise
    finally:
        redis.connection_pool.release(connection)
    if missing:
        raise MissingCommandsError(missing)


def _ask(connection: Any, commands: Sequence[tuple[str, ...]]) -> list[object]:
    """Send commands and return their answers; errors among them, unless the only command fails."""
    connection.send_packed_command(connection.pack_commands(commands))
    answers: list[object] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            if len(commands) == 1:
                raise
            answers.append(error)
    return answers
