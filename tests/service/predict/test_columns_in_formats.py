"""Rows of a table in every format and protocol: the same outputs, warnings and errors as in native JSON."""

import decimal
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.tables import CHURN, SPELLINGS, TREES, publish_table

ARROW = "application/vnd.apache.arrow.stream"
ROWS = [
    {"age": 52, "income": 25.5, "member": True, "plan": "plus"},
    {"age": 52, "income": None, "member": True, "plan": "plus"},
    {"age": 52, "income": 25.5, "member": True, "plan": None},
    {"age": 52, "income": 25.5, "member": True, "plan": "gold"},
]
Y_HAT = pytest.approx([0.0356365493, 0.0276931085, 0.026394114, 0.0503273762], abs=1e-6)  # scikit-learn's
CELLS = [list(row.values()) for row in ROWS]
COLUMNS: dict[str, list[Any]] = {name: [row[name] for row in ROWS] for name in ROWS[0]}
CSV = "age,income,member,plan\n52,25.5,true,plus\n52,,TRUE,plus\n52,25.5,true,\n52.0,2.55e1,True,gold\n"


@pytest.fixture(autouse=True)
def published(jobs: JobStore) -> None:
    publish_table(jobs, "churn", CHURN)


def post(http: FlaskClient, body: Any, media_type: str = "application/json", path: str = "/predict?model=churn") -> Any:
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return http.post(path, data=data, headers={"Content-Type": media_type})


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def y_hat(answer: Any) -> list[float]:
    assert answer.status_code == 200, answer.text
    members = answer.get_json()
    return [row[0] for row in members.get("outputs", members.get("predictions"))]


def fault(answer: Any) -> tuple[str, str]:
    assert answer.status_code == 422, answer.text
    (one,) = answer.get_json()["errors"]
    return one["pointer"], one["detail"]


JSON_LINES = "\n".join(map(json.dumps, ROWS))
INVOCATIONS = "/invocations?model=churn"
TF = "/v1/models/churn:predict"


@pytest.mark.parametrize(
    ("body", "media_type", "path"),
    [
        (CSV, "text/csv", "/predict?model=churn"),
        (CSV.partition("\n")[2], "text/csv", "/predict?model=churn"),
        (CSV, "text/csv; header=present", INVOCATIONS),
        (CSV.partition("\n")[2], "text/csv; header=absent", INVOCATIONS),
        (JSON_LINES, "application/jsonlines", "/predict?model=churn"),
        ("\n".join(map(json.dumps, CELLS)), "application/jsonlines", INVOCATIONS),
        ("\n".join(json.dumps({"features": row}) for row in CELLS), "application/jsonlines", INVOCATIONS),
        ({"instances": ROWS}, "application/json", INVOCATIONS),
        ({"instances": CELLS}, "application/json", INVOCATIONS),
        ({"instances": [{"input": row} for row in CELLS]}, "application/json", INVOCATIONS),
        ({"inputs": COLUMNS}, "application/json", INVOCATIONS),
        ({"inputs": {name: [[x] for x in column] for name, column in COLUMNS.items()}}, "application/json", TF),
        ({"inputs": ROWS}, "application/json", TF),
        ({"inputs": {"input": CELLS}}, "application/json", TF),
        ({"instances": ROWS}, "application/json", TF),
        ({"dataframe_records": ROWS}, "application/json", INVOCATIONS),
        ({"dataframe_split": {"columns": list(COLUMNS), "data": CELLS}}, "application/json", INVOCATIONS),
        ({"dataframe_split": {"columns": [0, 1, 2, 3], "data": CELLS}}, "application/json", INVOCATIONS),
        ({"dataframe_split": {"data": CELLS}}, "application/json", INVOCATIONS),
        (
            {
                "dataframe_split": {
                    "columns": ["y", "plan", "member", "income", "age"],
                    "data": [["stay", *row[::-1]] for row in CELLS],
                }
            },
            "application/json",
            INVOCATIONS,
        ),
        (stream(pa.table(COLUMNS)), ARROW, "/predict?model=churn"),
        (stream(pa.table({**COLUMNS, "income": [25.5, float("nan"), 25.5, 25.5]})), ARROW, "/predict?model=churn"),
        (stream(pa.table({"y": ["stay"] * 4, **dict(reversed(COLUMNS.items()))})), ARROW, INVOCATIONS),
    ],
)
def test_the_outputs_are_those_of_native_json(http: FlaskClient, body: Any, media_type: str, path: str) -> None:
    answer = post(http, body, media_type, path)
    assert y_hat(answer) == Y_HAT
    assert answer.headers["X-Warnings"] == "1"  # gold is unknown


