"""Wait for a job with a bar, and show how it ended."""

import sys
import time
from typing import Any

from cli.options import this_call
from cli.output import is_terminal, say, warn
from cli.remote.session import command_line
from perceptron_client import Client
from perceptron_client.answers.jobs import Job
from perceptron_client.bars import job_bar

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5


def watch(client: Client, job: Job) -> Job:
    """Wait until a job is done, with a bar on a terminal. After Ctrl-C it goes on, and the user is told how to return.

    Raises:
        KeyboardInterrupt: the user does not want to wait.
    """
    bar = job_bar(progress=is_terminal(sys.stderr) and not this_call().is_quiet)
    pause_s = _FIRST_PAUSE_S
    try:
        while True:
            bar.show(job)
            if job.done:
                return job
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)
            job = client.jobs.get(job.id)
    except KeyboardInterrupt:
        bar.close()
        back, stop = command_line("job", job.id, "--watch"), command_line("cancel", job.id)
        say(f"\n{job.id} goes on. To come back to it: {back}\nTo cancel it: {stop}")
        raise
    finally:
        bar.close()


def tell_end(job: Job) -> None:
    """Tell what the user should know about a job that is done, in words."""
    if job.error is not None:
        warn(f"{job.id} failed: {job.error.detail} ({job.error.code})")
    elif job.status == "cancelled":
        warn(f"{job.id} was cancelled")
    for notice in job.result.warnings if job.result is not None else ():
        warn(notice.detail)


def facts_of_job(job: Job) -> list[tuple[str, Any]]:
    """Return what is known about a job, for a table."""
    facts: list[tuple[str, Any]] = [
        ("job", job.id),
        ("model", job.model),
        ("version", job.version),
        ("status", job.status),
        ("created", moment(job.created_at)),
    ]
    if job.progress is not None and not job.done:
        facts += [("epoch", f"{job.progress.epoch} of {job.progress.max_epochs}"), ("cost", job.progress.cost)]
    if job.result is not None:
        facts += [("stopped", job.result.stop_reason), ("epochs", job.result.epochs), ("cost", job.result.cost)]
        facts += facts_of_metrics(job.metrics)
    if job.error is not None:
        facts += [("error", job.error.code), ("detail", job.error.detail)]
    return facts


def facts_of_metrics(metrics: Any) -> list[tuple[str, Any]]:
    """Return the metrics that are one number, and on which rows they were measured."""
    rows = {
        "training": "the rows that trained",
        "validation": "rows held out",
        "folds": "all rows, by cross-validation",
    }
    where = str(metrics.get("evaluated_on", ""))
    numbers = [
        (name, value) for name, value in metrics.items() if type(value) in (int, float) and name != "n_instances"
    ]
    return [("measured on", rows.get(where, where) or None), *numbers]


def moment(at: Any) -> str | None:
    """Return a time in UTC, to the second."""
    return None if at is None else at.strftime("%Y-%m-%d %H:%M:%S")
