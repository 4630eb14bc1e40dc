"""Which delimiter a file of text has, and what the names of its columns are."""

from collections.abc import Sequence
from itertools import islice

from service.datasets.cells import is_plain_number
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.sources.records import Dialect
from service.http.errors import TableError
from storage.datasets.categories import trim
from storage.datasets.schema import TableWarning

DELIMITERS = ",;\t|"

_SAMPLE_RECORDS = 1_000
_SAMPLE_BYTES = 2**18


def find_delimiter(text: bytes, *, is_whole: bool, options: ReadOptions, newline: bytes) -> str:
    """Find the delimiter on which all records at the start of a file agree.

    Of several, it is the one that gives the most columns. If the records agree on none, it is the one on which most
    agree with the first, so that the error names a record that does not fit; else a comma.
    """
    is_whole &= len(text) <= _SAMPLE_BYTES
    best, best_key = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        if delimiter == options.decimal:
            continue
        widths = _widths(text[:_SAMPLE_BYTES], Dialect(delimiter.encode(), newline))
        if not is_whole and len(widths) > 2:
            widths.pop()
        first, others = widths[0], widths[1:]
        if first < 2:
            continue
        if all(width == first + 1 for width in others):
            agreeing = 1.0
        else:
            agreeing = sum(width == first for width in others) / len(others)
        key = (agreeing, first) if agreeing else (0.0, first)
        if key > best_key:
            best, best_key = delimiter, key
    return best


def _widths(text: bytes, dialect: Dialect) -> list[int]:
    if b'"' in text:
        return [len(record.fields) for record in islice(dialect.records(text), _SAMPLE_RECORDS)] or [1]
    lines = (line for line in text.splitlines() if line)
    return [line.count(dialect.delimiter) + 1 for line in islice(lines, _SAMPLE_RECORDS)] or [1]


def read_header(fields: Sequence[bytes]) -> tuple[tuple[str, ...], list[TableWarning]]:
    """Read the names of a header of text, some of which may be empty.

    Raises:
        TableError: two are the same.
    """
    names, warnings = _trimmed([field.decode() for field in fields])
    warnings += check_names(names)
    if numbers := [name for name in names if is_plain_number(name)]:
        detail = f"the first record is the header, but {numbers[0]!r} is a number; header=absent makes it a row"
        warnings.append(TableWarning("header_looks_like_data", detail))
    return names, warnings


def checked_names(written: Sequence[str]) -> tuple[tuple[str, ...], list[TableWarning]]:
    """Read the names of columns that must all have one.

    Raises:
        TableError: there is no column, one has no name, or two have the same.
    """
    names, warnings = _trimmed(written)
    if not all(names) or not names:
        position = next((i for i, name in enumerate(names) if not name), 0)
        detail = f"the column at position {position} (from 0) has no name" if names else "the table has no column"
        raise TableError("empty_name", detail, more={"position": position})
    return names, warnings + check_names(names)


def _trimmed(written: Sequence[str]) -> tuple[tuple[str, ...], list[TableWarning]]:
    names = tuple(map(trim, written))
    changed = next((name for name, was in zip(names, written, strict=True) if name != was), None)
    if changed is None:
        return names, []
    return names, [TableWarning("names_trimmed", f"blanks around names were removed, such as for {changed[:100]!r}")]


def check_names(names: Sequence[str]) -> list[TableWarning]:
    """Check that each name that is not empty is there once, and warn if two differ only in case.

    Raises:
        TableError: two are the same.
    """
    seen: set[str] = set()
    twice: dict[str, None] = {}
    folded: dict[str, str] = {}
    warnings: list[TableWarning] = []
    for name in filter(None, names):
        if name in seen:
            twice[name] = None
        elif (other := folded.setdefault(name.casefold(), name)) != name and not warnings:
            detail = f"the names {other[:100]!r} and {name[:100]!r} differ only in case"
            warnings.append(TableWarning("names_differ_in_case", detail))
        seen.add(name)
    if twice:
        shown = [name[:100] for name in twice][:20]
        detail = f"each column needs a name of its own; there is more than one {shown[0]!r}"
        raise TableError("duplicate_names", detail, more={"names": shown})
    return warnings
