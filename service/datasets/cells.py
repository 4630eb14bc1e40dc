"""What one cell of a table means: the same rules for files, inline records and predictions."""

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

Decimal: TypeAlias = Literal[".", ","]
"""The decimal mark of numbers in text."""

BLANKS = " \t\n\v\f\r\u00a0\u2007\u202f\u3000\ufeff"
"""Removed around every text. A no-break space or a mark in the middle of a file cannot be seen in a level's name."""

NULL_SPELLINGS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "?", "-", "--", ".", "\\n"})
"""In lower case. They are missing values where all other values of a column have a type; a text column keeps them."""

LARGEST_WHOLE = 2**53
"""From here on float64 has no place for every whole number, so two ids could become one."""

_NUMBERS: dict[Decimal, re.Pattern[str]] = {
    ".": re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    ",": re.compile(r"[+-]?(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)(?:[eE][+-]?[0-9]+)?"),
}
_LEADING_ZERO = re.compile(r"0[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_BOOLEANS = {"true": True, "false": False}


def trim(text: str) -> str:
    """Remove the blanks around a text."""
    return text.strip(BLANKS)


def is_null_spelling(text: str) -> bool:
    """Tell whether the text is one that people write for a missing value; the empty text is none of them."""
    return text.lower() in NULL_SPELLINGS


def is_plain_number(text: str, decimal: Decimal = ".") -> bool:
    """Tell whether the text is a number rather than a code: no leading zeros, no whole number of 2^53 or more."""
    if _NUMBERS[decimal].fullmatch(text) is None or _LEADING_ZERO.fullmatch(text):
        return False
    if _WHOLE.fullmatch(text):
        return len(text) < 18 and abs(int(text)) < LARGEST_WHOLE
    return math.isfinite(float(text.replace(",", ".")))


def boolean_of(value: object) -> bool | None:
    """Give the boolean that a value of JSON or a text in any case stands for; None: it stands for none."""
    if isinstance(value, str):
        return _BOOLEANS.get(trim(value).lower())
    return value if isinstance(value, bool) else None


def canonical_number(number: int | float) -> str:
    """Give the one text of a finite number, as a category: 1 and 1.0 are `1`, -0.0 is `0`."""
    return str(int(number)) if number == int(number) else repr(float(number))


def canonical_category(value: object) -> str | None:
    """Give the category that a value of JSON names; None: it is missing.

    Raises:
        ValueError: the number is infinite.
        TypeError: it is a list or an object.
    """
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case int():
            return canonical_number(value)
        case float():
            if math.isinf(value):
                raise ValueError("must be a finite number")
            return None if math.isnan(value) else canonical_number(value)
        case str():
            return trim(value) or None
    raise TypeError("must be a text, a number, a boolean or null")


class Levels:
    """Finds the code of a category. A text counts as written; else 1, 1.0 and "1" are one category."""

    def __init__(self, levels: Sequence[str]) -> None:
        self._codes = {level: code for code, level in enumerate(levels)}
        for code, level in enumerate(levels):
            self._codes.setdefault(_as_number(level), code)

    def code(self, category: str) -> int | None:
        """Give the code of a category, as `canonical_category` gives it; None: it is no level."""
        code = self._codes.get(category)
        return self._codes.get(_as_number(category)) if code is None else code


def _as_number(text: str) -> str:
    return canonical_number(float(text)) if is_plain_number(text) else text
