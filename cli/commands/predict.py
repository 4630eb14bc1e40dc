"""`perceptron predict`: from the rows of a file to a file of predictions, block by block."""

import os
import sys
from contextlib import ExitStack
from typing import Any

import click
import pyarrow as pa

from cli.commands.models import version_of
from cli.options import client_options, this_call
from cli.output import is_terminal, plain, print_json, say
from cli.remote.session import connected
from cli.rows import answers, files
from cli.rows.answers import Answers, opened_for_answers
from cli.rows.asking import Answered, Questions, output_names
from cli.rows.delimited import TextOptions
from cli.rows.taken import Taken
from perceptron_client.answers.models import Version


@click.command()
@click.argument("model", metavar="MODEL[@VERSION|@ALIAS]")
@click.argument("rows", metavar="[ROWS]", default="-")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write; - is standard output.")
@click.option("--version", "number", type=click.IntRange(1), help="The version; else the latest.")
@click.option("--alias", "name", metavar="NAME", help="An alias that names the version.")
@click.option("--explain", is_flag=True, help="Add what each column contributes to the output, before its activation.")
@click.option("--format", "file_format", type=click.Choice(files.FORMATS), help="Of ROWS; else that of its ending.")
@click.option("--to", "output_format", type=click.Choice(answers.FORMATS), help="Of FILE; else that of its ending.")
@click.option("--delimiter", help="Of text: , ; | or tab; else it is found out.")
@click.option("--decimal", default=".", type=click.Choice([".", ","]), help="The decimal mark of text.")
@click.option("--header", type=click.Choice(["present", "absent"]), help="Whether the first line has the names.")
@click.option("--charset", help="Of text that is not UTF-8, for example latin-1.")
@client_options
def predict(model: str, rows: str, output: str, number: int | None, name: str | None, **options: Any) -> None:
    """
    \b
    Examples:
      perceptron predict planes rows.csv -o answers.csv
      perceptron predict planes@production rows.parquet -o answers.parquet
      cat rows.jsonl | perceptron predict planes --format jsonl > answers.csv
      perceptron predict planes rows.csv --explain

    Predict for the rows of a file: one line for each row, in the same order.

    The answer has a column prediction, and the outputs of the network: one, or one for each class. ROWS is CSV, TSV,
    JSON lines, JSON, Parquet, Arrow or npy; without it, standard input is read. Columns are found by their names, and
    others are ignored. Files of any size are read and answered block by block, all by one version.
    """
    if rows == "-" and is_terminal(sys.stdin):
        raise click.UsageError("name a file of rows, or send one to standard input")
    if "-" not in (rows, output) and os.path.realpath(rows) == os.path.realpath(output):
        raise click.UsageError(f"{output} holds the rows: name another file for the answers")
    text = TextOptions(
        _delimiter(options["delimiter"]),
        options["decimal"],
        None if options["header"] is None else options["header"] == "present",
        options["charset"],
    )
    kind = _output_format(output, options["output_format"])
    with ExitStack() as on_exit:
        client = on_exit.enter_context(connected())
        version = version_of(client, model, number, name)
        source = files.open_rows(rows, options["file_format"], Taken.of(version.raw), text, on_exit)
        if source.ignored:
            say(f"Columns that the model does not read: {', '.join(map(plain, source.ignored[:20]))}")
        name_of_rows = "standard input" if rows == "-" else rows
        questions = Questions(client, version, name_of_rows, is_explained=options["explain"])
        found = questions.answers(iter(source))
        if this_call().is_json:
            print_json(_as_one(version, list(found)))
            return
        with opened_for_answers(output, kind) as file:
            writer = Answers(file, kind, output_names(version))
            for answered in found:
                writer.write(answered.columns)
            writer.finish()
        n_rows = writer.n_rows
    place = "" if output == "-" else f" to {output}"
    say(f"{n_rows} prediction{'' if n_rows == 1 else 's'} of {version.model} version {version.version}{place}")


def _as_one(version: Version, answered: list[Answered]) -> dict[str, Any]:
    """Return all predictions as one answer of `POST /predict`."""
    tables = [pa.table(each.columns) for each in answered]
    columns = {name: [x for table in tables for x in table.column(name).to_pylist()] for name in tables[0].column_names}
    outputs = list(map(list, zip(*(columns[name] for name in output_names(version)), strict=True)))
    answer = {
        "model": version.model,
        "version": version.version,
        "outputs": outputs,
        "predictions": columns.get("prediction", outputs),
    }
    first, *others = (each.explanation for each in answered)
    for name, value in first.items():
        is_by_row = name != "base"
        answer[name] = [*value, *(row for other in others for row in other[name])] if is_by_row else value
    return answer


def _output_format(output: str, given: str | None) -> str:
    if given is not None or output == "-":
        return given or "csv"
    kind = files.format_of(output, None)
    if kind not in answers.FORMATS:
        raise click.UsageError(f"{output} would be {kind}: name one of {', '.join(answers.FORMATS)} with --to")
    return kind


def _delimiter(text: str | None) -> str | None:
    if text is None:
        return None
    delimiter = "\t" if text in ("tab", "\\t") else text
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.UsageError(f"--delimiter must be one character or 'tab', not {text!r}")
    return delimiter


COMMANDS = {"predict": predict}
