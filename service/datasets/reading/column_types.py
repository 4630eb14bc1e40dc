"""Decides the type of a column when all of its values were met. Types come from here, whatever the file was."""

from dataclasses import dataclass, replace
from typing import NoReturn

from service.datasets.cells import boolean_of, is_plain_number
from service.datasets.reading.classes import Look
from service.datasets.reading.columns import ColumnReader, Reading
from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.source import Mixture
from service.datasets.reading.tally import Tally
from service.http.errors import TableError
from storage.datasets.schema import ColumnType, TableWarning

_NUMERIC = (Look.NUMBER, Look.EXPONENT_CODE, Look.NOT_FINITE)
_CODES = (Look.LEADING_ZEROS, Look.TOO_LARGE)
_NOT_TEXT = (*_NUMERIC, *_CODES, Look.NULL_SPELLING)

MIN_ROWS_OF_IDS = 20
MIN_SHARE_OF_IDS = 0.9
"""A column of categories with so many values names its rows, if so many of them differ: nothing is learned from it."""

MIN_SHARE_OF_NUMBERS = 0.9
"""Where so many values are numbers, the others are more likely faults than categories."""


@dataclass(frozen=True)
class Verdict:
    """The type of a column, and what to say of it."""

    type: ColumnType
    warnings: tuple[TableWarning, ...] = ()


def decide(name: str, column: ColumnReader, limits: TableLimits, mixture: Mixture | None = None) -> Verdict:
    """Give the type of a column. It does not depend on how the column was read, except that a column of numbers and
    texts is judged only once it was read as text.

    Raises:
        TableError: the values have no type together, or not the one asked for.
    """
    tally, asked = column.tally, column.rules.asked
    if tally.n_values == 0 and not tally.counts.any():
        return Verdict("empty")
    if asked in ("numeric", "boolean"):
        return _as_asked(name, column)
    if asked == "date":
        return Verdict("date")
    verdict = Verdict("categorical") if asked == "categorical" else _by_looks(name, column)
    if verdict.type == "categorical" and column.reading == "text":
        if (
            asked is None
            and mixture is None
            and tally.counts[Look.NUMBER]
            and tally.n_values > tally.number_of(*_NUMERIC, *_CODES)
        ):
            others = [look for look in Look if look not in _NOT_TEXT]
            mixture = Mixture(tally.number_of(*_NUMERIC), *tally.first_of(*others))
        if asked is None and mixture is not None:
            _check_mixture(name, mixture, column, limits)
            text = mixture.first_value[:60]
            detail = f"numbers and texts, such as {text!r} in row {mixture.first_row}, so its values are categories"
            detail += f"; null_values={text} makes that one missing"
            verdict = replace(verdict, warnings=(TableWarning("mixed_numbers_and_text", detail), *verdict.warnings))
        if column.rules.null_values is None and tally.spellings:
            spelling = next(iter(tally.spellings))
            detail = f"{spelling!r} was kept as a category; null_values={spelling} makes it missing"
            verdict = replace(verdict, warnings=(*verdict.warnings, TableWarning("null_spelling_kept", detail)))
    return verdict


def reading_of(verdict: Verdict, column: ColumnReader) -> Reading | None:
    """Give how a column of this type must be read; None: its values are all missing."""
    match verdict.type:
        case "empty":
            return None
        case "numeric":
            return "number"
        case "boolean" if column.rules.kind == "boolean" and column.rules.asked is None:
            return "boolean"
    return "text"


def uselessness(column: ColumnReader, limits: TableLimits) -> TableWarning | None:
    """Say why categories are too many to learn from; None: they are not."""
    levels, n_values = column.levels, int(column.tally.counts.sum())
    if levels.has_long_text:
        return TableWarning("high_cardinality", "has texts too long for categories; it is not used")
    if not levels.is_complete or levels.n_levels > limits.max_categories:
        n_levels = levels.n_levels if levels.is_complete else "too many"
        detail = f"{n_levels} different values, more than {limits.max_categories} (MAX_CATEGORIES); it is not used"
        return TableWarning("high_cardinality", detail)
    if n_values >= MIN_ROWS_OF_IDS and levels.n_levels >= MIN_SHARE_OF_IDS * n_values:
        detail = f"{levels.n_levels} different values in {n_values} rows: it names the rows, and is not used"
        return TableWarning("high_cardinality", detail)
    return None


