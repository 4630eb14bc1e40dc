"""`POST /invocations`, with the bodies that clients of SageMaker and MLflow send."""

import io
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.jobs.store import JobStore
from tests.builders import publish, publish_network, steep

FRAME = {"columns": ["x1", "x0"], "index": [0, 1], "data": [[2, 1], [1, -3]]}
NUMPY = "\x93NUMPY"


def y_hat(*z: float) -> list[Any]:
    """Rows of the outputs of a sigmoid neuron."""
    return [[pytest.approx(1 / (1 + math.exp(-value)), rel=1e-15)] for value in z]


def npy(values: Any, dtype: str = "<f8", **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values, dtype=dtype, **options))
    return file.getvalue()


def npy_with(header: str, data: bytes = b"", version: int = 1) -> bytes:
    """A file whose header says what it should not."""
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


@pytest.fixture
def invoke(http: FlaskClient, jobs: JobStore) -> Callable[..., Any]:
    publish(jobs)

    def invoke(
        body: Any, content_type: str = "application/json", path: str = "/invocations?model=or", **headers: str
    ) -> Any:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return http.post(path, data=data, headers={"Content-Type": content_type, **headers})

    return invoke


BODIES: list[tuple[Any, str]] = [
    ({"instances": [[1, 2], [-3, 1]]}, "application/json"),
    ({"instances": [{"x1": 2, "x0": 1}, {"x0": -3, "x1": 1}], "params": {"a": 1}}, "application/json; charset=utf-8"),
    ({"instances": [{"features": [1, 2]}, {"features": [-3, 1]}]}, "application/json"),
    ({"instances": [{"data": {"features": {"values": [1, 2]}}, "configuration": {}},
                    {"data": {"features": {"values": [-3, 1]}}}]}, "application/json"),
    ({"inputs": [[1, 2], [-3, 1]]}, "application/json"),
    ({"inputs": {"x1": [2, 1], "x0": [1, -3]}}, "application/json"),
    ({"dataframe_split": FRAME, "params": {"temperature": 0}}, "application/json"),
    ({"dataframe_split": {"data": [[1, 2], [-3, 1]]}}, "application/json"),
    ({"dataframe_split": {"columns": [0, 1], "data": [[1, 2], [-3, 1]]}}, "application/json"),
    ({"dataframe_records": [{"x1": 2, "x0": 1}, {"x0": -3, "x1": 1}]}, "application/json"),
    ("1,2\n-3,1\n", "text/csv"),
    ("1.0,2.0\r\n-3.0,1.0", "text/csv; charset=utf-8"),
    (b"\xef\xbb\xbf1, 2e0\n-3 ,+1.\n", "text/csv;label_size=0"),
    ("x1,x0\n2,1\n1,-3\n", "text/csv"),
    ('"x1","x0"\n2,1\n1,-3\n', "text/csv; header=present"),
    ("1,2\n-3,1\n", "text/csv; header=absent"),
    ('{"features": [1, 2]}\n{"features": [-3, 1]}\n', "application/jsonlines"),
    ('{"data": {"features": {"values": [1, 2]}}}\r\n{"data": {"features": {"values": [-3, 1]}}}',
     "application/jsonlines"),
    ("[1, 2]\n[-3, 1]\n\n", "application/jsonlines"),
    ('{"x1": 2, "x0": 1}\n{"x1": 1, "x0": -3}', "application/jsonlines"),
    (npy([[1, 2], [-3, 1]]), "application/x-npy"),
    (npy([[1, 2], [-3, 1]], ">f4"), "application/x-npy"),
    (npy([[1, 2], [-3, 1]], "i2"), "application/x-npy"),
    (npy([[1, 2], [-3, 1]], order="F"), "application/x-npy"),
    (npy_with("{'descr':'|i1','fortran_order':False,'shape':(2,2)}", b"\x01\x02\xfd\x01", version=2),
     "application/x-npy"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content_type"), BODIES)
def test_each_kind_of_body_gives_y_hat(
    invoke: Callable[..., Any], jobs: JobStore, body: Any, content_type: str
) -> None:
    publish_network(jobs, "line", weights=[[1], [3]], classes=None)  # y_hat = x0 + 3 x1
    answer = invoke(body, content_type, "/invocations?model=line")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.get_json() == {"predictions": [[7.0], [0.0]]}


def test_one_instance_may_stand_alone(invoke: Callable[..., Any]) -> None:
    for body, content_type in (
        ({"features": [1, 2]}, "application/json"),
        ("1,2", "text/csv"),
        ('{"features": [1, 2]}', "application/jsonlines"),
        (npy([1, 2]), "application/x-npy"),
    ):
        assert invoke(body, content_type).get_json() == {"predictions": y_hat(3)}


def test_the_answer_comes_as_its_reader_likes_it(invoke: Callable[..., Any]) -> None:
    body = {"instances": [[1, 2], [-3, 1]]}
    (first,), (second,) = invoke(body).get_json()["predictions"]
    as_csv = invoke(body, Accept="text/csv")
    assert (as_csv.mimetype, as_csv.text) == ("text/csv", f"{first!r}\n{second!r}\n")
    as_lines = invoke(body, Accept="application/jsonlines")
    assert as_lines.mimetype == "application/jsonlines"
    assert [json.loads(line) for line in as_lines.text.splitlines()] == [
        {"predictions": [first]},
        {"predictions": [second]},
    ]
    as_npy = invoke(body, Accept="application/x-npy, */*;q=0.1")
    assert as_npy.mimetype == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(as_npy.data), allow_pickle=False), [[first], [second]])
    assert invoke(body, Accept="*/*").mimetype == "application/json"
    refused = invoke(body, Accept="image/png")
    assert (refused.status_code, refused.get_json()["code"]) == (406, "not_acceptable")


