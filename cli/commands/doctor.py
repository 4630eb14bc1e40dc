"""`perceptron doctor`."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cli.doctor.findings import Finding, ok, problem
from cli.doctor.machine import check_machine
from cli.options import client_options, data_dir_option, redis_url_option, this_call
from cli.output import is_terminal, plain, print_json, print_table, say
from cli.remote.address import Address, UnreachableError, address_in, check_answers, find_address
from standalone.redis_server import url_of_running
from storage.store_settings import blob_url


@click.command()
@data_dir_option
@redis_url_option(is_required=False, help_text="The Redis to look at, if it is not that of the data directory.")
@click.option("--port", default=8000, envvar="PORT", type=click.IntRange(1, 65535), help="The port that shall be free.")
@client_options
def doctor(data_dir: Path, redis_url: str | None, port: int) -> int:
    """
    \b
    Examples:
      perceptron doctor
      perceptron doctor --data-dir /srv/perceptron
      REDIS_URL=redis://db:6379 perceptron doctor
      perceptron doctor --url http://models.example:8000

    Find out what is wrong: with this machine, Redis, the blob store, the API and the workers.

    Each line is ok, a warning or a problem, with what to do about it. Nothing is changed. The exit status is 1 if there
    is a problem.
    """
    findings = list(_findings(data_dir, redis_url, port))
    counts = {state: sum(finding.state == state for finding in findings) for state in ("problem", "warning")}
    if this_call().is_json:
        print_json({"findings": [finding.as_json() for finding in findings]})
    else:
        _print(findings)
    say(", ".join(f"{n} {state}{'' if n == 1 else 's'}" for state, n in counts.items()))
    return 1 if counts["problem"] else 0


def _print(findings: Sequence[Finding]) -> None:
    """Print a table; for people, what to do comes below it, where it can be copied."""
    headers = ("State", "Area", "What", "Found", "What to do")
    rows = [(each.state, each.area, each.name, each.detail, each.remedy) for each in findings]
    if not is_terminal(sys.stdout):
        print_table(headers, rows)
        return
    print_table(headers[:-1], [row[:-1] for row in rows])
    remedies = [(each, each.remedy) for each in findings if each.remedy]
    if remedies:
        click.echo("\nWhat to do:")
    for finding, remedy in remedies:
        click.echo(f"  {finding.area}, {finding.name}:\n    {plain(remedy)}")


def _findings(data_dir: Path, redis_url: str | None, port: int) -> Iterator[Finding]:
    url = this_call().url or os.environ.get("PERCEPTRON_URL")
    address = find_address(url) if url else address_in(data_dir)
    running = url_of_running(data_dir)
    yield from check_machine(data_dir, port, needs_server=redis_url is None)
    if redis_url is not None or running is not None:
        from cli.doctor.stores import check_stores

        yield from check_stores(redis_url or running or "", blob_url(os.environ, data_dir.absolute()))
    if address is None:
        yield from _without_address(redis_url, port)
        return
    if address.is_stale:
        detail = f"that of {data_dir} at {address.url} was killed"
        yield problem("service", "process", detail, f"perceptron up --data-dir {data_dir}")
        return
    from cli.doctor.service import check_service

    yield from check_service(address)


def _without_address(redis_url: str | None, port: int) -> Iterator[Finding]:
    """Look where a service would be, if nobody named one."""
    guess = Address(f"http://127.0.0.1:{port}", "the default")
    try:
        check_answers(guess)
    except UnreachableError:
        start = "perceptron serve" if redis_url else "perceptron up"
        yield ok("service", "process", f"none runs here; '{start}' starts one")
        return
    from cli.doctor.service import check_service

    yield from check_service(guess)


COMMANDS = {"doctor": doctor}
