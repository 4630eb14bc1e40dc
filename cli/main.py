"""The `perceptron` command: which subcommands there are, and what becomes of their errors.

The module of a subcommand is imported when it is called, so that `perceptron --help` loads click and nothing else.
"""

import errno
import importlib
import os
import sys
from difflib import get_close_matches
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from cli.failures import explain_failure
from cli.options import common_options

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Train and predict": {
        "train": ("train", "Train a model on a file and name the column to learn."),
        "predict": ("predict", "Predict for the rows of a file."),
    },
    "Look and change": {
        "jobs": ("jobs", "List training jobs, the newest first."),
        "job": ("jobs", "Show one training job, or wait for it."),
        "logs": ("jobs", "Show what has happened in a training job."),
        "cancel": ("jobs", "Cancel a training job."),
        "datasets": ("datasets", "List, upload, show and delete data sets."),
        "models": ("models", "List and delete models."),
        "show": ("models", "Show a model, or one of its versions."),
        "alias": ("models", "Point an alias at a version of a model."),
    },
    "Run the service": {
        "up": ("processes", "Run everything on this machine: Redis, API and training workers."),
        "serve": ("processes", "Run the API alone."),
        "worker": ("processes", "Run one training worker alone."),
        "init": ("processes", "Check that Redis and the blob store belong together."),
        "keys": ("keys", "Make, list, rotate and revoke access keys."),
        "webhook-secret": ("webhooks", "Print the secret that a tenant's webhooks are signed with."),
        "backup": ("backup", "Copy all that Redis and the blob store hold into a folder."),
        "restore": ("backup", "Put a backup back."),
        "doctor": ("doctor", "Find out what is wrong with the service or this machine."),
        "completion": ("completion", "Print the script that completes commands in a shell."),
    },
}
"""For each section of the help: the name of a command, its module in `cli.commands`, and what it does."""

COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, help_line = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(f"cli.commands.{module}").COMMANDS[cmd_name]
        command.short_help = help_line
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = get_close_matches(name, COMMANDS, 1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "'perceptron --help' lists the commands."
            ctx.fail(f"There is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section, without importing them."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(f"{name:<14}", help_line) for name, (_, help_line) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing them."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=help_line)
            for name, (_, help_line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


def _show_version(ctx: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from cli.version import version

        click.echo(f"perceptron {version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
@common_options
def perceptron() -> None:
    """
    \b
    Examples:
      perceptron up                                      start the service on this machine
      perceptron train planes.csv --target seats         learn a column of a table
      perceptron predict planes rows.csv -o answers.csv  predict it for other rows
      perceptron doctor                                  find out what is wrong

    Train small neural networks from tables, and predict with them.

    The address of the service is --url, else PERCEPTRON_URL, else that of the service that 'perceptron up' runs in
    DATA_DIR (./data), else http://127.0.0.1:8000.
    """


def main() -> NoReturn:
    """Run the command, and exit: 0, 1 if it failed, 2 if it was called wrongly, 130 after Ctrl-C.

    An expected error is one paragraph on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know every character of a name
    try:
        status = _run()
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where an error of it is still explained
    except OSError as error:  # of the flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the flush at the exit of Python does not raise again
        if error.errno != errno.EPIPE:
            _tell_failure(error)
        status = 1
    sys.exit(status)


def _tell_failure(error: BaseException) -> None:
    from cli.output import harmless  # a service, or a file, may have chosen words of the message

    click.echo(f"perceptron: error: {harmless(explain_failure(error))}", err=True)


def _read_secret_files() -> None:
    """Set the settings whose value is in a file.

    Raises:
        click.UsageError: one of them cannot be read.
    """
    if any(name.endswith("_FILE") for name in os.environ):
        from storage.store_settings import read_secret_files

        try:
            read_secret_files(os.environ)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _run() -> int:
    try:
        _read_secret_files()
        result: Any = perceptron.main(prog_name="perceptron", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return 130
    except Exception as error:  # but for a closed pipe, with which click ends quietly
        if "--debug" in sys.argv[1:]:
            import traceback

            traceback.print_exc()
        try:
            _tell_failure(error)
        except OSError as of_stderr:
            if of_stderr.errno != errno.EPIPE:  # a full disk: nobody can be told
                return 1
        return 1


if __name__ == "__main__":
    main()