def test_several_outputs_are_several_columns(http: FlaskClient, train: Callable[..., Any]) -> None:
    data = {"features": [[0], [1], [2]], "targets": [[0, 1], [1, 2], [2, 3]]}
    train({"model": "pair", "data": data, "training": {"optimizer": "lbfgs", "learning_rate": 1}})
    outputs = http.post("/predict", json={"model": "pair", "instances": [[0], [2]]}).get_json()["outputs"]
    csv = {"Content-Type": "text/csv", "Accept": "text/csv"}
    answer = http.post("/invocations?model=pair", data="0\n2\n", headers=csv)
    assert [[float(value) for value in line.split(",")] for line in answer.text.splitlines()] == [
        [pytest.approx(value, rel=1e-14, abs=1e-14) for value in row] for row in outputs
    ]


def test_the_query_comes_before_the_header(invoke: Callable[..., Any], http: FlaskClient, jobs: JobStore) -> None:
    for weight in (2.0, 3.0):
        publish(jobs, weight=weight)
    http.put("/models/or/aliases/production", json={"version": 2})
    target = "X-Amzn-SageMaker-Target-Model"
    for path, header, z in (
        ("/invocations?model=or", {}, 3),
        ("/invocations?model=or%40production", {}, 2),
        ("/invocations?model=or/1", {}, 1),
        ("/invocations", {target: "or@production"}, 2),
        ("/invocations?model=or/1", {target: "or@production"}, 1),
    ):
        assert invoke({"instances": [[1, 0]]}, path=path, **header).get_json() == {"predictions": y_hat(z)}


@pytest.mark.parametrize(
    ("path", "status", "code", "pointer"),
    [
        ("/invocations", 422, "invalid_request", "/model"),
        ("/invocations?model=", 422, "invalid_request", "/model"),
        ("/invocations?model=or@", 422, "invalid_request", "/model"),
        ("/invocations?model=or/0", 422, "invalid_request", "/model"),
        ("/invocations?model=a%20b", 422, "invalid_request", "/model"),
        ("/invocations?model=nope", 404, "model_not_found", None),
        ("/invocations?model=or/9", 404, "version_not_found", None),
        ("/invocations?model=or@nope", 404, "alias_not_found", None),
    ],
)
def test_a_model_must_be_named_and_exist(
    invoke: Callable[..., Any], path: str, status: int, code: str, pointer: str | None
) -> None:
    answer = invoke({"instances": [[1, 2]]}, path=path)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem.get("errors", [{"pointer": None}])[0]["pointer"] == pointer


def test_a_wrong_target_model_is_named_by_its_header(invoke: Callable[..., Any]) -> None:
    answer = invoke({"instances": [[1, 2]]}, path="/invocations", **{"X-Amzn-SageMaker-Target-Model": "m.tar/gz"})
    assert answer.get_json()["errors"][0]["pointer"] == "/X-Amzn-SageMaker-Target-Model"


