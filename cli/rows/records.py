"""Records of delimited text: its characters, where records end, and what the first ones say."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO

import numpy as np

from cli.rows.taken import RowsError

MAX_RECORD_BYTES = 2**24

_SAMPLE_BYTES = 2**18
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def decoded(file: IO[bytes], source: str, charset: str | None, block_bytes: int) -> Iterator[bytes]:
    """Yield a file as UTF-8, without the mark of its beginning."""
    first = file.read(4)
    charset = charset or next((name for mark, name in _MARKS.items() if first.startswith(mark)), None)
    if charset is None:
        if first.startswith(codecs.BOM_UTF8):
            first = first[len(codecs.BOM_UTF8) :]
        yield first
        while chunk := file.read(block_bytes):
            yield chunk
        return
    try:
        "".encode(charset)  # some codecs are none of text
        decoder = codecs.getincrementaldecoder(charset)()
    except LookupError:
        raise RowsError(f"there is no charset {charset!r}: utf-8, utf-16, latin-1 and cp1252 are some") from None
    chunk = first
    while chunk:
        try:
            yield decoder.decode(chunk).lstrip("\ufeff" if chunk is first else "").encode()
        except UnicodeError as error:
            raise RowsError(f"{source} is not {charset}: {error}") from error
        chunk = file.read(block_bytes)


def first_records(head: bytes, delimiter: str, newline: bytes, source: str) -> tuple[list[str], list[str] | None, int]:
    """Return the cells of the first two records, and how many bytes the first one takes."""
    csv.field_size_limit(MAX_RECORD_BYTES)
    sample = head if end_of_records(head[:_SAMPLE_BYTES], newline) == 0 else head[:_SAMPLE_BYTES]
    reader = csv.reader(io.StringIO(sample.decode(errors="replace"), newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    n_lines = 0
    try:
        for record in reader:
            if not found:
                n_lines = reader.line_num
            if record:
                found.append(record)
            if len(found) == 2:
                break
    except csv.Error as error:
        if not found:
            raise RowsError(f"{source}, line {reader.line_num}: {error}") from error
    ends = [match.end() for match in re.finditer(re.escape(newline), sample)][:n_lines]
    n_bytes = ends[-1] if len(ends) == n_lines else len(sample)
    return found[0] if found else [""], found[1] if len(found) > 1 else None, n_bytes


def is_all_text(cells: Sequence[str]) -> bool:
    """Whether no cell is a number and one is a text, as in a header."""
    for cell in cells:
        with suppress(ValueError):
            float(cell)
            return False
    return any(cells)


def has_record(text: bytes) -> bool:
    """Whether at least one record ends, whatever ends a line."""
    return any(end_of_records(text, newline) for newline in (b"\n", b"\r"))


def end_of_records(text: bytes, newline: bytes) -> int:
    """Return where the last whole record ends; 0: none does. A line break within quotes ends none."""
    if b'"' not in text:
        return text.rfind(newline) + 1
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(codes == newline[0])
    n_quotes_before = np.searchsorted(np.flatnonzero(codes == ord('"')), ends)
    outside = ends[n_quotes_before % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def line_of_record(text: bytes, row: int, delimiter: str) -> int:
    """Return how many lines come before a record that is not empty."""
    reader = csv.reader(io.StringIO(text.decode(errors="replace"), newline=""), delimiter=delimiter)
    before = 0
    for record in reader:
        if record:
            if row == 0:
                return before
            row -= 1
        before = reader.line_num
    return before
