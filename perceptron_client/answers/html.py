"""The HTML of answers in notebooks. Names and texts are untrusted, so every cell is escaped."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

MAX_ROWS = 50
"""How many rows of a table are shown."""


def cell(value: Any) -> str:
    """Return a value as escaped text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return escape(f"{value:.6g}")
    if isinstance(value, datetime):
        return escape(value.isoformat(sep=" ", timespec="seconds"))
    text = str(value)
    return escape(text if len(text) <= 300 else f"{text[:299]}…")


def card(title: str, rows: Mapping[str, Any]) -> str:
    """Return a title and a table of names and values; empty values are left out."""
    lines = [
        f"<tr><th style='text-align:left'>{cell(name)}</th><td style='text-align:left'>{cell(value)}</td></tr>"
        for name, value in rows.items()
        if value is not None and value != ""
    ]
    return f"<div><strong>{cell(title)}</strong><table>{''.join(lines)}</table></div>"


def table(names: Sequence[str], rows: Sequence[Sequence[Any]], n_rows: int | None = None) -> str:
    """Return a table of the first rows.

    Args:
        n_rows: how many there are, if not all of them are given.
    """
    head = "".join(f"<th>{cell(name)}</th>" for name in names)
    lines = ["<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows[:MAX_ROWS]]
    rest = (len(rows) if n_rows is None else n_rows) - len(lines)
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}"


def figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that are single values."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float | str)}


def notices(warnings: Sequence[Any]) -> dict[str, Any]:
    """Return warnings as one cell."""
    return {"warnings": "; ".join(f"{each.code}: {each.detail}" for each in warnings)}
