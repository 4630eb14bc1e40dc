"""`client.predict` against the running service: rows in every form give the same numbers."""

import pickle
import time

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from perceptron_client import Client
from perceptron_client.errors import (
    Invalid,
    InvalidArgument,
    ModelNotFound,
    NoNetwork,
    WrongDimension,
)
from tests.stack import Stack

from .conftest import LINE, ONE_STEP

# z = 0.14 * 2 + 0.04 * 1 + 0.06
ROW, Z = [2.0, 1.0], 0.38
RECORD = {"b": 1.0, "a": 2.0}


@pytest.mark.parametrize(
    "rows",
    [
        [ROW],
        [tuple(ROW)],
        RECORD,
        [RECORD],
        np.array(ROW),
        np.array([ROW], dtype=np.float32),
        np.array([[2, 1]]),
        [np.array(ROW)],
        pd.DataFrame([RECORD]),
        pd.DataFrame([ROW]),
        pd.Series(RECORD),
        pl.DataFrame([RECORD]),
        pa.Table.from_pylist([RECORD]),
        pa.RecordBatch.from_pylist([RECORD]),
        (row for row in [ROW]),
    ],
    ids=lambda rows: f"{type(rows).__module__}.{type(rows).__name__}",
)
def test_one_row_in_every_form_gives_the_output_by_hand(client: Client, line: str, rows):
    prediction = client.predict(line, rows)
    assert (prediction.model, prediction.version, len(prediction)) == (line, 1, 1)
    assert prediction.outputs == pytest.approx(np.array([[Z]]))
    assert prediction.predictions == pytest.approx(np.array([Z]))
    with pytest.raises(ValueError, match="read-only"):
        prediction.outputs[0] = 0