def test_a_single_row_as_features(http: FlaskClient) -> None:
    assert y_hat(post(http, {"features": CELLS[0]}, path=INVOCATIONS)) == [pytest.approx(0.0356365493, abs=1e-6)]


@pytest.mark.parametrize(
    ("body", "media_type", "path", "expected"),
    [
        ("age,income,member\n52,1,true\n", "text/csv", INVOCATIONS, ("", "has no column 'plan'")),
        ("Age,income,member,plan\n52,1,true,pro\n", "text/csv", INVOCATIONS, ("", "'Age' is given")),
        ("age,age,income,member,plan\n1,1,1,true,pro\n", "text/csv", INVOCATIONS, ("/age", "has two columns 'age'")),
        ("52,x,true,pro\n", "text/csv", INVOCATIONS, ("/0/1", "'income' must be a number or empty, not 'x'")),
        ("52,1,maybe,pro\n", "text/csv", INVOCATIONS, ("/0/2", "'member' must be true, false or null, not 'maybe'")),
        ("52,1e999,true,pro\n", "text/csv", INVOCATIONS, ("/0/1", "must be finite")),
        ("52,inf,true,pro\n", "text/csv", INVOCATIONS, ("/0/1", "not 'inf'")),
        ("52,1_0,true,pro\n", "text/csv", INVOCATIONS, ("/0/1", "not '1_0'")),
        ("52,1,true,pro\n52,1\n", "text/csv", INVOCATIONS, ("/1", "expected 4 values, got 2")),
        ('52,1,true,"pro\n', "text/csv", INVOCATIONS, ("/0", "must be a line of CSV")),
        ('{"age": 1}\n', "application/jsonlines", INVOCATIONS, ("/0/income", "Field required")),
        ('[1,2,true,"pro"]\n[1,2,3,4]\n', "application/jsonlines", INVOCATIONS, ("/1/2", "'member'")),
        ({"inputs": {**COLUMNS, "plan": ["pro"]}}, "application/json", TF, ("/inputs/plan", "expected 4 values")),
        ({"inputs": {**COLUMNS, "plan": "pro"}}, "application/json", TF, ("/inputs/plan", "must be a list")),
        ({"inputs": {**COLUMNS, "age": [1, 2, 3, "4"]}}, "application/json", TF, ("/inputs/age/3", "not '4'")),
        ({"inputs": {"age": [1]}}, "application/json", TF, ("/inputs/income", "Field required")),
        ({"inputs": {**COLUMNS, "age": []}}, "application/json", TF, ("/inputs/age", "must hold 1 to")),
        (
            {"dataframe_split": {"columns": ["age", "b"], "data": [[1, 2]]}},
            "application/json",
            INVOCATIONS,
            ("/dataframe_split/columns", "has no column 'income'"),
        ),
        (
            {"dataframe_split": {"columns": [*COLUMNS, "id"], "data": [[1, 2, True, "pro"]]}},
            "application/json",
            INVOCATIONS,
            ("/dataframe_split/data/0", "expected 5 values, got 4"),
        ),
        (
            {"dataframe_split": {"columns": ["plan", "income", "age", "member"], "data": [[1, 2, "x", True]]}},
            "application/json",
            INVOCATIONS,
            ("/dataframe_split/data/0/2", "'age' must be a number or null, not 'x'"),
        ),
        ({"features": [1, 2, True]}, "application/json", INVOCATIONS, ("/features", "expected 4 values, got 3")),
        ({"features": [1, 2, True, {}]}, "application/json", INVOCATIONS, ("/features/3", "'plan'")),
        (npy(np.ones((2, 4))), "application/x-npy", INVOCATIONS, ("", "expected 8 columns of encoded features, got 4")),
        (stream(pa.table({**COLUMNS, "age": ["52"] * 4})), ARROW, INVOCATIONS, ("/age", "numbers, not string")),
        (stream(pa.table({**COLUMNS, "plan": [[1]] * 4})), ARROW, INVOCATIONS, ("/plan", "not list<item: int64>")),
        (stream(pa.table({**COLUMNS, "age": [float("inf")] * 4})), ARROW, INVOCATIONS, ("/0/0", "must be finite")),
        (stream(pa.table({**COLUMNS, "age": [2**53] * 4})), ARROW, INVOCATIONS, ("/0/0", "must be exact")),
        (stream(pa.table({**COLUMNS, "member": [1] * 4})), ARROW, INVOCATIONS, ("/member", "booleans")),
        (stream(pa.table({**COLUMNS, "member": ["maybe"] * 4})), ARROW, INVOCATIONS, ("/0/2", "'maybe'")),
        (stream(pa.table({"age": [1]})), ARROW, INVOCATIONS, ("", "has no column 'income'")),
    ],
)
def test_what_does_not_fit_is_named(
    http: FlaskClient, body: Any, media_type: str, path: str, expected: tuple[str, str]
) -> None:
    pointer, detail = fault(post(http, body, media_type, path))
    assert pointer == expected[0]
    assert expected[1] in detail


