"""Where records end, against a machine that walks over every byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.reading.sources.records import Cut, Dialect, StrayQuoteError


def slow_cut(text: bytes) -> Cut | int:
    """Cut text at the end of its last record; the position of a closing quote that text follows."""
    end, opened, at_start, i = 0, None, True, 0
    while i < len(text):
        c = text[i : i + 1]
        if opened is not None:
            if c == b'"' and text[i + 1 : i + 2] == b'"':
                i += 1
            elif c == b'"':
                opened = None
                if text[i + 1 : i + 2] not in (b"", b",", b"\n", b"\r", b" ", b"\t"):
                    return i
        elif c == b'"' and at_start:
            opened = i
        elif c == b"\n":
            end = i + 1
        at_start = opened is None and c in (b",", b"\n", b"\r")
        i += 1
    return Cut(end, opened)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(['"', '"', '""', ",", "\n", "\r\n", "a", " ", ',"', '",']), max_size=14).map("".join))
def test_text_is_cut_where_its_last_record_ends(text):
    expected = slow_cut(text.encode())
    if isinstance(expected, int):
        with pytest.raises(StrayQuoteError) as caught:
            Dialect(b",").cut(text.encode())
        assert caught.value.position == expected
    else:
        assert Dialect(b",").cut(text.encode()) == expected


def test_records_have_their_places_and_fields():
    text = b'a,"b\nc"\r\n\n"x""y" ,\nlast'
    assert [tuple(record) for record in Dialect(b",").records(text)] == [
        (0, 9, [b"a", b"b\nc"]),
        (10, 19, [b'x"y', b""]),
        (19, 23, [b"last"]),
    ]