class Recorder(httpx.HTTPTransport):
    """Notes the media types of bodies and answers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        kinds = (request.headers["content-type"], response.headers["content-type"])
        self.seen.append(tuple(kind.rpartition("/")[2].removeprefix("vnd.apache.") for kind in kinds))
        return response


@pytest.mark.parametrize(
    ("kind", "formats"),
    [
        (lambda matrix: matrix, ("x-npy", "arrow.stream")),
        (lambda matrix: np.asfortranarray(matrix), ("x-npy", "arrow.stream")),
        (lambda matrix: matrix.tolist(), ("x-npy", "arrow.stream")),
        (lambda matrix: [{"a": a, "b": b} for a, b in matrix.tolist()], ("json", "json")),
        (lambda matrix: pd.DataFrame(matrix, columns=["a", "b"])[["b", "a"]], ("arrow.stream", "arrow.stream")),
        (lambda matrix: pl.DataFrame(matrix, schema=["a", "b"])[["b", "a"]], ("arrow.stream", "arrow.stream")),
        (lambda matrix: pd.DataFrame(matrix), ("arrow.stream", "arrow.stream")),
        (lambda matrix: pd.DataFrame(matrix, columns=["a", "b"]).astype({"a": object}), ("arrow.stream",) * 2),
    ],
)
def test_many_rows_go_in_the_fastest_format_and_give_the_same(stack: Stack, line: str, kind, formats):
    matrix = np.random.default_rng(0).normal(size=(3_000, 2))
    recorder = Recorder()
    with Client(stack.url, transport=recorder) as client:
        prediction = client.predict(line, kind(matrix), alias="production")
        explained = client.predict(line, kind(matrix[:2]), explain=True)
    assert recorder.seen == [formats, ("json", "json")]
    np.testing.assert_allclose(prediction.outputs[:, 0], matrix @ [0.14, 0.04] + 0.06, rtol=1e-12)
    np.testing.assert_array_equal(prediction.predictions, prediction.outputs[:, 0])
    np.testing.assert_allclose(explained.contributions, matrix[:2] * [0.14, 0.04], rtol=1e-12)
    assert (prediction.version, prediction.stale, prediction.raw["version"]) == (1, False, 1)
    assert prediction.raw["outputs"] == prediction.outputs.tolist()
    again = pickle.loads(pickle.dumps(prediction))
    assert again == prediction and not again.outputs.flags.writeable
    assert prediction != client_of(stack, line, kind(matrix + 1))


def client_of(stack: Stack, line: str, rows: object) -> object:
    with Client(stack.url) as client:
        return client.predict(line, rows)


def test_an_arrow_table_is_answered_by_one(client: Client, line: str, trees: str):
    answer = client.predict_arrow(line, pa.Table.from_pylist([RECORD, {"a": 0.0, "b": 0.0}]), version=1)
    assert (answer.version, answer.n_warnings) == (1, 0)
    np.testing.assert_allclose(answer.table.column("output").to_numpy(), [Z, 0.06], rtol=1e-12)
    of_unknown = client.predict_arrow(trees, pa.Table.from_pylist([{"height": 1.0, "kind": "yew"}]))
    assert of_unknown.n_warnings == 1
    with pytest.raises(ModelNotFound):
        client.predict_arrow("none", pa.Table.from_pylist([RECORD]))


@pytest.mark.parametrize("n_rows", [3, 3_000])
def test_classes_with_names_are_texts_in_every_format(client: Client, n_rows: int):
    features = np.array([[0.0], [1.0]] * 10)
    job = client.jobs.create(model="named", data=(features, ["no", "yes"] * 10))
    client.jobs.wait(job)
    matrix = np.linspace(-2, 3, n_rows)[:, None]
    for rows in (matrix, pd.DataFrame(matrix, columns=["x0"]), matrix.tolist()):
        prediction = client.predict("named", rows)
        assert prediction.predictions.dtype.kind == "U"
        np.testing.assert_array_equal(prediction.predictions, np.where(prediction.outputs[:, 0] >= 0.5, "yes", "no"))


def test_several_outputs_have_a_column_each(client: Client):
    features, targets = np.arange(20.0)[:, None], np.stack([np.arange(20.0), -np.arange(20.0)], axis=1)
    client.jobs.wait(client.jobs.create(model="two", data=(features, targets)))
    for n_rows in (2, 3_000):
        rows = np.linspace(0, 20, n_rows)[:, None]
        prediction = client.predict("two", rows)
        assert prediction.outputs.shape == prediction.predictions.shape == (n_rows, 2)
        np.testing.assert_allclose(prediction.outputs, np.hstack([rows, -rows]), atol=0.5)
    explained = client.predict("two", [[3.0]], explain=True)
    assert (explained.contributions.shape, explained.base.shape, explained.residual.shape) == ((1, 2, 1), (2,), (1, 2))


def test_more_rows_than_one_request_takes_are_answered_by_one_version(client: Client, monkeypatch):
    monkeypatch.setattr("perceptron_client.bodies.rows.MAX_ROWS", 3)
    client.jobs.wait(client.jobs.create(model="parts", data=LINE, training=ONE_STEP))
    client.models.set_alias("parts", "live", 1)
    asked = []
    send = client._http.send

    def send_and_move(call, **more):
        asked.append(call.content)
        if len(asked) == 1:
            response = send(call, **more)
            client.jobs.wait(client.jobs.create(model="parts", data=LINE, training={**ONE_STEP, "max_epochs": 2}))
            client.models.set_alias("parts", "live", 2)
            return response
        return send(call, **more)

    monkeypatch.setattr(client._http, "send", send_and_move)
    rows = np.arange(16.0).reshape(8, 2)
    prediction = client.predict("parts", rows, alias="live", versions="aliases", explain=True)
    np.testing.assert_allclose(prediction.outputs[:, 0], rows @ [0.14, 0.04] + 0.06, rtol=1e-12)
    np.testing.assert_allclose(prediction.contributions, rows * [0.14, 0.04], rtol=1e-12, atol=1e-15)
    assert prediction.version == 1 and len(prediction.raw["outputs"]) == 8
    np.testing.assert_array_equal(prediction.by_version[1].outputs, prediction.outputs)
    assert len(prediction.raw["by_version"]["1"]["predictions"]) == 8


def test_an_error_in_a_later_part_points_at_the_row_of_the_caller(client: Client, trees: str, monkeypatch):
    monkeypatch.setattr("perceptron_client.bodies.rows.MAX_ROWS", 3)
    rows = [{"height": 1.0, "kind": "fir"}] * 5
    with pytest.raises(Invalid) as caught:
        client.predict(trees, [*rows[:4], {"height": "tall", "kind": "fir"}])
    assert caught.value.errors[0].pointer == "/instances/4/height"
    warned = client.predict(trees, [*rows[:4], {"height": 1.0, "kind": "yew"}])
    assert [(each.pointer, each.code) for each in warned.warnings] == [("/instances/4/kind", "unknown_category")]


@pytest.mark.parametrize("n_rows", [1, 2_000])
def test_a_list_with_something_else_than_numbers_is_refused_whatever_its_length(client: Client, line: str, n_rows: int):
    for wrong in (True, "1", None):
        with pytest.raises(Invalid) as caught:
            client.predict(line, [[1.0, 2.0]] * n_rows + [[1.0, wrong]])
        assert caught.value.errors[0].pointer == f"/instances/{n_rows}/1"
    with pytest.raises(WrongDimension):
        client.predict(line, [[1.0, 2.0]] * n_rows + [[1.0]])


@pytest.mark.parametrize("n_rows", [2, 2_000])
def test_an_array_holds_the_columns_of_a_table_or_their_features_whatever_its_length(client: Client, n_rows: int):
    rows = [{"height": float(k % 5), "store": k % 2, "fruit": float(k % 5 + 3 * (k % 2))} for k in range(40)]
    types = {"store": "categorical"}
    client.jobs.wait(client.jobs.create(model="stores", data=rows, target="fruit", types=types))
    assert client.models.version("stores").feature_names == ("height", "store=0", "store=1")
    columns = np.array([[2.0, 1.0], [4.0, 0.0]] * (n_rows // 2))
    features = np.array([[2.0, 0.0, 1.0], [4.0, 1.0, 0.0]] * (n_rows // 2))
    of_columns, of_features = client.predict("stores", columns), client.predict("stores", features)
    np.testing.assert_allclose(of_columns.outputs, [[5.0], [4.0]] * (n_rows // 2), atol=0.2)
    np.testing.assert_allclose(of_features.outputs, of_columns.outputs, rtol=1e-12)
    with pytest.raises(WrongDimension):
        client.predict("stores", np.zeros((n_rows, 7)))


def test_a_row_of_a_data_frame_is_one_instance_and_its_gap_is_null(client: Client, trees: str):
    frame = pd.DataFrame({"height": [1.0, None], "kind": ["fir", "oak"]})
    assert [each.code for each in client.predict(trees, frame.iloc[1]).warnings] == ["missing_value"]


def test_warnings_come_with_rows_in_every_format(client: Client, trees: str):
    rows = [{"height": 1.0, "kind": "fir"}] * 2_499 + [{"height": 1.0, "kind": "yew"}]
    for given in (rows, pd.DataFrame(rows), pl.DataFrame(rows)):
        (warning,) = client.predict(trees, given).warnings
        assert warning.code == "unknown_category" and "'yew'" in warning.detail


def test_a_frame_with_gaps_and_a_column_of_mixed_types_is_sent(client: Client, trees: str):
    for n_rows in (2, 2_500):
        frame = pd.DataFrame({"height": [1.0, None] * (n_rows // 2), "kind": ["fir", 7] * (n_rows // 2)})
        prediction = client.predict(trees, frame)
        assert len(prediction) == n_rows
        assert {each.code for each in prediction.warnings} >= {"missing_value", "unknown_category"}


@pytest.mark.parametrize("n_rows", [2, 2_500])
def test_nan_is_missing_in_every_frame(client: Client, trees: str, n_rows: int):
    heights = [1.0, float("nan")] * (n_rows // 2)
    kinds = ["fir"] * n_rows
    frames = [
        pd.DataFrame({"height": heights, "kind": kinds}),
        pl.DataFrame({"height": heights, "kind": kinds}),
        pa.table({"height": heights, "kind": kinds}),
    ]
    outputs = [client.predict(trees, frame).outputs for frame in frames]
    null = client.predict(trees, [{"height": 1.0, "kind": "fir"}, {"height": None, "kind": "fir"}]).outputs
    for each in outputs:
        np.testing.assert_allclose(each[:2], null, rtol=1e-12)


def test_explain_and_compare(client: Client, line: str):
    prediction = client.predict(line, [ROW], version=1, explain=True, versions=[1])
    np.testing.assert_allclose(prediction.contributions, [[0.28, 0.04]], rtol=1e-12)
    assert prediction.base == pytest.approx(0.06) and prediction.residual == pytest.approx([0.0])
    assert prediction.by_version[1].outputs == pytest.approx(np.array([[Z]]))
    by_alias = client.predict(line, [ROW], versions="aliases")
    assert by_alias.by_version[1].aliases == ("production",)


def test_a_running_job_predicts_before_it_is_done(client: Client):
    settings = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 1_000_000, "learning_rate": 1e-3}
    job = client.jobs.create(model="early", data=LINE, training=settings)
    for event in client.jobs.events(job.id):
        if event.type == "epoch":
            break
    for _ in range(100):
        try:
            prediction = client.predict(None, [ROW], job=job.id)
            break
        except NoNetwork:
            time.sleep(0.05)  # the network is shown about a second after training began
    assert (prediction.version, prediction.provisional, prediction.model) == (None, True, "early")
    assert prediction.epoch >= 1
    client.jobs.cancel(job.id)


def test_errors_point_at_the_row(client: Client, line: str):
    with pytest.raises(WrongDimension, match="/instances/1: expected 2 values, got 3") as caught:
        client.predict(line, [ROW, [1, 2, 3]])
    assert caught.value.errors[0].pointer == "/instances/1"
    with pytest.raises(ModelNotFound):
        client.predict("nobody", [ROW])
    with pytest.raises(Invalid, match="100000"):
        client.predict(line, [])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((1, 2, 3)), "one or two dimensions"),
        (np.zeros((1, 2), complex), "complex"),
        (np.zeros((1, 2), "datetime64[ns]"), "not times"),
        ("rows", "not str"),
        (3, "not int"),
        ([{"a": object()}], "object is no type of JSON"),
    ],
)
def test_rows_that_cannot_be_sent_say_why(client: Client, line: str, rows, message):
    with pytest.raises(InvalidArgument, match=message):
        client.predict(line, rows)
    with pytest.raises(InvalidArgument, match="a model or a job"):
        client.predict(None, [ROW])


@pytest.mark.parametrize("n_rows", [1, 200])
def test_a_masked_cell_is_a_missing_one_however_many_rows_there_are(client: Client, line: str, n_rows: int):
    rows = np.ma.masked_array(np.ones((n_rows, 2)), mask=[[False, True]] * n_rows)
    with pytest.raises(Invalid) as caught:
        client.predict(line, rows)
    assert caught.value.errors[0].pointer == "/instances/0/1"


@pytest.mark.parametrize("n_rows", [1, 200])
def test_numbers_of_more_than_64_bits_are_rounded(client: Client, line: str, n_rows: int):
    outputs = client.predict(line, np.array([ROW] * n_rows, np.longdouble)).outputs
    np.testing.assert_allclose(outputs, Z, rtol=1e-14)
