"""`perceptron train`: from a file to a model."""

import json
import re
import shlex
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from cli.options import client_options, this_call
from cli.output import plain, print_facts, print_json, say, warn
from cli.remote.session import command_line, connected
from cli.remote.uploading import names_of, reading_options, types_of, upload, upload_without_gaps
from cli.remote.watching import facts_of_job, tell_end, watch
from perceptron_client import Client
from perceptron_client.answers.datasets import Dataset
from perceptron_client.answers.jobs import DryRun, Job

_IS_DATASET = re.compile(r"ds_[0-9a-f]{32}").fullmatch
_PARAMETER = re.compile(r"\b(header|delimiter|decimal|null_values|charset)=(\S+?)(?=[\s;,.)]|$)")
_MOST_CLASSES = 20
OPTIMIZERS = ("gradient_descent", "momentum", "adam", "lbfgs", "newton", "perceptron_rule")


@click.command()
@click.argument("file", metavar="FILE")
@click.option("-t", "--target", metavar="COLUMN", help="The column to learn.  [required]")
@click.option("-m", "--model", metavar="NAME", help="The model that gets a new version; else the name of the file.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="Else found out from the target.")
@click.option("--features", multiple=True, metavar="COLUMNS", help="Learn from these alone: age,plan.")
@click.option("--exclude", multiple=True, metavar="COLUMNS", help="Do not learn from these.")
@click.option("--hidden", metavar="WIDTHS", help="Hidden layers: 16, or 16,8 for two.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="Else chosen from the data.")
@click.option("--max-epochs", type=click.IntRange(1), help="Passes over the data at most.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Then publish what is.")
@click.option("--folds", type=click.IntRange(2, 100), help="Measure by cross-validation with so many folds.")
@click.option("--hold-out", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Measure on this share.")
@click.option("--seed", type=click.IntRange(0), help="Of all that is random.")
@click.option("--alias", metavar="NAME", help="An alias that shall name the new version.")
@click.option("--skip-missing", is_flag=True, help="Leave out rows whose target is missing.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and upload the file only.")
@click.option("--watch/--no-watch", "is_watched", default=True, help="Wait until it is done.")
@reading_options
@client_options
def train(file: str, target: str | None, model: str | None, *, is_watched: bool, **options: Any) -> int:
    """
    \b
    Examples:
      perceptron train planes.csv --target seats
      perceptron train churn.csv --target churned --hidden 16,8 --exclude customer_id
      perceptron train churn.parquet --target churned --folds 5 --model churn-v2
      perceptron train ds_17a014d9a331dafef8f101b1cfba4e2e --target seats --model planes

    Train a model: upload a file, and learn one of its columns from the others.

    FILE is CSV, TSV, Parquet, Arrow, JSON, JSON lines, npy or npz, - for standard input, or the id of a data set that
    is uploaded already. Types, gaps and categories are found out; what is not said is chosen from the data. The exit
    status is 1 if the training fails. Ctrl-C leaves it running.
    """
    settings = _settings(options)
    reading = {name: options[name] for name in _READING}
    with connected() as client:
        is_dataset = _IS_DATASET(file) is not None and not Path(file).exists()
        name = model or _model_name(file, is_dataset=is_dataset)
        dataset = client.datasets.get(file) if is_dataset else upload(client, file, **reading)
        for notice in dataset.warnings:
            warn(_in_options(notice.detail))
        _check_target(target, dataset, file, skips_missing=options["skip_missing"])
        if options["skip_missing"]:
            if is_dataset:
                raise click.UsageError("--skip-missing needs a file: an uploaded data set cannot be changed")
            dataset = upload_without_gaps(client, file, dataset, target or "", **reading)
        types = types_of(options["types"]) if is_dataset else None
        request = {"model": name, "dataset": dataset.id, "target": target, "types": types, **settings}
        if options["dry_run"]:
            _show_dry_run(client.jobs.dry_run(**request))
            return 0
        job = client.jobs.create(**request)
        if is_watched:
            job = watch(client, job)
        _show_job(client, job, dataset, ["ROWS.csv"] if is_dataset else _as_rows(file, reading))
    return 1 if job.done and job.status != "succeeded" else 0


_READING = ("file_format", "delimiter", "decimal", "header", "null_values", "charset", "types")


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a training request that options stand for."""
    if options["folds"] is not None and options["hold_out"] is not None:
        raise click.UsageError("--folds and --hold-out cannot be combined")
    network = {"hidden_layers": _widths(options["hidden"])} if options["hidden"] else None
    training = {
        "optimizer": options["optimizer"],
        "max_epochs": options["max_epochs"],
        "time_limit_s": options["time_limit"],
        "seed": options["seed"],
    }
    validation = {"folds": options["folds"], "fraction": options["hold_out"]}
    return {
        "task": options["task"],
        "features": names_of(options["features"]),
        "exclude": names_of(options["exclude"]),
        "network": network,
        "training": _given(training),
        "validation": _given(validation),
        "alias": options["alias"],
    }


def _given(members: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in members.items() if value is not None} or None


def _widths(text: str) -> list[int]:
    try:
        return [int(width) for width in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--hidden must be like 16 or 16,8, not {text!r}") from None


def _model_name(file: str, *, is_dataset: bool) -> str:
    """Return a name for the model of a file: its own, of the characters that a name may have.

    Raises:
        click.UsageError: there is none.
    """
    stem = "" if is_dataset or file == "-" else Path(file).name.partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:128]
    if not name:
        raise click.UsageError("name the model: --model NAME")
    return name


def _check_target(target: str | None, dataset: Dataset, file: str, *, skips_missing: bool) -> None:
    """Check the target before a job is made, to say what a person with a file can do.

    Raises:
        click.UsageError: it is missing.
        click.ClickException: the file has no such column, or the column has gaps.
    """
    columns = {column.name: column for column in dataset.columns or ()}
    shown = ", ".join([*columns][:50])
    if target is None:
        raise click.UsageError(f"which column shall be learned? {file} has: {plain(shown)}. Say it with --target.")
    if target not in columns:
        near = get_close_matches(target, columns, 1)
        hint = f"Is {near[0]!r} meant? " if near else ""
        if any(each.code == "header_looks_like_data" for each in dataset.warnings):
            hint += "If its first line is a row, add --header absent: the columns are c0, c1, ... then. "
        raise click.ClickException(f"{file} has no column {target!r}. {hint}It has: {plain(shown)}")
    if (nulls := columns[target].nulls) and not skips_missing:
        raise click.ClickException(
            f"{target!r} is missing in {nulls} of {dataset.rows} rows of {file}: nothing can be learned from those. "
            "Leave them out with --skip-missing"
        )


def _in_options(detail: str) -> str:
    """Return a warning of the service with its parameters named as options of this command."""
    return _PARAMETER.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", detail)


def _hint_of_classes(job: Job, dataset: Dataset) -> str | None:
    """Return a hint where the target looks like classes, and was learned as a number."""
    target = job.config.get("target")
    column = next((each for each in dataset.columns or () if each.name == target), None)
    if column is None or column.type != "numeric" or job.config.get("task") != "regression":
        return None
    raw = column.raw
    values = [raw.get("min"), raw.get("max"), *(raw.get("quantiles") or {}).values()]
    is_whole = all(isinstance(value, int | float) and float(value).is_integer() for value in values)
    n = raw.get("distinct") or 0
    if not (is_whole and 2 <= n <= _MOST_CLASSES and dataset.rows >= 10 * n):
        return None
    return f"{target!r} has {n} whole numbers. If they are classes, say --task classification."


def _show_dry_run(run: DryRun) -> None:
    if this_call().is_json:
        print_json(run.raw)
        return
    config = run.config
    print_facts(
        [
            ("task", str(config.get("task", "")).replace("_", " ")),
            ("rows", config.get("n_instances")),
            ("features", run.n_features),
            ("parameters", run.n_parameters),
            ("optimizer", (config.get("training") or {}).get("optimizer")),
            ("memory", f"{run.memory_bytes / 1e6:.3g} MB"),
            ("seconds an epoch", run.epoch_s),
            ("seconds at most", run.at_most_s),
        ]
    )
    for notice in run.warnings:
        warn(notice.detail)


def _as_rows(file: str, reading: Mapping[str, Any]) -> list[str]:
    """Return the arguments of `predict` that read the same file in the same way."""
    if file.startswith("-") and file != "-":
        file = f"./{file}"  # else it would be an option
    names = {"file_format": "--format", "delimiter": "--delimiter", "decimal": "--decimal", "header": "--header"}
    chosen = [(option, reading[name]) for name, option in (names | {"charset": "--charset"}).items()]
    return [file, *(word for option, value in chosen if value and value != "npz" for word in (option, value))]


def _show_job(client: Client, job: Job, dataset: Dataset, rows: list[str]) -> None:
    if this_call().is_json:
        print_json(job.raw)
    else:
        print_facts(facts_of_job(job))
    tell_end(job)
    if job.status == "succeeded":
        if (hint := _hint_of_classes(job, dataset)) is not None:
            say(hint)
        output = f"{job.model}-predictions.csv"
        say(f"\nTo predict with it:\n  {command_line('predict', job.model, *rows, '-o', output)}")
        say(f"  {_curl(client, job, dataset)}")
    elif not job.done:
        say(f"To wait for it: {command_line('job', job.id, '--watch')}")


def _curl(client: Client, job: Job, dataset: Dataset) -> str:
    """Return a curl command that predicts for the first row of the data set."""
    version = client.models.version(job.model, job.version)
    wanted = [str(column["name"]) for column in version.columns or ()]
    first = client.datasets.rows(dataset.id, limit=1)[0]
    body = {"model": job.model, "instances": [{name: first.get(name) for name in wanted}]}
    address = f"{client.base_url}/predict"
    return f"curl -s {shlex.quote(address)} -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"


COMMANDS = {"train": train}
