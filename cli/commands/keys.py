"""`perceptron keys`: the access keys of a service. It works on Redis, as the first key has to come from somewhere."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import (
    Decorated,
    Family,
    common_options,
    data_dir_option,
    json_option,
    redis_url_option,
    tenant_option,
    this_call,
)
from cli.output import print_json, print_table, say
from cli.remote.watching import moment

if TYPE_CHECKING:
    from storage.access.record import AccessKey

_DURATION = re.compile(r"(\d{1,7})([smhd])")
_LONGEST_S = 36_500 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[float]):
    """A time such as 90d or 24h, in seconds.

    Args:
        shortest_s: what is shorter is refused.
    """

    name = "duration"

    def __init__(self, shortest_s: int = 0) -> None:
        self._shortest_s = shortest_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return value
        if (found := _DURATION.fullmatch(value)) is None:
            self.fail(f"{value!r} must be a whole number and s, m, h or d, such as 90d", param, ctx)
        seconds = float(int(found[1]) * _UNITS[found[2]])
        if seconds > _LONGEST_S:
            self.fail(f"{value!r} is longer than 36500d: leave it out for a key that does not expire", param, ctx)
        if seconds < self._shortest_s:
            self.fail(f"{value!r} is shorter than {self._shortest_s}s", param, ctx)
        return seconds


class Scopes(click.ParamType[tuple[str, ...]]):
    """Scopes with commas between them."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the scopes."""
        from storage.access.record import SCOPES

        given = tuple(value.split(",")) if isinstance(value, str) else value
        for scope in given:
            if scope not in SCOPES:
                self.fail(f"there is no scope {scope!r}: choose from {', '.join(SCOPES)}", param, ctx)
        return tuple(dict.fromkeys(given))


def _name(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    from storage.access.record import MAX_NAME_LENGTH

    if len(value) > MAX_NAME_LENGTH or not value.isprintable():
        raise click.BadParameter(f"it must have at most {MAX_NAME_LENGTH} characters, all printable")
    return value


def keys_options(command: Decorated) -> Decorated:
    """Add the options of a command that works on the access keys in Redis."""
    redis_url = redis_url_option(
        is_required=False, help_text="The Redis of the service, if it is not the embedded one."
    )
    return data_dir_option(redis_url(json_option(common_options(command))))


@click.group(cls=Family, invoke_without_command=True)
@keys_options
@click.pass_context
def keys(ctx: click.Context, data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Examples:
      perceptron keys create --scope predict --name billing
      perceptron keys
      perceptron keys rotate 8d1f0c5ab2e94d37 --overlap 24h
      perceptron keys revoke 8d1f0c5ab2e94d37

    Make, list, rotate and revoke access keys. From the first one on, nobody comes in without a key.

    The keys are in Redis: that of REDIS_URL, else the embedded one of the data directory, which is started for the
    call if it does not run. Only 'create' begins an empty one.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_keys, data_dir=data_dir, redis_url=redis_url)


@keys.command("create")
@click.option(
    "--scope",
    "scopes",
    type=Scopes(),
    required=True,
    help="What the key may do, with commas: read, predict, train; admin may do everything.",
)
@tenant_option("Whose models and data it sees; without: the operator's.")
@click.option("--name", default="", callback=_name, help="What to call it in lists.")
@click.option(
    "--expires", type=Duration(shortest_s=1), help="How long it works, such as 90d; without: until it is revoked."
)
@keys_options
def create_key(
    scopes: tuple[Any, ...], tenant: str, name: str, expires: float | None, data_dir: Path, redis_url: str | None
) -> None:
    """
    \b
    Examples:
      perceptron keys create --scope admin
      perceptron keys create --scope train,predict --tenant acme --name billing --expires 90d

    Make an access key and print it, once: only a digest of it is stored.

    Clients send it as 'Authorization: Bearer psk_...'; the command and the Python client take it from
    PERCEPTRON_API_KEY.
    """
    from cli.keys_in_redis import store_of  # here, so that help and completion do not load the storage

    with store_of(data_dir, redis_url, may_begin=True) as store:
        key, text = store.create(scopes, tenant=tenant, name=name, lifetime_s=expires)
    _print_new(key, text)


@keys.command("list")
@keys_options
def list_keys(data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Example:
      perceptron keys list --json

    List the access keys, the oldest first, with those that have ended.
    """
    from cli.keys_in_redis import store_of

    with store_of(data_dir, redis_url) as store:
        found = list(store.all().keys.values())
    if this_call().is_json:
        print_json({"data": [_as_json(key) for key in found]})
        return
    rows = [
        (key.id, key.name, key.tenant, ",".join(sorted(key.scopes)), _state(key), *map(_shown, _times(key)))
        for key in found
    ]
    print_table(("Key", "Name", "Tenant", "Scopes", "State", "Created", "Expires", "Revoked"), rows)
    if not found:
        say("There is no access key. To make the first one: perceptron keys create --scope admin")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@keys_options
def revoke_key(key_id: str, data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Example:
      perceptron keys revoke 8d1f0c5ab2e94d37

    End an access key everywhere within 50 ms, for good. 'perceptron keys' shows the ids.

    Access stays on, also when the last key is revoked.
    """
    from cli.keys_in_redis import store_of

    with store_of(data_dir, redis_url) as store:
        key = store.revoke(key_id)
    if this_call().is_json:
        print_json({"id": key_id, "state": "revoked"} if key is None else _as_json(key))
    say(f"{key_id} is revoked." if key is not None else f"{key_id} is revoked, though its record is damaged.")


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option("--overlap", type=Duration(), default="24h", help="How long the old key goes on working.")
@keys_options
def rotate_key(key_id: str, overlap: float, data_dir: Path, redis_url: str | None) -> None:
    """
    \b
    Examples:
      perceptron keys rotate 8d1f0c5ab2e94d37
      perceptron keys rotate 8d1f0c5ab2e94d37 --overlap 1h

    Make a new key with the rights, the name and the lifetime of an old one, and print it, once.

    The old one expires after the overlap, in which you give its holders the new one. It cannot be rotated again
    meanwhile: rotate the new one, or revoke the old one to end it earlier.
    """
    from cli.keys_in_redis import store_of

    with store_of(data_dir, redis_url) as store:
        key, text = store.rotate(key_id, overlap_s=overlap)
        old = store.get(key_id)
    _print_new(key, text)
    say(f"The old key {old.id} works until {_shown(old.expires_at_ms)} UTC.")


def _print_new(key: "AccessKey", text: str) -> None:
    if this_call().is_json:
        print_json({"key": text, **_as_json(key)})
    else:
        click.echo(text)
    say(f"Keep it now: it is not shown again. Its id is {key.id}, for 'perceptron keys revoke'.")


def _times(key: "AccessKey") -> tuple[int | None, ...]:
    return key.created_at_ms, key.expires_at_ms, key.revoked_at_ms


def _as_json(key: "AccessKey") -> dict[str, Any]:
    from storage.times import rfc3339

    created_at, expires_at, revoked_at = map(rfc3339, _times(key))
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant or None,
        "scopes": sorted(key.scopes),
        "state": _state(key),
        "created_at": created_at,
        "expires_at": expires_at,
        "revoked_at": revoked_at,
        "rotated_into": key.successor,
    }


def _state(key: "AccessKey") -> str:
    return key.refusal(datetime.now(UTC).timestamp() * 1000) or "in force"


def _shown(at_ms: int | None) -> str | None:
    """Return a time for people."""
    return moment(None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC))


COMMANDS = {"keys": keys}
