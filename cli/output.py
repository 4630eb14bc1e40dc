"""What a command prints: data on stdout, everything else on stderr.

On a terminal a table is aligned and coloured. Elsewhere its cells are separated by tabs, without colour, and nothing is
cut off.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from cli.options import this_call

STATE_COLOURS = {
    "succeeded": "green",
    "ok": "green",
    "running": "cyan",
    "queued": "blue",
    "failed": "red",
    "problem": "red",
    "warning": "yellow",
    "cancelled": "yellow",
}

# A name may hold anything, also what moves the cursor of a terminal or breaks a line of a table.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))} | {9: "\\t", 10: "\\n", 13: "\\r"}
_CONTROLS_IN_LINES = {code: text for code, text in _CONTROLS.items() if code != 10}


def harmless(text: str) -> str:
    """Return a text of several lines without other control characters."""
    return text.translate(_CONTROLS_IN_LINES)


def plain(value: object) -> str:
    """Return the text of a cell: without control characters, numbers in a short form."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
    return str(value).translate(_CONTROLS)


def has_colour(stream: Any) -> bool:
    """Whether the stream is a terminal that may show colours."""
    if this_call().is_plain or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def is_terminal(stream: Any) -> bool:
    """Whether a person reads the stream, or types into it; False if it is closed."""
    return stream is not None and not stream.closed and bool(stream.isatty())


def say(message: str) -> None:
    """Tell something that is no data; --quiet leaves it out."""
    if not this_call().is_quiet:
        click.echo(harmless(message), err=True)


def warn(message: str) -> None:
    """Tell what the user must know, also with --quiet."""
    word = click.style("warning:", fg="yellow") if has_colour(sys.stderr) else "warning:"
    click.echo(f"{word} {harmless(message)}", err=True, color=True)


def print_json(value: Any) -> None:
    """Print one JSON document, indented for people."""
    click.echo(json.dumps(value, indent=2 if is_terminal(sys.stdout) else None, allow_nan=False))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, are_columns: bool = False) -> None:
    """Print a table. A cell that names a state has a colour on a terminal.

    Args:
        are_columns: the headers are the columns of a user's table, so they stay as they are.
    """
    headers = [plain(name) for name in headers]
    texts = [[plain(cell) for cell in row] for row in rows]
    if not is_terminal(sys.stdout):
        names = headers if are_columns else [name.lower().replace(" ", "_") for name in headers]
        for row in (names, *texts):
            click.echo("\t".join(row))
        return
    from tabulate import tabulate

    if has_colour(sys.stdout):
        texts = [[_coloured(cell) for cell in row] for row in texts]
        headers = [click.style(name, bold=True) for name in headers]
    is_number = [
        bool(rows) and all(isinstance(row[k], int | float | None) for row in rows) for k in range(len(headers))
    ]
    sides = ["right" if each else "left" for each in is_number]
    click.echo(tabulate(texts, headers, tablefmt="plain", disable_numparse=True, colalign=sides), color=True)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print one thing: a name and a value in each line, without those that are None."""
    known = [(plain(name), plain(value)) for name, value in facts if value is not None]
    if not is_terminal(sys.stdout):
        for name, text in known:
            click.echo(f"{name}\t{text}")
        return
    width = max((len(name) for name, _ in known), default=0)
    for name, text in known:
        is_coloured = has_colour(sys.stdout)
        label = f"{name:<{width}}"
        label, text = (click.style(label, bold=True), _coloured(text)) if is_coloured else (label, text)
        click.echo(f"{label}  {text}", color=True)


def _coloured(text: str) -> str:
    return click.style(text, fg=STATE_COLOURS[text]) if text in STATE_COLOURS else text