def test_nan_in_a_category_of_an_arrow_stream_is_missing_and_not_the_text_nan(
    http: FlaskClient, jobs: JobStore
) -> None:
    publish_table(jobs, "nan", "a,c,y\n1,nan,9\n2,p,2\n3,nan,8\n4,p,4\n5,q,5\n")
    nan, null, text = (
        y_hat(post(http, stream(pa.table({"a": [1.0], "c": [cell]})), ARROW, "/predict?model=nan"))
        for cell in (float("nan"), None, "nan")
    )
    assert nan == null != text


def test_null_spellings_are_missing_numbers_in_csv_and_categories_elsewhere(http: FlaskClient) -> None:
    rows = "52,NA,true,plus\n52,?,n/a,NA\n"
    answer = post(http, rows, "text/csv")
    assert y_hat(answer)[0] == pytest.approx(0.0276931085, abs=1e-6)
    assert [(each["pointer"], each["code"]) for each in answer.get_json()["warnings"]] == [
        ("/1/2", "missing_value"),
        ("/1/3", "unknown_category"),
    ]


def test_a_first_row_without_numbers_is_no_header(http: FlaskClient) -> None:
    assert y_hat(post(http, ",,true,plus\n52,25.5,true,plus\n", "text/csv"))[1] == pytest.approx(0.0356365493, abs=1e-6)


def test_cells_of_a_table_may_hold_what_separates_other_tables(http: FlaskClient) -> None:
    text = "age,income,member,plan,note|more\n52,25.5,true,plus,a;b|c\n"
    assert y_hat(post(http, text, "text/csv")) == [pytest.approx(0.0356365493, abs=1e-6)]
    answer = post(http, "age;income;member;plan\n52;25.5;true;plus\n", "text/csv")
    assert "separate columns by commas" in fault(answer)[1]


def test_encoded_features_are_taken_as_a_matrix(http: FlaskClient) -> None:
    # age, income, income:missing, member, plan=<missing>, basic, plus, pro
    encoded = np.array([[52, 25.5, 0, 1, 0, 0, 1, 0], [52, 25.5, 0, 1, 0, 0, 0, 0]])
    expected = pytest.approx([0.0356365493, 0.0503273762], abs=1e-6)
    assert y_hat(post(http, npy(encoded), "application/x-npy")) == expected
    tensor = {"name": "input", "shape": [2, 8], "datatype": "FP64", "data": encoded.tolist()}
    answer = http.post("/v2/models/churn/infer", json={"inputs": [tensor]})
    assert answer.get_json()["outputs"][0]["data"] == expected


def test_a_matrix_of_columns_is_taken_where_all_are_numbers(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "line", "a,b,y\n0,1,3\n1,1,5\n2,5,7\n3,2,9\n,3,4\n")
    expected = y_hat(post(http, {"model": "line", "instances": [[1.5, 2], [0, 1]]}, path="/predict"))
    matrix = np.array([[1.5, 2], [0, 1]])
    assert y_hat(post(http, npy(matrix), "application/x-npy", "/predict?model=line")) == expected
    encoded = np.array([[1.5, 0, 2], [0, 0, 1]])
    assert y_hat(post(http, npy(encoded), "application/x-npy", "/predict?model=line")) == expected
    for array in (matrix, encoded):
        tensor = {"name": "input", "shape": array.shape, "datatype": "FP64", "data": array.ravel().tolist()}
        answer = http.post("/v2/models/line/infer", json={"inputs": [tensor]})
        assert [answer.get_json()["outputs"][0]["data"]] == [expected]


