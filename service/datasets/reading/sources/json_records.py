"""Records in JSON: a list of objects, or an object on each line. Numbers are exact, and a string is never a number."""

import codecs
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import pyarrow as pa

from service.datasets.cells import LARGEST_WHOLE
from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.characters import Characters
from service.datasets.reading.sources.content import check_columns, check_rows
from service.datasets.reading.sources.header import checked_names
from service.datasets.reading.sources.source import Array, Block, Heading, Kind, Mixture
from service.http.errors import TableError
from storage.datasets.categories import canonical_category, trim

_BLOCK_CHARACTERS = 2**20
_BLANKS = " \t\r\n"


@dataclass
class _Met:
    """What the values of a column are."""

    n_numbers: int = 0
    n_booleans: int = 0
    n_texts: int = 0
    has_large: bool = False
    """whether a whole number is not exact in float64"""
    nested: str | None = None
    first_other: tuple[int, str] | None = None
    """the first row, and its text, without a number"""

    def add(self, value: object, row: int) -> None:
        match value:
            case None:
                return
            case bool():
                self.n_booleans += 1
            case int():
                self.n_numbers += 1
                self.has_large |= not -LARGEST_WHOLE < value < LARGEST_WHOLE
                return
            case float():
                self.n_numbers += 1
                return
            case str():
                if not trim(value):
                    return  # missing
                self.n_texts += 1
            case _:
                self.nested = self.nested or ("list" if isinstance(value, list) else "object")
                return
        if self.first_other is None:
            self.first_other = (row, canonical_category(value) or "")

    @property
    def kind(self) -> Kind:
        if self.n_numbers and not (self.n_texts or self.n_booleans):
            return "cells" if self.has_large else "number"
        return "boolean" if self.n_booleans and not (self.n_texts or self.n_numbers) else "text"


@dataclass(frozen=True)
class JsonRecords:
    """Records in JSON. A key that a record does not have is a missing value."""

    characters: Characters
    limits: TableLimits
    is_lines: bool

    @cached_property
    def _met(self) -> dict[str, _Met]:
        met: dict[str, _Met] = {}
        for row, record in enumerate(self._records()):
            for key, value in record.items():
                if (of_key := met.get(key)) is None:
                    of_key = met[key] = _Met()
                    check_columns(len(met), self.limits)
                of_key.add(value, row)
        return met

    @cached_property
    def heading(self) -> Heading:
        """The keys of all records, in the order of their appearance.

        Raises:
            TableError: it is no JSON, there is no record, or a value is a list or an object.
        """
        nested = {key: met.nested for key, met in self._met.items() if met.nested is not None}
        if nested:
            first = next(iter(nested))
            detail = (
                f"a value is a number, a boolean, a text or null, but {first[:100]!r} has one that is no such value"
            )
            raise TableError("unsupported_type", detail, more={"columns": list(nested), "types": list(nested.values())})
        if not self._met:
            raise TableError("no_rows", "there is no record with a value")
        names, warnings = checked_names(list(self._met))
        mixtures = {
            i: Mixture(met.n_numbers, *met.first_other)
            for i, met in enumerate(self._met.values())
            if met.n_numbers and met.first_other is not None
        }
        kinds = tuple(met.kind for met in self._met.values())
        return Heading(names, kinds, (*self.characters.warnings, *warnings), mixtures=mixtures)

    def blocks(self) -> Iterator[Block]:
        """Read all records.

        Raises:
            TableError: it is no JSON.
        """
        kinds = {key: met.kind for key, met in self._met.items()}
        records: list[dict[str, Any]] = []
        for record in self._records():
            records.append(record)
            if len(records) * len(kinds) >= _BLOCK_CHARACTERS // 16:
                yield _block(records, kinds)
                records = []
        if records:
            yield _block(records, kinds)

    def _records(self) -> Iterator[dict[str, Any]]:
        row = -1
        for row, record in enumerate(self._lines() if self.is_lines else self._items()):
            check_rows(row + 1, self.limits)
            yield record

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        n_bytes = n_lines = 0
        try:
            for chunk in self.characters.chunks():
                text = decoder.decode(chunk)
                n_bytes += len(chunk)
                n_lines += text.count("\n")
                yield text
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            offset = self.characters.n_mark_bytes + n_bytes + error.start
            detail = f"the file is not UTF-8 near byte {offset}, after line {n_lines + 1}"
            raise TableError("not_utf8", detail, line=n_lines + 1, more={"offset": offset}) from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        line = row = 0
        rest = ""
        for text in _and_newline(self._texts()):
            *lines, rest = (rest + text).split("\n")
            if len(rest) > self.limits.max_line_bytes:
                self._refuse_long(row, line + len(lines) + 1)
            for one in lines:
                line += 1
                if not one.strip(_BLANKS):
                    continue
                record, end = _decode(one, len(one) - len(one.lstrip(_BLANKS)), row, line)
                if one[end:].strip(_BLANKS):
                    _refuse("something follows the object", row, line)
                yield record
                row += 1
        if row == 0:
            raise TableError("empty_file", "the file is empty")

    def _items(self) -> Iterator[dict[str, Any]]:
        texts = self._texts()
        text, position, row, line = "", 0, 0, 1
        expected = "["  # then a record or the end, then a comma or the end
        for more in texts:
            line += text.count("\n", 0, position)
            text, position = text[position:] + more, 0
            while True:
                position = _after_blanks(text, position)
                if position == len(text):
                    break
                character = text[position]
                if expected in ("[", ",]", ""):
                    if not expected or character not in expected:
                        wanted = f"expected {' or '.join(expected)}" if expected else "the list is complete"
                        code = "not_records" if expected == "[" and character == "{" else "malformed_json"
                        where = line + text.count("\n", 0, position)
                        raise TableError(code, f"{wanted} in line {where}, not {character!r}", line=where)
                    position += 1
                    expected = {"[": "{]", ",": "{"}.get(character, "")
                elif character == "]" and expected == "{]":
                    position, expected = position + 1, ""
                else:
                    try:
                        record, position = _decode(text, position, row, line)
                    except TableError:
                        if len(text) - position > self.limits.max_line_bytes:
                            raise
                        break  # it may go on in the next text
                    yield record
                    row += 1
                    expected = ",]"
        rest = _after_blanks(text, position)
        if expected == "[" and rest == len(text):
            raise TableError("empty_file", "the file is empty")
        if rest < len(text):
            _decode(text, rest, row, line)
        if expected:
            _refuse("the list does not end", row, line + text.count("\n"))

    def _refuse_long(self, row: int, line: int) -> NoReturn:
        limit = self.limits.max_line_bytes
        detail = f"a record may have at most {limit} bytes (MAX_LINE_BYTES); row {row} has more"
        raise TableError("field_too_long", detail, row=row, line=line, more={"limit": limit})


