"""Reads one column block by block, as numbers, booleans or texts, and counts what it meets.

The first values decide how it is read. Whether that was right is known after the last block: see
`service.datasets.reading.column_types`.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.datasets.cells import LARGEST_WHOLE, Decimal, is_null_spelling, is_plain_number
from service.datasets.reading.classes import (
    Look,
    Looks,
    are_null_spellings,
    have_digits,
    have_point_or_sign,
    look_at,
    parse_numbers,
    trimmed,
)
from service.datasets.reading.levels import LevelTable, codes_of
from service.datasets.reading.number_texts import PlainNumbers
from service.datasets.reading.options import AskedType
from service.datasets.reading.sources.source import Array, Kind
from service.datasets.reading.tally import Tally
from storage.datasets.categories import canonical_number

Reading: TypeAlias = Literal["number", "boolean", "text"]

_READING_OF_ASKED: dict[AskedType, Reading] = {
    "numeric": "number",
    "boolean": "text",
    "categorical": "text",
    "date": "text",
}
_NUMERIC = (Look.NUMBER, Look.EXPONENT_CODE, Look.NOT_FINITE)
_CODES = (Look.LEADING_ZEROS, Look.TOO_LARGE)
_SAMPLE_VALUES = 100

_NO_BREAK = 0xA0
"""The least byte that blanks beyond ASCII have."""


@dataclass(frozen=True)
class Rules:
    """What is said of a column before its values are seen."""

    kind: Kind
    asked: AskedType | None = None
    decimal: Decimal = "."
    null_values: tuple[str, ...] | None = None

    @property
    def are_cells(self) -> bool:
        """Whether a text may be a number."""
        return self.kind == "cells" or (self.kind == "text" and self.asked in ("numeric", "boolean"))

    @property
    def can_be_plain(self) -> bool:
        """Whether texts that are all plain numbers are read as such."""
        return self.kind == "cells" and self.asked is None and not self.null_values


class ColumnReader:
    """One column, from its first row to its last."""

    def __init__(self, rules: Rules, levels: LevelTable, reading: Reading | None = None) -> None:
        """Begin.

        Args:
            reading: how to read it; None: as its first values look.
        """
        self.rules = rules
        self.reading = reading
        self.tally = Tally()
        self.levels = levels
        self.n_rows = 0
        self.n_nulls = 0
        self.first_row: int | None = None
        """the first one that has a value, be it blanks"""
        self.is_contradicted = False
        """whether a value is no number in a column that is read as numbers"""
        self.is_index = True
        """whether the numbers so far are 0, 1, 2, ... or 1, 2, 3, ..."""
        self._first_number = 0.0
        self._plain = PlainNumbers(rules.decimal)
        self._null_values = pa.array(rules.null_values or (), pa.string())

    def add(self, values: Array) -> Array:
        """Read the next rows.

        Returns:
            Floats, booleans, the codes of levels (int32), texts, or nulls if nothing was met yet.
        """
        if self.first_row is None and values.null_count < len(values):
            self.first_row = self.n_rows + int(values.is_valid().to_numpy(zero_copy_only=False).argmax())
        if self.reading is None:
            if values.null_count == len(values):
                self.n_rows += len(values)
                self.n_nulls += len(values)
                return pa.nulls(len(values))
            if self.rules.can_be_plain and (numbers := self._read_plain(values)) is not None:
                self.reading = "number"
                return self._count(self._indexed(numbers))
            self.reading = self._first_reading(values)
        read: Array = {"number": self._numbers, "boolean": self._booleans, "text": self._texts}[self.reading](values)
        return self._count(read)

    def _count(self, read: Array) -> Array:
        self.n_rows += len(read)
        self.n_nulls += read.null_count
        return read

    def _first_reading(self, values: Array) -> Reading:
        rules = self.rules
        if rules.asked is not None:
            return _READING_OF_ASKED[rules.asked]
        if rules.kind == "number":
            return "number"
        if rules.kind == "boolean":
            return "boolean"
        if rules.kind != "cells":
            return "text"
        sample = trimmed(values.drop_null()[:_SAMPLE_VALUES]).drop_null()
        if not have_digits(sample):
            return "text"
        looks = self._look(sample)
        is_null = looks == Look.NULL_SPELLING
        is_numeric = np.isin(looks, _NUMERIC)
        return "number" if is_numeric.any() and (is_numeric | is_null).all() else "text"

    # Numbers

    def _numbers(self, values: Array) -> Array:
        numbers = self._typed_numbers(values) if self.rules.kind in ("number", "boolean") else self._cells(values)
        return pa.nulls(len(values)) if numbers is None else self._indexed(numbers)

    def _indexed(self, numbers: Array) -> Array:
        if self.is_index:
            self._check_index(numbers.to_numpy(zero_copy_only=False))
        return numbers

    def _typed_numbers(self, values: Array) -> Array | None:
        if pa.types.is_integer(values.type) and values.type.bit_width == 64:
            limits = pc.min_max(values).as_py()
            low, high = limits["min"] or 0, limits["max"] or 0
            if (low <= -LARGEST_WHOLE or high >= LARGEST_WHOLE) and self.rules.asked != "numeric":
                self.tally.counts[Look.TOO_LARGE] += 1
                self.tally.note_first(Look.TOO_LARGE, self.n_rows, str(high if high >= LARGEST_WHOLE else low))
                self.is_contradicted = True
                return None
        if pa.types.is_boolean(values.type):
            values = pc.cast(values, pa.int8())
        numbers: NDArray[np.float64] = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        self._drop_null_numbers(numbers)
        is_infinite = np.isinf(numbers)
        if is_infinite.any():
            row = int(is_infinite.argmax())
            self.tally.counts[Look.NOT_FINITE] += 1
            self.tally.note_first(Look.NOT_FINITE, self.n_rows + row, str(numbers[row]))
        self.tally.counts[Look.NUMBER] += len(numbers) - np.isnan(numbers).sum()
        return pa.array(numbers, from_pandas=True)  # NaN is null

    def _cells(self, texts: Array) -> Array | None:
        """Read texts as numbers: at once if all are plain, else without blanks, nulls and what is spelled as such."""
        plain = texts if texts.type == pa.string() else pc.cast(texts, pa.string())
        if self.rules.null_values or (numbers := self._read_plain(plain)) is None:
            plain = self._trim(plain)
            nulls = pc.is_in(plain, value_set=self._null_values) if self.rules.null_values else None
            if self.rules.null_values is None:
                nulls = are_null_spellings(plain)
            if nulls is not None and pc.any(nulls).as_py():
                self.tally.note_spellings(plain.filter(nulls))
                plain = pc.if_else(nulls, None, plain)
            numbers = self._read_plain(plain)
        if numbers is None:
            numbers = self._look_closely(plain)
        if numbers is None or not self.rules.null_values:
            return numbers
        left = numbers.to_numpy(zero_copy_only=False).copy()
        self.tally.counts[Look.NUMBER] -= self._drop_null_numbers(left)
        return pa.array(left, from_pandas=True)

    def _drop_null_numbers(self, numbers: NDArray[np.float64]) -> int:
        """Set the numbers that null_values names to NaN, however they are written; give how many they were."""
        n_dropped = 0
        for text in self.rules.null_values or ():
            if not is_plain_number(text, self.rules.decimal):
                continue
            is_met = numbers == float(text.replace(",", "."))
            if is_met.any():
                self.tally.spellings[text] = None
                numbers[is_met] = np.nan
                n_dropped += int(is_met.sum())
        return n_dropped

    def _read_plain(self, texts: Array) -> Array | None:
        numbers = self._plain.read(texts)
        if numbers is not None:
            self.tally.counts[Look.NUMBER] += len(texts) - texts.null_count
        return numbers

    def _look_closely(self, texts: Array) -> Array | None:
        encoded = texts.dictionary_encode()
        uniques = encoded.dictionary
        codes = codes_of(encoded.indices)
        looks = self._look(uniques)
        self.tally.add(looks, np.bincount(codes[codes >= 0], minlength=len(uniques)))
        for look in np.unique(looks):
            row = int(np.isin(codes, np.flatnonzero(looks == look)).argmax())
            self.tally.note_first(Look(look), self.n_rows + row, uniques[int(codes[row])].as_py())
        allowed = (*_NUMERIC, *(_CODES if self.rules.asked == "numeric" else ()))
        is_number = np.isin(looks, allowed)
        if not is_number.all():
            self.is_contradicted = True
            return None
        values = np.append(parse_numbers(uniques, self.rules.decimal), np.nan)
        return pa.array(values[codes], from_pandas=True)

    def _check_index(self, numbers: NDArray[np.float64]) -> None:
        if self.n_rows == 0 and len(numbers):
            self._first_number = float(numbers[0])
        expected = self._first_number + self.n_rows + np.arange(len(numbers))
        self.is_index = self._first_number in (0, 1) and bool((numbers == expected).all())

    # Booleans and texts

    def _booleans(self, values: Array) -> Array:
        self.tally.counts[Look.BOOLEAN] += len(values) - values.null_count
        return values

    def _texts(self, values: Array) -> Array:
        self.is_index = False
        if self.rules.kind in ("number", "boolean"):
            values = _as_texts(values)
        if not self.levels.is_complete and not pa.types.is_dictionary(values.type):
            values = pa.DictionaryArray.from_arrays(np.arange(len(values), dtype=np.int32), values)
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        texts = self._trim(encoded.dictionary)
        if self.rules.null_values and pc.any(nulls := pc.is_in(texts, value_set=self._null_values)).as_py():
            used = pc.is_in(pa.array(np.arange(len(texts))), value_set=pc.cast(encoded.indices, pa.int64()))
            self.tally.note_spellings(texts.filter(pc.and_(nulls, used)))
            texts = pc.if_else(nulls, None, texts)
        return self.levels.add(texts, encoded.indices, self.n_rows, self._look)

    def _look(self, texts: Array) -> Looks:
        """Give the looks of some different texts."""
        if self.rules.kind == "date":
            return np.full(len(texts), Look.DATE, np.uint8)
        looks = look_at(texts, self.rules.decimal)
        if self.rules.kind == "text" and not self.rules.are_cells:
            looks[~np.isin(looks, (Look.DATE, Look.NULL_SPELLING))] = Look.TEXT
        if self.rules.null_values is not None:
            looks[looks == Look.NULL_SPELLING] = Look.TEXT
        is_numeric = np.isin(looks, _NUMERIC)
        if is_numeric.any():
            self._plain.has_point_or_sign |= have_point_or_sign(texts.filter(pa.array(is_numeric)))
        return looks

    def _trim(self, texts: Array) -> Array:
        """Remove blanks around texts; most columns have none, which their bytes show."""
        if texts.type != pa.string():
            texts = pc.cast(texts, pa.string())
        data = texts.buffers()[2]
        values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        if (
            len(values)
            and values.min() > ord(" ")
            and values.max() < _NO_BREAK
            and not pc.any(pc.equal(texts, "")).as_py()
        ):
            return texts
        shorter = trimmed(texts)
        kept, was = pc.sum(pc.binary_length(shorter)).as_py(), pc.sum(pc.binary_length(texts)).as_py()
        self.tally.was_trimmed |= (kept or 0) < (was or 0)
        return shorter

    def is_missing(self, text: str) -> bool:
        """Tell whether a text is missing in a column whose other values have a type."""
        return self.rules.null_values is None and is_null_spelling(text)

    def finish(self) -> None:
        """Complete the tally after the last row."""
        self.tally.has_point_or_sign = self._plain.has_point_or_sign
        if self.reading == "text":
            self.levels.count(self.tally)


def _as_texts(values: Array) -> Array:
    """Write numbers and booleans as the categories that they name."""
    if pa.types.is_floating(values.type):
        encoded = pc.cast(values, pa.float64()).dictionary_encode()
        texts = [None if x is None or np.isnan(x) else _text_of(x) for x in encoded.dictionary.to_pylist()]
        return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(texts, pa.string()))
    return pc.cast(values, pa.string())


def _text_of(number: float) -> str:
    return canonical_number(number) if np.isfinite(number) else str(number)
