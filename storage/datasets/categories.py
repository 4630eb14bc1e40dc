"""Which category a value stands for, and what is missing: the same in files, in jobs and in predictions."""

import math

BLANKS = " \t\n\v\f\r\u00a0\u2007\u202f\u3000\ufeff"
"""Removed around every text. A no-break space or a mark in the middle of a file cannot be seen in a level's name."""

NULL_SPELLINGS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "?", "-", "--", ".", "\\n"})
"""In lower case. They are missing values where all other values of a column have a type; a text column keeps them."""


def trim(text: str) -> str:
    """Remove the blanks around a text."""
    return text.strip(BLANKS)


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
