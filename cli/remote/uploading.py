"""Upload a table that the user names by a path, or sends to standard input."""

import csv
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.options import this_call
from cli.output import is_terminal
from perceptron_client import Client
from perceptron_client.answers.datasets import Dataset
from perceptron_client.bodies.uploads import MEDIA_TYPES

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

FORMATS = {"csv": ".csv", "tsv": ".tsv", "parquet": ".parquet", "arrow": ".arrow", "npy": ".npy", "npz": ".npz"} | {
    "json": ".json",
    "jsonl": ".jsonl",
}
_OF_ARROW_FILES = b"ARROW1"
_LONG_BYTES = 4_000_000


def reading_options(command: Decorated) -> Decorated:
    """Add what says how a file is to be read."""
    option: Any = partial(click.option, default=None)
    for add in (
        option("--format", "file_format", type=click.Choice([*FORMATS]), help="Else that of the file's ending."),
        option("--delimiter", help="Of text: , ; | or tab; else it is found out."),
        option("--decimal", type=click.Choice([".", ","]), help="The decimal mark of text."),
        option("--header", type=click.Choice(["present", "absent"]), help="Whether the first line has the names."),
        option("--null-values", metavar="TEXTS", help="What else is a missing value, with commas: -999,unknown."),
        option("--charset", help="Of text that is not UTF-8, for example latin-1."),
        option("--types", "types", multiple=True, metavar="COLUMN=TYPE", help="numeric, boolean, categorical or date."),
    ):
        command = add(command)
    return command


def upload(
    client: Client, file: str, *, name: str | None = None, file_format: str | None, types: Iterable[str], **reading: Any
) -> Dataset:
    """Upload a file, or standard input for `-`, with a bar on a terminal.

    Raises:
        click.UsageError: nothing says which format it has.
        OSError: it cannot be read.
    """
    options = {**reading, "name": name, "types": types_of(types)}
    media_type = MEDIA_TYPES[FORMATS[file_format]] if file_format else None
    if file == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise OSError(9, os.strerror(9))
        if is_terminal(sys.stdin):
            raise click.UsageError("name a file, or send one to standard input")
        return client.datasets.upload(sys.stdin.buffer, media_type=media_type or "text/csv", **options)
    path = Path(file)
    with path.open("rb") as opened:
        is_arrow_file = opened.read(len(_OF_ARROW_FILES)) == _OF_ARROW_FILES
    if is_arrow_file:
        import pyarrow as pa

        with pa.memory_map(file) as mapped:
            return client.datasets.upload(pa.ipc.open_file(mapped).read_all(), **{**options, "name": name or path.name})
    if media_type is None and _ending(path) not in MEDIA_TYPES:
        known = ", ".join(MEDIA_TYPES)
        raise click.UsageError(f"the ending of {file} says no format ({known} do): name it with --format")
    is_long = path.stat().st_size > _LONG_BYTES
    is_shown = is_long and is_terminal(sys.stderr) and not this_call().is_quiet
    return client.datasets.upload(path, media_type=media_type, progress=is_shown, **options)


def upload_without_gaps(client: Client, file: str, dataset: Dataset, target: str, **options: Any) -> Dataset:
    """Upload a file again, without the rows whose target is missing; the same data set if there are none.

    Args:
        dataset: the whole file, as the service read it.
        options: those of `reading_options`.

    Raises:
        click.UsageError: standard input is gone, or its first line is no header.
    """
    column = next((each for each in dataset.columns or () if each.name == target), None)
    if column is None or column.nulls == 0:
        return dataset
    if file == "-" or options["header"] == "absent":
        raise click.UsageError("--skip-missing needs a file with a header")
    from cli.remote.gaps import without_gaps

    kind = options["file_format"] or next(
        name for name, ending in FORMATS.items() if MEDIA_TYPES[ending] == MEDIA_TYPES[_ending(Path(file))]
    )
    with without_gaps(
        Path(file), kind, dataset, target, charset=options["charset"], null_values=options["null_values"]
    ) as copy:
        media_type = MEDIA_TYPES[FORMATS["arrow" if kind == "parquet" else kind]]
        is_text = kind in ("csv", "tsv")
        return client.datasets.upload(
            copy,
            media_type=media_type,
            name=Path(file).name,
            types=types_of(options["types"]),
            delimiter=dataset.raw.get("delimiter") if is_text else None,
            decimal=options["decimal"],
            null_values=options["null_values"],
        )


def types_of(texts: Iterable[str]) -> dict[str, str] | None:
    """Read `column=type`, several of them separated by commas.

    Raises:
        click.UsageError: one is not of this form.
    """
    types = {}
    for entry in names_of(texts) or ():
        column, mark, kind = entry.rpartition("=")
        if not mark or not column:
            raise click.UsageError(f"--types must be like store=categorical, not {entry!r}")
        types[column] = kind
    return types or None


def names_of(texts: Iterable[str]) -> list[str] | None:
    """Read names of columns, several of them separated by commas; one that has a comma is in double quotes."""
    names = [name.strip() for record in csv.reader(texts, skipinitialspace=True) for name in record]
    return [name for name in names if name] or None


def _ending(path: Path) -> str:
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in (".gz", ".zst", ".zstd"):
        endings.pop()
    return endings[-1] if endings else ""