JSON = "application/json"
WRONG: list[tuple[Any, str, int, str, str | None]] = [
    ({}, JSON, 422, "invalid_request", ""),
    ({"params": {}}, JSON, 422, "invalid_request", ""),
    ({"instances": [[1, 2]], "inputs": [[1, 2]]}, JSON, 422, "invalid_request", "/inputs"),
    ({"instances": [[1, 2]], "dataframe_split": FRAME}, JSON, 422, "invalid_request", "/instances"),
    (b"[[1, 2]]", JSON, 400, "malformed_json", None),
    (b'{"instances": [[1, NaN]]}', JSON, 400, "malformed_json", "/instances/0/1"),
    ({"instances": [{"features": [1, 2]}, {"features": [1]}]}, JSON, 422, "wrong_dimension", "/instances/1/features"),
    ({"instances": [{"data": {"features": {"values": [1, "2"]}}}]}, JSON, 422, "invalid_request",
     "/instances/0/data/features/values/1"),
    ({"features": [1]}, JSON, 422, "wrong_dimension", "/features"),
    ({"features": [1, "2"]}, JSON, 422, "invalid_request", "/features/1"),
    ({"features": 5}, JSON, 422, "invalid_request", "/features"),
    ({"dataframe_split": []}, JSON, 422, "invalid_request", "/dataframe_split"),
    ({"dataframe_split": {}}, JSON, 422, "invalid_request", "/dataframe_split/data"),
    ({"dataframe_split": {"columns": ["x0"], "data": [[1]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns"),
    ({"dataframe_split": {"columns": ["x0", "x1", "x2"], "data": [[1, 2, 3]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns/2"),
    ({"dataframe_split": {"columns": ["x0", "x0"], "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns/1"),
    ({"dataframe_split": {"columns": ["x0", None], "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns/1"),
    ({"dataframe_split": {"columns": [1, 0], "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns"),
    ({"dataframe_split": {"columns": [0], "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns"),
    ({"dataframe_split": {"columns": [False, True], "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns/0"),
    ({"dataframe_split": {"columns": "x0", "data": [[1, 2]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/columns"),
    ({"dataframe_split": {**FRAME, "data": [[1, 2, 3, 4]]}}, JSON, 422, "wrong_dimension", "/dataframe_split/data/0"),
    ({"dataframe_split": {**FRAME, "data": [[1, 2], [3, "4"]]}}, JSON, 422, "invalid_request",
     "/dataframe_split/data/1/1"),
    ({"dataframe_records": [{"x0": 1}]}, JSON, 422, "invalid_request", "/dataframe_records/0/x1"),
    ({"dataframe_records": [{"x0": 1, "x1": None}]}, JSON, 422, "invalid_request", "/dataframe_records/0/x1"),
    ({"dataframe_records": [{"x0": 1, "x1": 1, "x2": 1}]}, JSON, 422, "invalid_request", "/dataframe_records/0/x2"),
    ({"dataframe_records": [[1, 2]]}, JSON, 422, "invalid_request", "/dataframe_records/0"),
    ({"dataframe_records": {}}, JSON, 422, "invalid_request", "/dataframe_records"),
    ("\n", "text/csv", 422, "invalid_request", ""),
    ("x0,x1\n", "text/csv", 422, "invalid_request", ""),
    ("x0,y\n1,2\n", "text/csv", 422, "invalid_request", ""),
    ("x0,x1,y\n1,2,3\n", "text/csv", 422, "wrong_dimension", ""),
    ("1,2\n3\n", "text/csv", 422, "invalid_request", "/1"),
    ("1,2,3,4,5\n", "text/csv", 422, "wrong_dimension", ""),
    ("1,2\n" + "," * 5000, "text/csv", 422, "invalid_request", "/1"),
    ("1,2\n\n3,4\n", "text/csv", 422, "invalid_request", "/1"),
    ("1,2\n3,\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("x0,x1\n1,2\n3,four\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("1,2\n1,nan\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("1,2\n-inf,2\n", "text/csv", 422, "invalid_request", "/1/0"),
    ("1,2\n1,1e999\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("1,2\n1,1_0\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("1,2\n1,٣\n", "text/csv", 422, "invalid_request", "/1/1"),
    ("1,2\n1,--2\n", "text/csv", 422, "invalid_request", "/1/1"),
    ('1,2\n1,"2\n', "text/csv", 422, "invalid_request", "/1"),
    (b"1,\xff\n", "text/csv", 422, "invalid_request", ""),
    ("1,2\n" * 51, "text/csv", 422, "invalid_request", ""),
    ("\n" * 2000, "text/csv", 422, "invalid_request", ""),
    ("x0,x1\n1,2\n", "text/csv; header=absent", 422, "invalid_request", "/0/0"),
    ("1,2\n1,2\n", "text/csv; header=present", 422, "invalid_request", ""),
    ("1,2\n", "text/csv; header=maybe", 415, "unsupported_media_type", None),
    ("1,2\n", "text/csv; charset=utf-16", 415, "unsupported_media_type", None),
    ("\n", "application/jsonlines", 422, "invalid_request", ""),
    ("[1, 2]\n[1\n", "application/jsonlines", 400, "malformed_json", None),
    ("[1, 2]\n[1, NaN]\n", "application/jsonlines", 400, "malformed_json", "/1/1"),
    ('[1, 2]\n{"a": 1, "a": 2}\n', "application/jsonlines", 422, "invalid_request", "/1/a"),
    ("[1, 2]\n\n[1, 2]\n", "application/jsonlines", 400, "malformed_json", None),
    ("[1, 2], [3\n, 4]\n", "application/jsonlines", 400, "malformed_json", None),
    ('{"features": [1, 2]}\n{"features": [1, 1e999]}', "application/jsonlines", 422, "invalid_request",
     "/1/features/1"),
    ("[1, 2]\n[1]\n", "application/jsonlines", 422, "wrong_dimension", "/1"),
    ("[1, 2]\n5\n", "application/jsonlines", 422, "invalid_request", "/1"),
    ("[1, 2]\n" * 51, "application/jsonlines", 422, "invalid_request", ""),
    (npy([[1, 2], [3, np.nan]]), "application/x-npy", 422, "invalid_request", "/1/1"),
    (npy([[1, 2], [np.inf, 3]], "<f2"), "application/x-npy", 422, "invalid_request", "/1/0"),
    (npy([[1, 2, 3]]), "application/x-npy", 422, "wrong_dimension", ""),
    (npy([1, 2, 3]), "application/x-npy", 422, "wrong_dimension", ""),
    (npy([[[1, 2]]]), "application/x-npy", 422, "invalid_request", ""),
    (npy(5), "application/x-npy", 422, "invalid_request", ""),
    (npy(np.zeros((0, 2))), "application/x-npy", 422, "invalid_request", ""),
    (npy(np.zeros((51, 2))), "application/x-npy", 422, "invalid_request", ""),
    (npy([[1, 2]])[:-1], "application/x-npy", 422, "invalid_request", ""),
    (npy([[1, 2]]) + b"\0", "application/x-npy", 422, "invalid_request", ""),
    (npy([["a", "b"]], "U1"), "application/x-npy", 422, "invalid_request", ""),
    (npy([[1, 2]], "c16"), "application/x-npy", 422, "invalid_request", ""),
    (npy([[True, False]], "?"), "application/x-npy", 422, "invalid_request", ""),
    (npy([[1, 2]], "M8[s]"), "application/x-npy", 422, "invalid_request", ""),
    (npy_with("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2)}", b"cos\nsystem\n(S'x'\ntR."),
     "application/x-npy", 422, "invalid_request", ""),
    (npy_with("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1, 2)}"), "application/x-npy", 422,
     "invalid_request", ""),
    (npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (50, 2)}"), "application/x-npy", 422,
     "invalid_request", ""),
    (npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2)}"), "application/x-npy", 422,
     "invalid_request", ""),
    (npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "9" * 400 + ", 2)}"), "application/x-npy", 422,
     "invalid_request", ""),
    (npy_with("{'descr': '<f8', 'fortran_order': 0, 'shape': (1, 2)}"), "application/x-npy", 422,
     "invalid_request", ""),
    (npy_with("(" * 900), "application/x-npy", 422, "invalid_request", ""),
    (npy_with("__import__('os').abort()"), "application/x-npy", 422, "invalid_request", ""),
    (npy_with(" " * 60_000), "application/x-npy", 422, "invalid_request", ""),
    (npy_with("{}", version=9), "application/x-npy", 422, "invalid_request", ""),
    (b"\x93NUMPY", "application/x-npy", 422, "invalid_request", ""),
    (b"1,2\n", "application/x-npy", 422, "invalid_request", ""),
    ("1,2\n", "text/plain", 415, "unsupported_media_type", None),
    (b"\0", "application/x-recordio-protobuf", 415, "unsupported_media_type", None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content_type", "status", "code", "pointer"), WRONG)
def test_what_is_wrong_is_named_by_its_place(
    invoke: Callable[..., Any], body: Any, content_type: str, status: int, code: str, pointer: str | None
) -> None:
    answer = invoke(body, content_type)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.mimetype == "application/problem+json"
    assert isinstance(problem["error"], str)
    assert problem.get("errors", [{"pointer": None}])[0]["pointer"] == pointer, answer.text


@pytest.mark.parametrize(
    ("body", "content_type", "pointer"),
    [
        ({"features": [1e308, 1e308]}, JSON, "/features"),
        ({"dataframe_split": {**FRAME, "data": [[1, 2], [1e308, 1e308]]}}, JSON, "/dataframe_split/data/1"),
        ({"dataframe_records": [{"x0": 1e308, "x1": 1e308}]}, JSON, "/dataframe_records/0"),
        ("1,2\n1e308,1e308\n", "text/csv", "/1"),
        ("[1, 2]\n[1e308, 1e308]\n", "application/jsonlines", "/1"),
        (npy([[1e308, 1e308]]), "application/x-npy", "/0"),
    ],
)
def test_an_output_that_is_not_finite_is_an_error_of_its_instance(
    invoke: Callable[..., Any], train: Callable[..., Any], body: Any, content_type: str, pointer: str
) -> None:
    train(steep())
    answer = invoke(body, content_type, "/invocations?model=steep")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "output_not_finite")
    assert answer.get_json()["errors"][0]["pointer"] == pointer


def test_a_missing_column_is_named(invoke: Callable[..., Any]) -> None:
    for body, content_type in (
        ({"dataframe_split": {"columns": ["x0", "y"], "data": [[1, 2]]}}, "application/json"),
        ("x0,y\n1,2\n", "text/csv"),
    ):
        assert "'x1'" in invoke(body, content_type).get_json()["detail"]


def test_a_first_line_of_numbers_is_an_instance_unless_the_type_says_that_they_are_names(
    http: FlaskClient, train: Callable[..., Any]
) -> None:
    data = {"features": [[0, 0], [1, 1]], "targets": [0, 1], "feature_names": ["0", "1"]}
    train({"model": "numbered", "data": data})
    for content_type, n_answers in (("text/csv", 2), ("text/csv; header=absent", 2), ("text/csv; header=present", 1)):
        headers = {"Content-Type": content_type}
        answer = http.post("/invocations?model=numbered", data="1,0\n0,1\n", headers=headers)
        assert len(answer.get_json()["predictions"]) == n_answers


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x0", "x1", "features", "data", "values", "columns", "input"]), inner)
    ),
    max_leaves=8,
)
FORMS = ["instances", "inputs", "features", "dataframe_split", "dataframe_records", "params"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(FORMS), ANY, max_size=2) | ANY)
def test_no_json_makes_it_fail(invoke: Callable[..., Any], body: Any) -> None:
    text = json.dumps(body)
    for answer in (invoke(text), invoke(text, "application/jsonlines"), invoke(text, path="/v1/models/or:predict")):
        assert answer.status_code in (200, 400, 422), answer.text
        assert answer.status_code != 200 or "NaN" not in answer.text


MORE_BYTES = st.binary(max_size=40) | st.text('0123456789.,\n\r"-eE x', max_size=40).map(str.encode)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"1,2\n", b"x1,x0\n", npy([[1, 2]])[:64], npy([[1, 2]]), b"\x93NUMPY\x01\x00\x30\x00"]),
    more=MORE_BYTES,
)
def test_no_bytes_make_it_fail(invoke: Callable[..., Any], start: bytes, more: bytes) -> None:
    for content_type in ("text/csv", "application/x-npy", "application/jsonlines"):
        answer = invoke(start + more, content_type)
        assert answer.status_code in (200, 400, 411, 422), answer.text
        assert "nan" not in answer.text.lower() or answer.status_code != 200


def test_whole_numbers_are_the_names_that_they_spell(http: FlaskClient, jobs: JobStore) -> None:
    # y_hat = 10 x0 + x1, and the features are named "0" and "1"
    publish_network(jobs, "numbered", weights=[[10], [1]], classes=None, feature_names=("0", "1"))
    for columns, data in (([1, 0], [2, 1]), ([0, 1], [1, 2]), (["1", 0], [2, 1])):
        frame = {"dataframe_split": {"columns": columns, "data": [data]}}
        assert http.post("/invocations?model=numbered", json=frame).get_json()["predictions"] == [[12.0]]
