"""NaN, keys that occur twice and byte order marks: the same answer on every route, with the place."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.http.errors import InvalidRequestError, MalformedJsonError
from service.http.json_faults import find_repeated_key, has_repeated_key
from service.http.parsing import parse_json
from service.settings import Limits
from storage.jobs.store import JobStore
from tests.builders import publish

ROUTES = [
    ("POST", "/jobs", '{"model": "or", "data": {"features": [[0], [%s]], "targets": [0, 1]}}', "/data/features/1/0"),
    ("POST", "/predict", '{"model": "or", "instances": [[0, %s]]}', "/instances/0/1"),
    ("POST", "/v1/models/or:predict", '{"instances": [[0, %s]]}', "/instances/0/1"),
    (
        "POST",
        "/v2/models/or/infer",
        '{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [0, %s]}]}',
        "/inputs/0/data/1",
    ),
    ("POST", "/v2/repository/index", '{"ready": true, "x": %s}', "/x"),
    ("POST", "/invocations?model=or", '{"dataframe_split": {"data": [[0, %s]]}}', "/dataframe_split/data/0/1"),
    ("PUT", "/models/or/aliases/production", '{"version": %s}', "/version"),
]


def sent(http: FlaskClient, method: str, path: str, body: bytes) -> tuple[int, Any]:
    answer = http.open(path, method=method, data=body, content_type="application/json")
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize(("method", "path", "body", "pointer"), ROUTES)
def test_every_route_names_the_place_of_a_nan(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: str, pointer: str
) -> None:
    publish(jobs)
    for constant in ("NaN", "-Infinity", "Infinity", "nan", "-inf"):
        status, problem = sent(http, method, path, (body % constant).encode())
        assert (status, problem["code"]) == (400, "malformed_json")
        assert problem["errors"] == [{"pointer": pointer, "detail": f"{constant} is not a JSON number"}]
        assert constant in problem["detail"] and pointer in problem["detail"]


@pytest.mark.parametrize(("method", "path", "body", "pointer"), ROUTES)
def test_every_route_skips_a_byte_order_mark(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: str, pointer: str
) -> None:
    publish(jobs)
    text = (body % 1).encode()
    without, status = sent(http, method, path, text)[0], sent(http, method, path, b"\xef\xbb\xbf" + text)[0]
    assert status == without
    assert sent(http, method, path, b"\xef\xbb\xbf\xef\xbb\xbf" + text)[0] == 400


@pytest.mark.parametrize(("method", "path", "body", "_pointer"), ROUTES)
def test_every_route_refuses_a_key_that_occurs_twice(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: str, _pointer: str
) -> None:
    publish(jobs)
    text = body % 1
    name = next(iter(json.loads(text)))
    for twice in (name, f"\\u{ord(name[0]):04x}{name[1:]}"):
        again = f'{text[:-1]}, "{twice}": {json.dumps(json.loads(text)[name])}}}'
        status, problem = sent(http, method, path, again.encode())
        assert (status, problem["code"]) == (422, "invalid_request")
        assert problem["errors"] == [{"pointer": f"/{name}", "detail": "occurs twice in this object"}]


@pytest.mark.parametrize(
    "more",
    ['"version": 1, "version": 1', '"version": null, "version": null', '"alias": "a", "alias": null', '"model": "or"'],
)
@pytest.mark.parametrize("n_rows", [1, 2_000])
def test_the_fast_decoders_refuse_a_key_that_occurs_twice(
    http: FlaskClient, jobs: JobStore, more: str, n_rows: int
) -> None:
    publish(jobs)
    body = f'{{"model": "or", {more}, "instances": {json.dumps([[0.125, 0.5, 0.123456]] * n_rows)}}}'
    status, problem = sent(http, "POST", "/predict", body.encode())
    assert (status, problem["errors"][0]["detail"]) == (422, "occurs twice in this object")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a": {"b": [1, {"c": 1, "d": 2, "c": 3}]}}', "/a/b/1/c"),
        (b'{"a": ":", "b": "x:y\\":", "b": 1}', "/b"),
        (b'{"a/b": 1, "a/b": 1}', "/a~1b"),
        (b'[[1, 2], [3, 4], {"a": [1], "a": [2]}]', "/2/a"),
        (b'{"": 1, "": 2}', "/"),
        (b'{"a": 1e999, "a": 1}', "/a"),
        (b'{"a": 1, "a": 1e999}', "/a"),
    ],
)
def test_the_place_of_a_key_that_occurs_twice_is_named(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_json(body, Limits())
    assert refused.value.faults[0].pointer == pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"NaN", ""),
        (b"[[1, 2], [3, 4], [], [5, NaN], [6, 7]]", "/3/1"),
        (b'{"a": [1, 2], "b": {"c": ["NaN", true, null, "]", -1.5e3, -Infinity]}}', "/b/c/5"),
        ('{"Ä": "ö", "ü": [[[1], [2]], [[3], [NaN]]]}'.encode(), "/ü/1/1/0"),
        (b'{"a": 1e999, "b": NaN}', "/b"),
        (b"[" + b"[1, 2.5], " * 200_000 + b"[1, NaN]]", "/200000/1"),
    ],
)
def test_the_place_of_a_nan_is_named(body: bytes, pointer: str) -> None:
    with pytest.raises(MalformedJsonError) as refused:
        parse_json(body, Limits())
    assert refused.value.faults[0].pointer == pointer


@pytest.mark.parametrize(
    "body", [b'{"a" NaN}', b"[1,, 2]", b'"\xff"', b"]", b'{"\xff": NaN}', b"[nano]", b"", b"[1:2, NaN]"]
)
def test_other_faults_have_no_place(body: bytes) -> None:
    with pytest.raises(MalformedJsonError):
        parse_json(body, Limits())


TEXTS = st.text('a:"\\{}[],\n', max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES, key=TEXTS)
def test_a_key_is_refused_exactly_if_it_occurs_twice(value: Any, key: str) -> None:
    assert not has_repeated_key(json.dumps(value).encode(), value)
    inside = json.dumps(key)
    twice = f"[{json.dumps(value)}, {{{inside}: {json.dumps(value)}, {inside}: 1}}]".encode()
    assert has_repeated_key(twice, json.loads(twice))
    assert find_repeated_key(twice).path == (1, key)


def test_a_key_far_in_is_refused_without_its_place() -> None:
    with pytest.raises(InvalidRequestError, match="has a key twice"):
        parse_json(b"[" + b'"x",' * 300_000 + b'{"a": 1, "a": 2}]', Limits())


@pytest.mark.parametrize(
    "body",
    [b"[" * 400_000 + b"NaN", b'{"%b": 1, "%b": 2}' % (b"k" * 10**6, b"k" * 10**6), b'{"%b": NaN}' % (b"k" * 10**6)],
)
def test_an_answer_is_short_however_long_the_way_to_the_fault(body: bytes) -> None:
    with pytest.raises((InvalidRequestError, MalformedJsonError)) as refused:
        parse_json(body, Limits())
    assert len(str(refused.value)) < 3_000
    assert all(len(fault.pointer) <= 2_000 for fault in refused.value.faults)