class _DuplicateKeyError(ValueError):
    """Two members of an object have the same name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _DuplicateKeyError("an object has a key twice")
    return record


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _decode(text: str, start: int, row: int, line: int) -> tuple[dict[str, Any], int]:
    """Read one record, and say where it ends.

    Args:
        line: of the file, where the text begins.
    """
    if text[start] != "{":
        line += text.count("\n", 0, start)
        if text[start] in "]},":
            _refuse(f"{text[start]!r} is not expected here", row, line)
        raise TableError("not_records", f"row {row} (line {line}) is not an object", row=row, line=line)
    try:
        record, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        _refuse(error.msg, row, line + text.count("\n", 0, error.pos), error)
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        _refuse(what, row, line + text.count("\n", 0, start), error)
    if text.find("\\u", start, end) >= 0:
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            _refuse("half of a pair of surrogates is no text", row, line + text.count("\n", 0, start), error)
    return record, end


def _refuse(what: str, row: int, line: int, error: Exception | None = None) -> NoReturn:
    detail = f"row {row} (line {line}) is not valid JSON: {what}"
    raise TableError("malformed_json", detail[:300], row=row, line=line) from error


def _after_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANKS:
        position += 1
    return position


def _and_newline(texts: Iterator[str]) -> Iterator[str]:
    yield from texts
    yield "\n"


def _block(records: Sequence[dict[str, Any]], kinds: dict[str, Kind]) -> Block:
    return Block([_array([record.get(key) for record in records], kind) for key, kind in kinds.items()], len(records))


def _array(values: list[Any], kind: Kind) -> Array:
    match kind:
        case "number":
            return pa.array([None if isinstance(value, str) else value for value in values], pa.float64())
        case "boolean":
            return pa.array([None if isinstance(value, str) else value for value in values], pa.bool_())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if isinstance(value, float) and abs(value) == float("inf"):
        return str(value)
    return value if isinstance(value, str) else canonical_category(value)
