"""What the texts of a column look like, many at once: the rules of `service.datasets.cells` on arrays."""

from enum import IntEnum
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.datasets.cells import LARGEST_WHOLE, Decimal
from service.datasets.reading.sources.source import Array
from storage.datasets.categories import BLANKS, NULL_SPELLINGS


class Look(IntEnum):
    """What a text may stand for."""

    TEXT = 0
    NUMBER = 1
    LEADING_ZEROS = 2
    TOO_LARGE = 3
    """a whole number of 2^53 or more"""
    EXPONENT_CODE = 4
    """digits, an E and digits: 1E5 may be a number or a code"""
    NOT_FINITE = 5
    BOOLEAN = 6
    DATE = 7
    NULL_SPELLING = 8
    LIKE_A_NUMBER = 9
    """12 %, $5.00, 1,234"""


Looks = NDArray[np.uint8]

_NUMBER = {
    ".": r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$",
    ",": r"^[+-]?(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)(?:[eE][+-]?[0-9]+)?$",
}
_WHOLE = r"^[+-]?[0-9]+$"
_LEADING_ZEROS = r"^0[0-9]+$"
_EXPONENT_CODE = r"^[0-9]+[eE][0-9]+$"
_NOT_FINITE = r"^[+-]?inf(inity)?$"
_CURRENCY = r"(?:[$€£¥₹%‰]|USD|EUR|GBP|CHF|JPY)?"
_LIKE_A_NUMBER = rf"^[(]?[+-]?{_CURRENCY}\s?[+-]?[0-9]+(?:[.,'\x{{2019}}\s\x{{a0}}][0-9]+)*\s?{_CURRENCY}[)]?$"
_TIME = r"(?:[T ][0-2]?\d:[0-5]\d(?::[0-6]\d(?:[.,]\d+)?)?\s?(?:Z|UTC|[+-]\d\d:?(?:\d\d)?)?)?"
_DAY, _MONTH = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_MONTH_NAME = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = (
    rf"(?i)^(?:\d{{4}}-{_MONTH}-{_DAY}|\d{{4}}/{_MONTH}/{_DAY}|{_DAY}\.{_MONTH}\.\d{{4}}|{_DAY}/{_MONTH}/(?:\d\d)?\d\d"
    rf"|{_MONTH}/{_DAY}/(?:\d\d)?\d\d|{_DAY}-{_MONTH}-\d{{4}}|{_DAY}[- ]{_MONTH_NAME}[- ]\d{{4}}"
    rf"|{_MONTH_NAME} {_DAY}, \d{{4}}){_TIME}$"
)


def trimmed(texts: Array) -> Array:
    """Remove the blanks around texts, and make those that are empty then null."""
    texts = pc.utf8_trim(texts, characters=BLANKS)
    return pc.if_else(pc.equal(texts, ""), None, texts)


def are_null_spellings(texts: Array) -> Array:
    """Tell which texts people write for a missing value; false for nulls."""
    return pc.is_in(texts, value_set=_spellings_in_any_case())


@cache  # not when the module is loaded: pyarrow loads pandas for it, where that is installed
def _spellings_in_any_case() -> Array:
    return pa.array(
        sorted("".join(letters) for text in NULL_SPELLINGS for letters in set(product(*({c, c.upper()} for c in text))))
    )


def parse_numbers(texts: Array, decimal: Decimal) -> NDArray[np.float64]:
    """Read texts that match the grammar of numbers; NaN for nulls."""
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    return _to_numpy(pc.cast(texts, pa.float64()))


def have_digits(texts: Array) -> bool:
    """Tell whether a text has a digit; without one, none is a number or a date."""
    return _have_bytes(texts, *b"09")


def _have_bytes(texts: Array, lowest: int, highest: int) -> bool:
    if len(texts) == 0 or (data := texts.buffers()[2]) is None:
        return False
    first, end = np.frombuffer(texts.buffers()[1], np.int32)[[texts.offset, texts.offset + len(texts)]]
    values = np.frombuffer(data, np.uint8)[first:end]
    return bool(((values >= lowest) & (values <= highest)).any())


def look_at(texts: Array, decimal: Decimal) -> Looks:
    """Say what each of some texts without blanks around them looks like. Nulls look like null spellings."""
    looks = np.full(len(texts), Look.TEXT, np.uint8)
    rest = np.arange(len(texts))
    rest, texts = _set(looks, rest, texts, pc.is_null(texts), Look.NULL_SPELLING)
    if have_digits(texts):  # expressions are compiled each time: much for many short columns of words
        is_number = pc.match_substring_regex(texts, _NUMBER[decimal])
        numbers, rows = texts.filter(is_number), rest[_to_numpy(is_number)]
        rest, texts = _set(looks, rest, texts, is_number, Look.NUMBER)
        if len(rows):
            _look_at_numbers(looks, rows, numbers, decimal)
        if _have_bytes(texts, *b" /"):  # what separates the parts of dates
            rest, texts = _set(looks, rest, texts, pc.match_substring_regex(texts, _DATE), Look.DATE)
        if len(rest):
            is_like = pc.match_substring_regex(texts, _LIKE_A_NUMBER)
            rest, texts = _set(looks, rest, texts, is_like, Look.LIKE_A_NUMBER)
    if len(rest):
        rest, texts = _set(looks, rest, texts, are_null_spellings(texts), Look.NULL_SPELLING)
        short = pc.less(pc.binary_length(texts), 10)
        rest, texts = rest[_to_numpy(short)], pc.utf8_lower(texts.filter(short))
        rest, texts = _set(looks, rest, texts, pc.is_in(texts, value_set=pa.array(["true", "false"])), Look.BOOLEAN)
        _set(looks, rest, texts, pc.match_substring_regex(texts, _NOT_FINITE), Look.NOT_FINITE)
    return looks


def _look_at_numbers(looks: Looks, rows: NDArray[np.intp], texts: Array, decimal: Decimal) -> None:
    values = parse_numbers(texts, decimal)
    is_whole = _to_numpy(pc.match_substring_regex(texts, _WHOLE))
    looks[rows[~np.isfinite(values)]] = Look.NOT_FINITE
    looks[rows[is_whole & (np.abs(values) >= LARGEST_WHOLE)]] = Look.TOO_LARGE
    looks[rows[_to_numpy(pc.match_substring_regex(texts, _LEADING_ZEROS))]] = Look.LEADING_ZEROS
    is_code = _to_numpy(pc.match_substring_regex(texts, _EXPONENT_CODE)) & np.isfinite(values)
    looks[rows[is_code]] = Look.EXPONENT_CODE


def have_point_or_sign(texts: Array) -> bool:
    """Tell whether one of some numbers has a decimal mark or a sign: then 1E5 among them is a number, too."""
    return bool(pc.any(pc.match_substring_regex(texts, "[+,.-]")).as_py())


def _set(looks: Looks, rows: NDArray[np.intp], texts: Array, mask: Array, look: Look) -> tuple[NDArray[np.intp], Array]:
    """Set the look of the texts under a mask; return the rows and texts that are left."""
    is_so = _to_numpy(mask)
    looks[rows[is_so]] = look
    return rows[~is_so], texts.filter(pa.array(~is_so))


def _to_numpy(array: Array) -> NDArray[Any]:
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values
