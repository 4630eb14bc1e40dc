"""`perceptron predict`: from the rows of a file to a file of predictions, block by block."""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from cli.commands.models import version_of
from cli.options import client_options, this_call
from cli.output import is_terminal, plain, print_json, say, warn
from cli.rows import answers, files
from cli.rows.answers import Answers, columns_of, opened_for_answers
from cli.rows.blocks import Block
from cli.rows.delimited import TextOptions
from cli.rows.taken import RowsError, Taken
from cli.session import connected
from perceptron_client import Client, errors
from perceptron_client.answers.models import Version
from perceptron_client.answers.predictions import Prediction

MAX_WARNINGS = 5
_POINTER = re.compile(r"(?:/instances)?/(\d+)(/.*)?")


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
        found = _in_turn(client, version, source, "standard input" if rows == "-" else rows, options["explain"])
        if this_call().is_json:
            print_json(_as_one(version, list(found)))
            return
        n_rows = _write(found, version, output, kind)
    place = "" if output == "-" else f" to {output}"
    say(f"{n_rows} prediction{'' if n_rows == 1 else 's'} of {version.model} version {version.version}{place}")


def _in_turn(
    client: Client, version: Version, source: files.Rows, name: str, is_explained: bool
) -> Iterator[Prediction]:
    """Yield the predictions block by block. While one request is under way, the next block is read."""
    told = _Warnings()

    def ask(block: Block) -> Prediction:
        try:
            return client.predict(version.model, block.rows, version=version.version, explain=is_explained)
        except errors.Invalid as error:
            raise RowsError(_explained(error, block.first_row, name)) from error

    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Prediction] | None = None
        first_row = 0
        for block in source:
            if waiting is not None:
                prediction = waiting.result()
                waiting = thread.submit(ask, block)
                told.tell(prediction, first_row)
                yield prediction
            else:
                waiting = thread.submit(ask, block)
            first_row = block.first_row
        if waiting is None:
            raise RowsError(f"{name} has no rows")
        prediction = waiting.result()
        told.tell(prediction, first_row)
        yield prediction
    told.end()


class _Warnings:
    """Tells the first warnings of the service, and how many more there are."""

    def __init__(self) -> None:
        self._n = 0

    def tell(self, prediction: Prediction, first_row: int) -> None:
        for notice in prediction.warnings:
            if self._n < MAX_WARNINGS:
                warn(f"{_place(notice.pointer or '', first_row)}{plain(notice.detail)}")
            self._n += 1

    def end(self) -> None:
        if self._n > MAX_WARNINGS:
            warn(f"and {self._n - MAX_WARNINGS} more warnings")


def _explained(error: errors.Invalid, first_row: int, name: str) -> str:
    faults = [f"{_place(fault.pointer, first_row)}{fault.detail}" for fault in error.errors[:MAX_WARNINGS]]
    return f"{name}: {'; '.join(faults) or error.detail}"


def _place(pointer: str, first_row: int) -> str:
    """Return where in the file a JSON pointer into a block leads."""
    found = _POINTER.fullmatch(pointer)
    if found is None:
        return f"{pointer}: " if pointer else ""
    return f"row {first_row + int(found[1]) + 1}: "


def _write(found: Iterator[Prediction], version: Version, output: str, kind: str) -> int:
    """Write the predictions as they come, and return how many there are."""
    with opened_for_answers(output, kind) as file:
        writer = Answers(file, kind)
        for prediction in found:
            writer.write(_columns(prediction, version), prediction.outputs)
        writer.finish()
        return writer.n_rows


def _columns(prediction: Prediction, version: Version) -> dict[str, Any]:
    outputs = prediction.outputs
    classes = version.task.get("classes") or []
    n_outputs = outputs.shape[1]
    if n_outputs == 1:
        names = ["output"]
    elif len(classes) == n_outputs:
        names = [f"output_{each}" for each in classes]
    else:
        names = [f"output_{k}" for k in range(n_outputs)]
    predictions = prediction.predictions if prediction.predictions.ndim == 1 else None
    columns = columns_of(predictions, outputs, names)
    if prediction.contributions is not None:
        columns |= _contributions(prediction.contributions, version, names)
        bases = np.broadcast_to(np.atleast_1d(np.asarray(prediction.base)), outputs.shape)
        columns |= {name.replace("output", "base", 1): bases[:, k].copy() for k, name in enumerate(names)}
    return columns


def _contributions(contributions: NDArray[np.float64], version: Version, outputs: list[str]) -> dict[str, Any]:
    """Return a column for each column of the table, and with several outputs for each of them."""
    inputs = Taken.of(version.raw).names
    if contributions.ndim == 2:
        return {f"contribution_{name}": contributions[:, j] for j, name in enumerate(inputs)}
    return {
        f"contribution_{name}_{output.removeprefix('output_')}": contributions[:, k, j]
        for k, output in enumerate(outputs)
        for j, name in enumerate(inputs)
    }


def _as_one(version: Version, parts: list[Prediction]) -> dict[str, Any]:
    """Return all predictions as one answer of `POST /predict`."""
    answer: dict[str, Any] = {
        "model": version.model,
        "version": version.version,
        "outputs": [row for part in parts for row in part.outputs.tolist()],
        "predictions": [each for part in parts for each in part.predictions.tolist()],
    }
    if all(part.contributions is not None for part in parts):
        answer["contributions"] = [row for part in parts for row in np.asarray(part.contributions).tolist()]
        answer["base"] = parts[0].raw.get("base")
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
