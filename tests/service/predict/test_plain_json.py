"""The fast decoders of plain JSON bodies: the same numbers as the strict parser, or nothing."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.http.parsing import parse_matrix
from service.predict.formats.plain_json import PlainBody, decode_large, decode_small
from storage.models.versions import ModelReference

DECODERS = [decode_small, decode_large]


@pytest.mark.parametrize("decode", DECODERS)
def test_rows_of_numbers_are_decoded(decode: Callable[[bytes], PlainBody | None]) -> None:
    plain = decode(b'{"instances": [[1, -2.5e3], [0.1, 18446744073709551615]], "model": "m", "alias": "a"}')
    assert plain is not None
    reference, rows = plain
    assert reference == ModelReference("m", alias="a")
    np.testing.assert_array_equal(rows, [[1, -2500], [0.1, 2.0**64]])


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
VALUES = NUMBERS | st.none() | st.booleans() | st.text(max_size=2) | st.lists(NUMBERS, max_size=2)
ROWS = st.integers(0, 3).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), max_size=4))


@settings(max_examples=500, deadline=None)
@given(rows=ROWS | st.lists(st.lists(VALUES, max_size=3) | VALUES, max_size=4))
def test_many_instances_are_decoded_exactly_if_the_strict_parser_accepts_them(rows: list[Any]) -> None:
    body = json.dumps({"model": "m", "instances": rows}).encode()
    large = decode_large(body)
    try:
        strict = parse_matrix(orjson.loads(body)["instances"], "/instances")
    except Exception:
        assert large is None
    else:
        assert large is not None
        np.testing.assert_array_equal(large[1], strict)


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
def test_everything_else_is_left_to_the_strict_parser(body: bytes) -> None:
    assert decode_large(body) is None
    assert decode_large(b'{"model": "m", "instances": [[1]]}') is not None  # the parser can be used again


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "members",
    [
        '"model": "a:b"',
        '"model": "or\\n"',
        '"model": "m", "version": 0',
        '"model": "m", "version": 1000000000000000',
        '"model": "m", "alias": ""',
        '"model": "m", "version": 1, "alias": "a"',
        '"model": "m", "surplus": 1',
        '"instances": [[2]]',
    ],
)
def test_a_reference_that_the_strict_parser_refuses_is_left_to_it(
    decode: Callable[[bytes], PlainBody | None], members: str
) -> None:
    assert decode(b'{"instances": [[1]], %b}' % members.encode()) is None
