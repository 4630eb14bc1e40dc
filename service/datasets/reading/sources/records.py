"""Delimited text, cut into blocks of whole records.

A quote counts only where a field begins; elsewhere it is a character like others, as in `5" pipe`. pyarrow is given
whole records alone: cut elsewhere, it loses the line feed of a CRLF within quotes at the edge of two blocks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

_LF, _CR, _QUOTE, _SPACE, _TAB = b'\n\r" \t'


class Cut(NamedTuple):
    """Where the whole records at the start of some text end."""

    end: int
    """0: there is none"""
    open_quote: int | None
    """Where the quote is that opens a field whose end is not there."""


class Record(NamedTuple):
    """One record: where it begins, where the next one does, and its fields without quotes."""

    start: int
    end: int
    fields: list[bytes]


class StrayQuoteError(Exception):
    """Text follows a closing quote. Taken literally, a quote that is never closed would swallow records."""

    def __init__(self, position: int) -> None:
        super().__init__(f"at byte {position}")
        self.position = position


@dataclass(frozen=True)
class Dialect:
    """How records and fields are separated."""

    delimiter: bytes
    newline: bytes = b"\n"
    """or a carriage return, if the file has no line feed at all"""

    def cut(self, text: bytes) -> Cut:
        """Find the last end of a record in text that begins with a record.

        Raises:
            StrayQuoteError: something other than blanks follows a closing quote.
        """
        data = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(data == _QUOTE)
        if len(quotes) == 0:
            return Cut(text.rfind(self.newline) + 1, None)
        opening, closing = quotes[::2], quotes[1::2]
        separators = (self.delimiter[0], _LF, _CR, _QUOTE)
        # Every other quote opens a field, if each of them is where a field begins (or is the second one of a doubled
        # quote), and each of the others is where a field ends (or is the first one of a doubled quote).
        before = data[opening[opening > 0] - 1]
        after = data[closing[closing < len(data) - 1] + 1]
        if not (_are_among(before, separators) and _are_among(after, (*separators, _SPACE, _TAB))):
            return self._cut_one_by_one(text)
        open_quote = None
        if len(quotes) % 2:
            last = len(quotes) - 1
            while last and quotes[last] == quotes[last - 1] + 1:  # the second one of a doubled quote
                last -= 2
            open_quote = int(quotes[last])
        end = text.rfind(self.newline, 0, open_quote)
        while end >= 0 and (n_before := int(np.searchsorted(quotes, end))) % 2:  # within quotes
            end = text.rfind(self.newline, 0, int(quotes[n_before - 1]))
        return Cut(end + 1, open_quote)

    def _cut_one_by_one(self, text: bytes) -> Cut:
        opening = re.compile(rb"(?:\A|(?<=[\r\n" + re.escape(self.delimiter) + rb']))"')
        follows = b'\r\n \t"' + self.delimiter
        end = position = 0
        while match := opening.search(text, position):
            end = max(end, text.rfind(self.newline, position, match.start()) + 1)
            close = text.find(b'"', match.end())
            while close >= 0 and text[close + 1 : close + 2] == b'"':
                close = text.find(b'"', close + 2)
            if close < 0:
                return Cut(end, match.start())
            position = close + 1
            if position < len(text) and text[position] not in follows:
                raise StrayQuoteError(close)
        return Cut(max(end, text.rfind(self.newline, position) + 1), None)

    def records(self, text: bytes) -> Iterator[Record]:
        """Yield the records one by one: for headers, samples and errors.

        Empty lines are no records.
        """
        delimiter = re.escape(self.delimiter)
        field = re.compile(
            rb'(?:"([^"]*(?:""[^"]*)*)"[ \t]*|((?!")[^\r\n' + delimiter + rb"]*))(" + delimiter + rb"|\r\n|\n|\r|\Z)"
        )
        start = position = 0
        fields: list[bytes] = []
        while position < len(text) or fields:
            match = field.match(text, position)
            if match is None:
                return  # its quote is not closed, or text follows it
            is_empty_line = not fields and match[2] == b"" and match[3] != self.delimiter
            fields.append(match[2] if match[1] is None else match[1].replace(b'""', b'"'))
            position = match.end()
            if match[3] != self.delimiter:
                if not is_empty_line:
                    yield Record(start, position, fields)
                start, fields = position, []
                if match[3] == b"":
                    return

    def start_of_record(self, text: bytes, number: int) -> int:
        """Give where a record begins, from its number from 0."""
        return next(islice(self.records(text), number, None)).start


def _are_among(values: "np.ndarray[tuple[int], np.dtype[np.uint8]]", allowed: tuple[int, ...]) -> bool:
    is_allowed = np.zeros(256, bool)
    is_allowed[list(allowed)] = True
    return bool(is_allowed[values].all())
