"""Options that commands share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass
class Call:
    """How this call of the command talks, and with whom."""

    url: str | None = None
    is_json: bool = False
    is_quiet: bool = False
    is_plain: bool = False
    """Whether colour is off though a terminal shows it."""


def this_call() -> Call:
    """Return what the options of this call said so far."""
    return click.get_current_context().find_root().ensure_object(Call)


def _set(name: str, ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
    if value:  # an option may stand before the subcommand or behind it
        setattr(ctx.find_root().ensure_object(Call), name, value)


def common_options(command: Decorated) -> Decorated:
    """Add the options of every command."""
    option = partial(click.option, is_flag=True, expose_value=False)
    command = option("--debug", help="Show the traceback of an error.")(command)
    command = option("--no-color", callback=partial(_set, "is_plain"), help="No colours; NO_COLOR does the same.")(
        command
    )
    return option("-q", "--quiet", callback=partial(_set, "is_quiet"), help="No messages but errors and warnings.")(
        command
    )


def url_option(command: Decorated) -> Decorated:
    """Add `--url`."""
    return click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=partial(_set, "url"),
        help="The address of the service; else PERCEPTRON_URL, else that of the one in DATA_DIR.",
    )(command)


def json_option(command: Decorated) -> Decorated:
    """Add `--json`."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=partial(_set, "is_json"),
        help="Print the JSON of the service.",
    )(command)


def client_options(command: Decorated) -> Decorated:
    """Add the options of a command that asks the service."""
    return url_option(json_option(common_options(command)))


def yes_option(command: Decorated) -> Decorated:
    """Add `--yes`, for what cannot be undone."""
    return click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")(command)


def _tenant(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    from storage.tenants import TENANT_PATTERN, is_tenant

    if value and not is_tenant(value):
        raise click.BadParameter(f"{value!r} is no name of a tenant, which is {TENANT_PATTERN}")
    return value


def tenant_option(help_text: str) -> Callable[[Decorated], Decorated]:
    """Add `--tenant`, which is empty for what belongs to none."""
    return click.option("--tenant", default="", metavar="NAME", callback=_tenant, help=help_text)


def data_dir_option(command: Decorated) -> Decorated:
    """Add `--data-dir`."""
    from storage.store_settings import DEFAULT_DATA_DIR

    return click.option(
        "--data-dir",
        envvar="DATA_DIR",
        default=Path(DEFAULT_DATA_DIR),
        type=click.Path(path_type=Path),
        show_envvar=True,
        help="Where jobs, models and data sets are kept.",
    )(command)


def redis_url_option(*, is_required: bool, help_text: str) -> Callable[[Decorated], Decorated]:
    """Make `--redis-url`."""
    return click.option(
        "--redis-url", envvar="REDIS_URL", show_envvar=True, metavar="URL", required=is_required, help=help_text
    )


class Family(click.Group):
    """A group whose help lists for each command what it does, and not the examples with which its own help begins."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with the first sentence that is no example."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            paragraphs = (command.help or "").split("\n\n") if command is not None else []
            told = next((each for each in paragraphs if not each.lstrip().startswith("\b")), "")
            rows.append((name, " ".join(told.split()).partition(". ")[0]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