def test_a_version_with_one_column_takes_bare_values(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "one", "g,y\n1,1\n2,2\nX,5\n1,1.2\nX,5.5\n")
    expected = y_hat(post(http, {"model": "one", "instances": [{"g": "1"}, {"g": "X"}]}, path="/predict"))
    assert y_hat(post(http, {"instances": [1, "X"]}, path="/v1/models/one:predict")) == expected
    assert y_hat(post(http, {"inputs": ["1", "X"]}, path="/v1/models/one:predict")) == expected
    assert y_hat(post(http, "1\nX\n", "text/csv", "/predict?model=one")) == expected


def test_the_signature_for_tensorflow_has_an_input_for_each_column(http: FlaskClient) -> None:
    metadata = http.get("/v1/models/churn/metadata").get_json()["metadata"]
    inputs = metadata["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert {name: tensor["dtype"] for name, tensor in inputs.items()} == {
        "age": "DT_DOUBLE",
        "income": "DT_DOUBLE",
        "member": "DT_BOOL",
        "plan": "DT_STRING",
    }
    assert inputs["plan"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("plan", pa.array(["plus", "plus", None, "gold"]).dictionary_encode()),
        ("plan", pa.DictionaryArray.from_arrays(pa.array([1, 1, 2, 3]), ["unused", "plus", None, "gold"])),
        ("plan", pa.array(["plus", "plus", None, "gold"], pa.string_view())),
        ("plan", pa.array([" plus", "plus ", "", "gold"], pa.large_string())),
        ("income", pa.array([decimal.Decimal("25.50"), None, decimal.Decimal("25.5"), decimal.Decimal("25.5")])),
        ("income", pa.array([25.5, None, 25.5, 25.5], pa.float32())),
        ("income", pa.array([25.5, None, 25.5, 25.5]).dictionary_encode()),
        ("age", pa.array([52, 52, 52, 52], pa.uint8())),
        ("member", pa.array(["true", "True", "TRUE", "true"])),
    ],
)
def test_arrow_has_many_types_for_the_same(http: FlaskClient, name: str, column: pa.Array) -> None:
    table = pa.table({**COLUMNS, name: column})
    assert y_hat(post(http, stream(table), ARROW)) == Y_HAT
    batches = [table.slice(0, 1), table.slice(1, 2), table.slice(3)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in batches:
            writer.write_table(batch)
    assert y_hat(post(http, sink.getvalue().to_pybytes(), ARROW)) == Y_HAT


def test_a_column_of_nulls_alone_is_missing(http: FlaskClient) -> None:
    nulls = {**COLUMNS, "plan": pa.nulls(4), "income": pa.nulls(4)}
    rows = [{**row, "plan": None, "income": None} for row in ROWS]
    expected = y_hat(post(http, {"model": "churn", "instances": rows}, path="/predict"))
    assert y_hat(post(http, stream(pa.table(nulls)), ARROW)) == expected


def test_other_columns_of_any_type_are_ignored_with_a_warning(http: FlaskClient) -> None:
    answer = post(http, stream(pa.table({"vector": [[1.0]] * 4, **COLUMNS, "when": pa.nulls(4)})), ARROW)
    assert y_hat(answer) == Y_HAT
    assert [each["pointer"] for each in answer.get_json()["warnings"]] == ["/vector", "/when", "/3/4"]


def test_arrow_columns_without_names_are_in_order(http: FlaskClient) -> None:
    for names in (["0", "1", "2", "3"], [""] * 4):
        table = pa.Table.from_arrays([pa.array(column) for column in COLUMNS.values()], names=names)
        assert y_hat(post(http, stream(table), ARROW)) == Y_HAT


def test_a_number_missing_where_training_had_gaps_is_no_warning(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "spellings", SPELLINGS)
    answer = post(http, "a,c\n-,p\n6,p\n", "text/csv", "/predict?model=spellings")
    assert y_hat(answer) == pytest.approx([3.2458686265, 6.5111246807], abs=1e-6)
    assert "warnings" not in answer.get_json() and "X-Warnings" not in answer.headers


def test_a_number_as_text_is_a_number_in_csv_alone(http: FlaskClient, jobs: JobStore) -> None:
    publish_table(jobs, "trees", TREES)
    expected = [pytest.approx(5.3314250971, abs=1e-6)]
    assert y_hat(post(http, "c,a\nelm,7\n", "text/csv", "/predict?model=trees")) == expected
    assert y_hat(post(http, '"a","c"\r\n" 7 ","elm"\r\n', "text/csv", "/predict?model=trees")) == expected
    answer = post(http, "a,c\n7,elm\n", "text/csv", "/invocations?model=trees")
    assert y_hat(answer) == expected
