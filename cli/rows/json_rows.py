"""JSON and JSON lines: records, or lists of values in the order of the columns."""

import json
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from cli.rows.blocks import MAX_ROWS, Block
from cli.rows.taken import RowsError

_BLOCK_BYTES = 2**22
_MAX_LINE_BYTES = 2**24
_MAX_JSON_BYTES = 2**28


class JsonRows:
    """Records or lists of values, one on each line, or all in one list."""

    ignored: list[str] = []  # the service counts them in its warnings  # noqa: RUF012

    def __init__(self, file: IO[bytes], source: str, *, is_list: bool) -> None:
        self._file, self._source, self._is_list = file, source, is_list

    def __iter__(self) -> Iterator[Block]:
        rows: list[Any] = []
        first, n_bytes = 0, 0
        for row, n_row_bytes in self._in_list() if self._is_list else self._in_lines():
            rows.append(row)
            n_bytes += n_row_bytes
            if n_bytes >= _BLOCK_BYTES or len(rows) >= MAX_ROWS:
                yield Block(rows, first)
                first, rows, n_bytes = first + len(rows), [], 0
        if rows:
            yield Block(rows, first)

    def _in_lines(self) -> Iterator[tuple[Any, int]]:
        number = 0
        while line := self._file.readline(_MAX_LINE_BYTES):
            number += 1
            if len(line) >= _MAX_LINE_BYTES:
                raise RowsError(f"{self._source}, line {number}, has more than {_MAX_LINE_BYTES // 2**20} MB")
            if line.strip():
                yield self._checked(self._parsed(line, f"line {number}"), f"line {number}"), len(line)

    def _in_list(self) -> Iterator[tuple[Any, int]]:
        text = self._file.read(_MAX_JSON_BYTES + 1)
        if len(text) > _MAX_JSON_BYTES:
            raise RowsError(
                f"{self._source} has more than {_MAX_JSON_BYTES // 2**20} MB of JSON: write one record on each line, "
                "and say --format jsonl"
            )
        rows = self._parsed(text, "it")
        if not isinstance(rows, list):
            raise RowsError(f"{self._source} must be a list of records")
        for number, row in enumerate(rows, 1):
            yield self._checked(row, f"row {number}"), len(text) // len(rows)

    def _parsed(self, text: bytes, where: str) -> Any:
        def refuse(token: str) -> NoReturn:
            raise ValueError(f"{token} is no JSON")

        try:
            return json.loads(text, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            raise RowsError(f"{self._source}: {where} is no JSON: {str(error)[:200]}") from error

    def _checked(self, row: Any, where: str) -> Any:
        if not isinstance(row, dict | list):
            raise RowsError(f"{self._source}: {where} must be a record or a list of values")
        return row