def _by_looks(name: str, column: ColumnReader) -> Verdict:
    tally = column.tally
    n = tally.n_values
    if n == 0:
        return Verdict("categorical")
    if tally.number_of(*_NUMERIC, *_CODES) == n:
        return _numbers(name, tally)
    if tally.counts[Look.BOOLEAN] == n:
        return Verdict("boolean")
    if tally.counts[Look.DATE] == n:
        return Verdict("date")
    if tally.counts[Look.LIKE_A_NUMBER] == n:
        _, text = tally.first_of(Look.LIKE_A_NUMBER)
        advice = "1234.5, or give decimal=," if column.rules.decimal == "." else "1234,5"
        detail = f"{text[:60]!r} is no plain number, so its values are categories: write {advice}"
        return Verdict("categorical", (TableWarning("looks_numeric", detail),))
    return Verdict("categorical")


def _numbers(name: str, tally: Tally) -> Verdict:
    warnings = []
    if tally.counts[Look.LEADING_ZEROS]:
        _, text = tally.first_of(Look.LEADING_ZEROS)
        warnings.append(TableWarning("leading_zeros", f"{text[:60]!r} is a code, not a number: categories"))
    if tally.counts[Look.TOO_LARGE]:
        _, text = tally.first_of(Look.TOO_LARGE)
        detail = f"{text[:60]!r} is 2^53 or more, which is not exact as a number: categories"
        warnings.append(TableWarning("whole_numbers_too_large", detail))
    if tally.counts[Look.EXPONENT_CODE] and not tally.has_point_or_sign:
        _, text = tally.first_of(Look.EXPONENT_CODE)
        detail = f'{text[:60]!r} may be a code: categories; types={{"{name}": "numeric"}} makes the values numbers'
        warnings.append(TableWarning("exponent_codes", detail))
    if not warnings and tally.counts[Look.NOT_FINITE]:
        _refuse_infinite(name, tally)
    return Verdict("categorical" if warnings else "numeric", tuple(warnings))


def _as_asked(name: str, column: ColumnReader) -> Verdict:
    tally, asked = column.tally, column.rules.asked
    if asked == "numeric":
        if column.rules.kind == "boolean":
            return Verdict("numeric")
        wrong = [look for look in Look if look not in _NOT_TEXT and tally.counts[look]]
        if wrong:
            _refuse_value(name, *tally.first_of(*wrong), "a number")
        if tally.counts[Look.NOT_FINITE]:
            _refuse_infinite(name, tally)
        return Verdict("numeric")
    if column.levels.is_complete:
        first = column.levels.first_other(lambda text: as_boolean(text) is not None or column.is_missing(text))
        if first is None:
            return Verdict("boolean")
        _refuse_value(name, *first, "true, false, 0 or 1")
    wrong = [look for look in Look if look not in (Look.BOOLEAN, Look.NULL_SPELLING) and tally.counts[look]]
    _refuse_value(name, *tally.first_of(*wrong), "true, false, 0 or 1")


def as_boolean(text: str) -> bool | None:
    """Give the boolean that a text is in a column of which booleans are asked: 0 and 1 are, too."""
    is_bit = is_plain_number(text) and float(text) in (0, 1)
    return float(text) == 1 if is_bit else boolean_of(text)


def _refuse_value(name: str, row: int, text: str, wanted: str) -> NoReturn:
    detail = f"column {name!r}: must be {wanted} in every row, as asked, not {text[:60]!r}"
    raise TableError("mixed_column", detail, row=row, column=name, value=text)


def _refuse_infinite(name: str, tally: Tally) -> NoReturn:
    row, text = tally.first_of(Look.NOT_FINITE)
    detail = f"column {name!r}: {text[:60]!r} in row {row} is not a finite number; leave missing values empty"
    raise TableError("not_finite", detail, row=row, column=name, value=text)


def _check_mixture(name: str, mixture: Mixture, column: ColumnReader, limits: TableLimits) -> None:
    """Refuse a few texts among many numbers, if the column would be of no use as categories.

    Codes such as 250, V45 and 401 are categories with a warning; an A17 after 130,000 different numbers is a fault.
    """
    n_values = int(column.tally.counts.sum())
    if mixture.n_numbers >= MIN_SHARE_OF_NUMBERS * n_values and uselessness(column, limits) is not None:
        text = mixture.first_value
        detail = (
            f"column {name!r} has numbers, and {text[:60]!r} in row {mixture.first_row}; null_values={text[:60]} makes"
        )
        detail += f' it missing, types={{"{name}": "categorical"}} makes all of them categories'
        raise TableError("mixed_column", detail, row=mixture.first_row, column=name, value=text)
