"""Server-sent events: from the text of a stream to the JSON of its events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from perceptron_client.errors import UnexpectedAnswer


class EventReader:
    """Takes a stream piece by piece. Lines end at a line feed alone: other line ends may be within a text."""

    def __init__(self) -> None:
        self._rest = ""
        self._data: list[str] = []

    def feed(self, text: str) -> Iterator[dict[str, Any]]:
        """Yield the events that the text completes.

        Raises:
            UnexpectedAnswer: an event is no JSON object.
        """
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            line = line.removesuffix("\r")
            if line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
            elif not line and self._data:
                whole, self._data = "\n".join(self._data), []
                yield _object(whole)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        raise UnexpectedAnswer(f"an event of the stream is no JSON object: {text[:80]!r}")
    return value
