"""Many instances parsed without an object for each number: the same matrix as the strict way, or nothing."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.http.parsing import parse_matrix
from service.predict.formats.large_json import LargeBody, parse_large


def test_rows_of_numbers_become_a_matrix() -> None:
    large = parse_large(b'{"instances": [[1, -2.5e3], [0.1, 18446744073709551615]], "model": "m", "alias": "a"}')
    assert large is not None
    assert (large.model, large.version, large.alias) == ("m", None, "a")
    np.testing.assert_array_equal(large.features, [[1, -2500], [0.1, 2.0**64]])


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=2) | st.lists(NUMBERS, max_size=2)
ROWS = st.integers(0, 3).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), max_size=4))


@settings(max_examples=500, deadline=None)
@given(rows=ROWS | st.lists(st.lists(VALUES, max_size=3) | VALUES, max_size=4))
def test_what_it_takes_is_what_the_strict_way_takes(rows: list[Any]) -> None:
    body = json.dumps({"model": "m", "instances": rows}).encode()
    large = parse_large(body)
    try:
        strict = parse_matrix(orjson.loads(body)["instances"], "/instances")
    except Exception:
        assert large is None
    else:
        assert large is not None
        np.testing.assert_array_equal(large.features, strict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m", "instances": [[1, [2]]]}',
        b'{"model": "m", "instances": [[1, []], [3, [4, 5]]]}',
        b'{"model": "m", "instances": [{"a": 1}]}',
        b'{"model": "m", "instances": ["ab"]}',
        b'{"model": "m", "instances": [[1, 1e999]]}',
        b'{"model": "m", "instances": [[1, NaN]]}',
        b'{"model": "m", "instances": [[1, 123456789012345678901234567890]]}',
        b'{"model": "m", "model": "n", "instances": [[1]]}',
        b'{"model": "m", "instances": [[1]], "instances": [[2]]}',
        b'{"model": "m", "instances": [[1]], "version": 1.0}',
        b'{"model": "m", "instances": [[1]], "version": true}',
        b'{"model": "m", "instances": [[1]], "explain": true}',
        b'{"model": 1, "instances": [[1]]}',
        b'{"instances": [[1]]}',
        b'{"model": "m"}',
        b'{"model": "m", "instances": []}',
        b'{"model": "m", "instances": [[]]}',
        b'{"model": "m", "instances": [[1]]} 2',
        b'{"model": "\xff", "instances": [[1]]}',
        b"[[1]]",
        b"",
        b"[" * 100_000,
    ],
)
def test_everything_else_is_left_to_the_strict_way(body: bytes) -> None:
    assert parse_large(body) is None
    assert isinstance(parse_large(b'{"model": "m", "instances": [[1]]}'), LargeBody)  # the parser can be used again
