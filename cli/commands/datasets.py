"""`perceptron datasets`: uploaded tables."""

import sys
from typing import Any

import click

from cli.commands.jobs import page
from cli.options import Family, client_options, this_call, yes_option
from cli.output import print_facts, print_json, print_table, say, warn
from cli.remote.session import command_line, confirm, connected
from cli.remote.uploading import reading_options, upload
from cli.remote.watching import moment
from perceptron_client.answers.datasets import Dataset


@click.group(cls=Family, invoke_without_command=True)
@client_options
@click.pass_context
def datasets(ctx: click.Context) -> None:
    """
    \b
    Examples:
      perceptron datasets
      perceptron datasets upload planes.csv
      perceptron datasets show ds_17a014d9a331dafef8f101b1cfba4e2e
      perceptron datasets rows ds_17a014d9a331dafef8f101b1cfba4e2e --limit 5
      perceptron datasets delete ds_17a014d9a331dafef8f101b1cfba4e2e

    List, upload, show and delete data sets: the tables that jobs learn from.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_datasets)


@datasets.command("list")
@client_options
def list_datasets() -> None:
    """
    \b
    Example:
      perceptron datasets list --json

    List data sets, the newest first.
    """
    with connected() as client:
        found = list(client.datasets.list())
    if this_call().is_json:
        print_json(page([dataset.raw for dataset in found], False, "id"))
        return
    rows = [(each.id, each.name, each.rows, each.n_columns, moment(each.created_at)) for each in found]
    print_table(("Data set", "Name", "Rows", "Columns", "Created"), rows)
    if not found:
        say(f"There is no data set yet. To upload one: {command_line('datasets', 'upload', 'FILE')}")


@datasets.command("upload")
@click.argument("file")
@click.option("--name", help="What it is called; else the name of the file.")
@reading_options
@client_options
def upload_dataset(file: str, name: str | None, **reading: Any) -> None:
    """
    \b
    Examples:
      perceptron datasets upload planes.csv
      gzip -dc planes.csv.gz | perceptron datasets upload - --format csv --name planes

    Upload a table: CSV, TSV, Parquet, Arrow, JSON, JSON lines, npy or npz. The types of its columns are found out. The
    same bytes are one data set, however often they are uploaded.
    """
    with connected() as client:
        found = upload(client, file, name=name, **reading)
    _show(found)
    say(f"To learn a column of it: {command_line('train', found.id, '--target', 'COLUMN', '--model', 'NAME')}")


@datasets.command("show")
@click.argument("dataset_id", metavar="ID")
@client_options
def show_dataset(dataset_id: str) -> None:
    """
    \b
    Example:
      perceptron datasets show ds_17a014d9a331dafef8f101b1cfba4e2e

    Show the columns of a data set: their types, gaps, and whether they are used.
    """
    with connected() as client:
        _show(client.datasets.get(dataset_id))


@datasets.command("rows")
@click.argument("dataset_id", metavar="ID")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), help="How many rows to show.")
@client_options
def rows_of_dataset(dataset_id: str, limit: int) -> None:
    """
    \b
    Example:
      perceptron datasets rows ds_17a014d9a331dafef8f101b1cfba4e2e --limit 5

    Show the first rows of a data set.
    """
    with connected() as client:
        records = client.datasets.rows(dataset_id, limit=limit)
        names = [column.name for column in client.datasets.get(dataset_id).columns or ()]
    if this_call().is_json:
        print_json({"data": list(records)})
    else:
        print_table(names, [[record.get(name) for name in names] for record in records], are_columns=True)


@datasets.command("delete")
@click.argument("dataset_id", metavar="ID")
@yes_option
@client_options
def delete_dataset(dataset_id: str, is_sure: bool) -> None:
    """
    \b
    Examples:
      perceptron datasets delete ds_17a014d9a331dafef8f101b1cfba4e2e
      perceptron datasets delete ds_17a014d9a331dafef8f101b1cfba4e2e --yes

    Delete a data set. It cannot be undone. Models that were trained on it stay.
    """
    with connected() as client:
        found = client.datasets.get(dataset_id)
        confirm(f"Delete the data set {found.name} with {found.rows} rows?", is_sure=is_sure)
        client.datasets.delete(dataset_id)
    say(f"{dataset_id} is deleted.")


def _show(dataset: Dataset) -> None:
    if this_call().is_json:
        print_json(dataset.raw)
        return
    if sys.stdout.isatty():
        print_facts([("data set", dataset.id), ("name", dataset.name), ("rows", dataset.rows)])
        click.echo()
    rows: list[tuple[Any, ...]] = []
    for column in dataset.columns or ():
        distinct = column.raw.get("distinct", column.raw.get("n_categories"))
        codes = ", ".join(notice.code for notice in column.warnings)
        rows.append((column.name, column.type, column.nulls, distinct, column.use, codes))
    print_table(("Column", "Type", "Missing", "Distinct", "Used", "Warnings"), rows)
    for notice in dataset.warnings:
        warn(notice.detail)


COMMANDS = {"datasets": datasets}
