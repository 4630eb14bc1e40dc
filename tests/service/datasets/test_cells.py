"""One cell of a table."""

import math

import pytest

from service.datasets.cells import Levels, boolean_of, is_null_spelling, is_plain_number
from storage.datasets.categories import canonical_category, trim


def test_equal_numbers_of_json_are_one_category():
    assert [canonical_category(value) for value in (1, 1.0, "1", " 1 ")] == ["1"] * 4
    assert canonical_category(-0.0) == "0"
    assert canonical_category(1.50) == "1.5"
    assert canonical_category(9007199254740993) == "9007199254740993"


def test_a_missing_category_is_none():
    assert [canonical_category(value) for value in (None, "", "  ", math.nan)] == [None] * 4


def test_what_names_no_category_is_refused():
    with pytest.raises(ValueError, match="finite"):
        canonical_category(math.inf)
    with pytest.raises(TypeError, match="text, a number"):
        canonical_category(["a"])


def test_blanks_around_a_text_are_removed_but_not_those_within():
    assert trim("\u00a0 two words\t\r\n") == "two words"


@pytest.mark.parametrize("text", ["0", "-1", "+2.5", ".5", "5.", "1e5", "1E+5", "0.0", "-0", "9007199254740991"])
def test_a_plain_number(text):
    assert is_plain_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "007",
        "9007199254740992",
        "1e400",
        "inf",
        "nan",
        "0x10",
        "1_000",
        "1,5",
        "12%",
        "\u0661",
        "1 2",
        "-",
        ".",
        "e5",
    ],
)
def test_no_plain_number(text):
    assert not is_plain_number(text)


def test_a_decimal_comma_counts_only_when_asked_for():
    assert is_plain_number("1,5", ",")
    assert not is_plain_number("1.5", ",")


def test_a_boolean_is_a_word_in_any_case_and_never_a_number():
    assert [boolean_of(value) for value in (True, "TRUE", " false ", "False")] == [True, True, False, False]
    assert [boolean_of(value) for value in (1, 0.0, "yes", None, "")] == [None] * 5


def test_null_spellings_are_known_in_any_case():
    assert all(map(is_null_spelling, ("NA", "N/A", "NaN", "None", "null", "NULL", "?", "-")))
    assert not any(map(is_null_spelling, ("", "0", "no", "nano")))


def test_a_level_is_found_as_written_first_and_by_its_number_else():
    levels = Levels(["1.0", "1.5", "2", "2.0", "x"])
    assert [levels.code(text) for text in ("1.0", "1", "1.50", "2", "2.0", "2.00", "x", "y")] == [
        *(0, 0, 1, 2, 3, 2, 4, None),
    ]
