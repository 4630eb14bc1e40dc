"""`perceptron jobs`, `job`, `logs` and `cancel`."""

from itertools import islice
from typing import Any

import click

from cli.options import client_options, this_call
from cli.output import plain, print_facts, print_json, print_table, say
from cli.remote.session import command_line, connected
from cli.remote.watching import facts_of_job, moment, tell_end, watch
from perceptron_client.answers.jobs import Event

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@click.command()
@click.option("--status", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--model", metavar="NAME", help="Only jobs of this model.")
@click.option("--limit", default=20, type=click.IntRange(1), help="How many to list.")
@client_options
def jobs(status: str | None, model: str | None, limit: int) -> None:
    """
    \b
    Examples:
      perceptron jobs
      perceptron jobs --status running
      perceptron jobs --model planes --limit 100 --json

    List training jobs, the newest first.
    """
    with connected() as client:
        found = list(islice(client.jobs.list(status=status, model=model), limit + 1))
    listed, has_more = found[:limit], len(found) > limit
    if this_call().is_json:
        print_json(page([job.raw for job in listed], has_more, "id"))
        return
    headers = ("Job", "Model", "Status", "Version", "Epochs", "Cost", "Created")
    rows: list[tuple[Any, ...]] = []
    for job in listed:
        shown = job.result or job.progress
        epochs = job.result.epochs if job.result else job.progress.epoch if job.progress else None
        cost = shown.cost if shown else None
        rows.append((job.id, job.model, job.status, job.version, epochs, cost, moment(job.created_at)))
    print_table(headers, rows)
    if not listed:
        say(f"There is no such job. To start one: {command_line('train', 'FILE', '--target', 'COLUMN')}")
    if has_more:
        say(f"There are more: {command_line('jobs', '--limit', str(10 * limit))}")


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("-w", "--watch", "is_watched", is_flag=True, help="Wait until it is done; the exit status is its own.")
@client_options
def job(job_id: str, is_watched: bool) -> int:
    """
    \b
    Examples:
      perceptron job job_a9b4b6ae73ca4429946d22a578b61ddd
      perceptron job job_a9b4b6ae73ca4429946d22a578b61ddd --watch

    Show one training job. With --watch, wait until it is done: exit status 0 if it succeeded, else 1.
    """
    with connected() as client:
        found = client.jobs.get(job_id)
        if is_watched:
            found = watch(client, found)
    if this_call().is_json:
        print_json(found.raw)
    else:
        print_facts(facts_of_job(found))
    tell_end(found)
    return 1 if is_watched and found.status != "succeeded" else 0


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is done.")
@client_options
def logs(job_id: str, follow: bool) -> None:
    """
    \b
    Examples:
      perceptron logs job_a9b4b6ae73ca4429946d22a578b61ddd
      perceptron logs -f job_a9b4b6ae73ca4429946d22a578b61ddd

    Show what has happened in a training job: its states, learning curve and messages. With -f, also what happens next.
    With --json and -f, each event is one line.
    """
    is_json = this_call().is_json
    with connected() as client:
        events = client.jobs.events(job_id, follow=follow)
        if is_json and not follow:
            print_json(page([event.raw for event in events], False, "id"))
            return
        for event in events:
            if is_json:
                print_line(event.raw)
            else:
                click.echo("\t".join((moment(event.at) or "", event.type, plain(_told(event)))))


@click.command()
@click.argument("job_id", metavar="ID")
@client_options
def cancel(job_id: str) -> None:
    """
    \b
    Example:
      perceptron cancel job_a9b4b6ae73ca4429946d22a578b61ddd

    Cancel a training job. Nothing is published afterwards. One that has succeeded or failed cannot be cancelled.
    """
    with connected() as client:
        found = client.jobs.cancel(job_id)
    if this_call().is_json:
        print_json(found.raw)
    else:
        print_facts(facts_of_job(found))


def page(data: list[Any], has_more: bool, name: str) -> dict[str, Any]:
    """Return a list as the service writes it."""
    return {"data": data, "has_more": has_more, "last_id": data[-1][name] if data else None}


def print_line(value: Any) -> None:
    """Print one JSON document on one line."""
    import json

    click.echo(json.dumps(value))


def _told(event: Event) -> str:
    """Return an event in words."""
    data = event.data
    match event.type:
        case "status":
            version = f", version {data['version']}" if data.get("version") is not None else ""
            attempt = f", attempt {data['attempt']}" if data.get("attempt") else ""
            return f"{data.get('status')} ({data.get('reason')}{attempt}{version})"
        case "epoch":
            held_out = data.get("validation_cost")
            more = "" if held_out is None else f", held out {held_out:.6g}"
            cost = data.get("cost")
            return f"epoch {data.get('epoch')}: cost {plain(cost)}{more}"
        case "log":
            return str(data.get("message", ""))
    return str(dict(data))


COMMANDS = {"jobs": jobs, "job": job, "logs": logs, "cancel": cancel}
