"""The service that a command talks to, and the commands that it names to the user."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cli.options import this_call
from cli.output import is_terminal, plain
from cli.remote.address import check_answers, find_address
from cli.remote.without_pandas import hide_pandas
from perceptron_client import Client


@contextmanager
def connected() -> Iterator[Client]:
    """Give a client of the service.

    Raises:
        UnreachableError: nothing listens at its address.
    """
    hide_pandas()
    address = find_address(this_call().url)
    check_answers(address)
    with Client(address.url) as client:
        yield client


def command_line(*words: str) -> str:
    """Return a call of this command that can be pasted: it reaches the same service."""
    call = this_call()
    options = ["--url", call.url] if call.url else []
    return " ".join([os.environ.get("PERCEPTRON_PROGRAM") or "perceptron", *map(shlex.quote, [*words, *options])])


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        click.UsageError: nobody can answer, and --yes is missing.
        click.Abort: the answer is no.
    """
    if is_sure:
        return
    question = plain(question)
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise click.UsageError(f"{question} Say --yes, as nobody can be asked here.")
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was done")
