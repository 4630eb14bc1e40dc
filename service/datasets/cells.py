"""What one cell of a table means: the same rules for files, inline records and predictions."""

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from storage.datasets.categories import NULL_SPELLINGS, canonical_number, trim

Decimal: TypeAlias = Literal[".", ","]
"""The decimal mark of numbers in text."""

LARGEST_WHOLE = 2**53
"""From here on float64 has no place for every whole number, so two ids could become one."""

_NUMBERS: dict[Decimal, re.Pattern[str]] = {
    ".": re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    ",": re.compile(r"[+-]?(?:[0-9]+(?:,[0-9]*)?|,[0-9]+)(?:[eE][+-]?[0-9]+)?"),
}
_LEADING_ZERO = re.compile(r"0[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_BOOLEANS = {"true": True, "false": False}


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
