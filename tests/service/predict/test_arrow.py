"""Predict with bodies and answers in Arrow; pyarrow writes and reads what the service reads and writes."""

import math
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.http.errors import InvalidRequestError
from service.http.wire import HttpRequest
from service.predict.formats.arrow import read, read_arrow
from service.predict.inputs import Inputs
from service.predict.native import read_native
from service.predict.predict import WouldWaitError, predict
from service.settings import Limits
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from tests.builders import loaded_models, publish
from tests.ear import Ear

ROWS = [[-1.0, -1.0], [1.0, -1.0], [1.0, 2.0]]
OUTPUTS = [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]
X0, X1 = [-1, 1, 1], [-1, -1, 2]
LIMITS = Limits(max_predict_instances=50)
ARROW = "application/vnd.apache.arrow.stream"


def stream(columns: dict[str, Any] | pa.Table, batch_rows: int | None = None, **options: Any) -> bytes:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return sink.getvalue().to_pybytes()


def of_type(data_type: Any) -> dict[str, Any]:
    as_stored = (lambda values: np.array(values, np.float16)) if data_type == pa.float16() else list
    return {"x0": pa.array(as_stored(X0), data_type), "x1": pa.array(as_stored(X1), data_type)}


def ask(http: FlaskClient, body: bytes, accept: str = "*/*", query: str = "model=or") -> TestResponse:
    return http.post(f"/predict?{query}", data=body, content_type=ARROW, headers={"Accept": accept})


NO_NAMES = pa.table([pa.array(X0), pa.array(X1)], names=["", ""])
SIGNED = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float16(), pa.float32(), pa.float64()]
MASKED = pa.array(np.array(X0), mask=np.array([False] * 3))


@pytest.mark.parametrize(
    "body",
    [
        *(stream(of_type(data_type)) for data_type in SIGNED),
        stream({"x1": pa.array(X1, pa.int8()), "x0": pa.array(X0, pa.float32())}),
        stream({"x0": X0, "x1": X1}, batch_rows=1),
        stream({"x0": X0, "x1": X1}, batch_rows=2, metadata_version=pa.ipc.MetadataVersion.V4),
        stream({"x0": X0, "x1": X1})[:-8],  # ended by its end, not by the mark
        stream({"0": X0, "1": X1}),
        stream(NO_NAMES),
        stream(pa.table({"x0": X0, "x1": X1}).replace_schema_metadata({"pandas": "{}"})),
        stream({"x0": MASKED, "x1": X1}),
        stream(pa.table({"x0": [9, *X0], "x1": [9, *X1]}).slice(1)),
        stream(pa.concat_tables([pa.table({"x0": X0, "x1": X1}).slice(0, 0), pa.table({"x0": X0, "x1": X1})])),
    ],
)
def test_every_stream_of_the_same_instances_gives_the_same_outputs(
    http: FlaskClient, jobs: JobStore, body: bytes
) -> None:
    publish(jobs, weight=1.0)
    answer = ask(http, body)
    assert answer.status_code == 200, answer.text
    assert [row[0] for row in answer.get_json()["outputs"]] == pytest.approx(OUTPUTS, rel=1e-15)
    assert answer.get_json()["predictions"] == [0, 1, 1]


@pytest.mark.parametrize("data_type", [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()])
def test_unsigned_numbers_are_no_negative_ones(data_type: Any) -> None:
    largest = min(2**data_type.bit_width, 2**53) - 1
    matrix, _ = read_arrow(stream({"a": pa.array([largest, 0], data_type)}), LIMITS)
    np.testing.assert_array_equal(matrix, [[largest], [0]])


def test_numbered_columns_are_taken_by_name_when_the_model_has_those_names() -> None:
    body = stream({"0": [1.0], "1": [2.0]})
    for names, row in ((["1", "0"], [2, 1]), (["x0", "x1"], [1, 2])):
        np.testing.assert_array_equal(read(body, Inputs(tuple(names)), LIMITS, {}).features, [row])


def test_answers_are_arrow_for_whoever_asks(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, weight=1.0), publish(jobs, weight=5.0)
    answer = ask(http, stream({"x0": X0, "x1": X1}), ARROW, "model=or&version=1")
    assert (answer.headers["Content-Type"], answer.headers["X-Model-Version"]) == (ARROW, "1")
    table = pa.ipc.open_stream(answer.data).read_all()
    table.validate(full=True)
    assert table.schema == pa.schema({"output": pa.float64(), "prediction": pa.int64()})
    assert table["output"].to_pylist() == pytest.approx(OUTPUTS, rel=1e-15)
    assert table["prediction"].to_pylist() == [0, 1, 1]
    of_json = http.post("/predict", json={"model": "or", "instances": ROWS}, headers={"Accept": ARROW})
    assert pa.ipc.open_stream(of_json.data).read_all()["prediction"].to_pylist() == [0, 1, 1]
    assert of_json.headers["X-Model-Version"] == "2"


def test_the_columns_are_those_of_csv_for_every_task(http: FlaskClient, train: Callable[..., Any]) -> None:
    training = {"learning_rate": "auto", "max_epochs": 500}
    for name, targets in (("names", ["a,b", "c", 'd"e']), ("values", [0.5, 1.0, 1.5]), ("lists", [[1, 2]] * 3)):
        train({"model": name, "data": {"features": [[0], [1], [2]], "targets": targets}, "training": training})
    body, three = stream({"x0": [0, 1, 2]}), [f"output_{k}" for k in range(3)]
    tables = {
        name: pa.ipc.open_stream(ask(http, body, ARROW, f"model={name}").data).read_all()
        for name in ("names", "values", "lists")
    }
    assert tables["names"].schema == pa.schema([*((name, pa.float64()) for name in three), ("prediction", pa.utf8())])
    assert tables["names"]["prediction"].to_pylist() == ["a,b", "c", 'd"e']
    assert tables["values"].schema == pa.schema({"output": pa.float64(), "prediction": pa.float64()})
    assert tables["values"]["prediction"] == tables["values"]["output"]
    assert tables["lists"].column_names == ["output_0", "output_1"]


def test_the_event_loop_leaves_arrow_to_a_thread(jobs: JobStore, models: ModelStore) -> None:
    publish(jobs)
    loaded = loaded_models(models)
    loaded.follow(Ear())  # or the loop may trust no pointer, and would leave everything to threads
    loaded.get(ModelReference("or"))
    body = stream({"x0": X0, "x1": X1})
    arrow_in = HttpRequest(body, "r", content_type=ARROW.encode(), query=b"model=or&version=1")
    arrow_out = HttpRequest(b'{"model":"or","version":1,"instances":[[1,2]]}', "r", accept=ARROW.encode())
    for request in (arrow_in, arrow_out):
        with pytest.raises(WouldWaitError):
            predict(read_native, request, loaded, LIMITS, may_wait=False)
        assert predict(read_native, request, loaded, LIMITS).status == 200
    assert predict(read_native, HttpRequest(arrow_out.body, "r"), loaded, LIMITS, may_wait=False).status == 200


GOOD = stream({"x0": X0, "x1": X1})
LONG = 2**53 - 1
REFUSED: list[tuple[bytes, str, str]] = [
    (b"\xff\xff\xff\xff\0\0\0\0", "", "schema"),
    (b"ARROW1\0\0" + GOOD, "", "no message begins at byte 0"),
    (GOOD[:-1], "", "no message begins"),
    (GOOD[:-12], "", "message body"),
    (GOOD[:100], "", "announces a message"),
    (GOOD + b"\0", "", "has 1 more"),
    (GOOD[8:], "", "no message begins"),
    (b"\xff\xff\xff\xff" + b"\x10\0\0\0" + b"\xff" * 16, "", "Arrow"),
    (stream({"x0": X0, "x1": X1}, compression="zstd"), "", "compressed"),
    (stream({"x0": X0, "x1": X1}, compression="lz4"), "", "compressed"),
    (stream({"x0": X0, "x1": ["a", "b", "c"]}), "/x1", "not text"),
    (stream({"x0": X0, "x1": [True, False, True]}), "/x1", "not bool"),
    (stream({"x0": X0, "a/b": [[1], [2], [3]]}), "/a~1b", "another type"),
    (stream({"x0": X0, "x1": [{"a": 1}] * 3}), "/x1", "another type"),
    (stream({"x0": X0, "x1": [None] * 3}), "/x1", "not null"),
    (stream({"x0": X0, "x1": pa.array(X1, pa.timestamp("s"))}), "/x1", "not timestamp"),
    (stream({"x0": X0, "x1": pa.array(X1).dictionary_encode()}), "/x1", "dictionary"),
    (stream({"x0": X0, "x" * 513: X1}), "", "512 bytes"),
    (stream({"x0": X0, "x1": [1, 2, None]}), "/2/1", "null in the column 'x1'"),
    (stream({"x0": X0, "x1": [1, 2, None]}, batch_rows=1), "/2/1", "null"),
    (stream({"x0": X0, "x1": [1.0, math.nan, 1.0]}), "/1/1", "finite"),
    (stream({"x0": [1.0, 1.0, -math.inf], "x1": X1}), "/2/0", "finite"),
    (stream({"x0": X0, "x1": [1, LONG + 1, 1]}), "/1/1", "exact"),
    (stream({"x0": X0, "x1": [1, 2, -LONG - 1]}), "/2/1", "exact"),
    (stream({"x0": X0, "x1": pa.array([1, 2, 2**64 - 1], pa.uint64())}), "/2/1", "exact"),
    (stream({"x0": [1] * 51, "x1": [1] * 51}), "", "MAX_PREDICT_INSTANCES"),
    (stream({"x0": [1] * 51, "x1": [1] * 51}, batch_rows=30), "", "MAX_PREDICT_INSTANCES"),
    (stream(pa.table({"x0": X0, "x1": X1}).slice(0, 0)), "", "MAX_PREDICT_INSTANCES"),
    (stream(pa.table({})), "", "columns"),
    (stream({"x0": X0, "x2": X1}), "", "has no column 'x1'"),
    (stream(pa.table([X0, X1], names=["x0", "x0"])), "", "two columns 'x0'"),
    (GOOD[: GOOD.index(b"\xff" * 4, 8)] * 2 + GOOD[GOOD.index(b"\xff" * 4, 8) :], "", "only record batches"),
]


@pytest.mark.parametrize(("body", "pointer", "detail"), REFUSED)
def test_a_wrong_stream_is_refused_with_its_place(
    http: FlaskClient, jobs: JobStore, body: bytes, pointer: str, detail: str
) -> None:
    publish(jobs)
    answer = ask(http, body)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request"), answer.text
    assert answer.get_json()["errors"][0]["pointer"] == pointer
    assert detail in answer.get_json()["detail"]


def test_more_or_fewer_columns_than_features_are_a_wrong_dimension(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs)
    for body in (stream({"x0": X0}), stream({"x0": X0, "x1": X1, "x2": X1})):
        assert ask(http, body).get_json()["code"] == "wrong_dimension"


def message(kind: int, header: Callable[[Any], int], content: bytes = b"") -> bytes:
    builder = flatbuffers.Builder(1024)
    inside = header(builder)
    builder.StartObject(5)
    builder.PrependInt16Slot(0, 4, 0), builder.PrependUint8Slot(1, kind, 0)
    builder.PrependUOffsetTRelativeSlot(2, inside, 0), builder.PrependInt64Slot(3, len(content), 0)
    builder.Finish(builder.EndObject())
    text = bytes(builder.Output())
    text += b"\0" * (-len(text) % 8)
    return b"\xff\xff\xff\xff" + struct.pack("<i", len(text)) + text + content


def test_fields_that_share_one_long_name_cost_no_memory() -> None:
    # 20,000 fields of 100,000 bytes: pyarrow takes 2 GB for these 180 kB.
    def schema(builder: Any) -> int:
        name = builder.CreateString("n" * 100_000)
        builder.StartObject(2)
        builder.PrependInt32Slot(0, 64, 0)
        number = builder.EndObject()
        builder.StartObject(7)
        builder.PrependUOffsetTRelativeSlot(0, name, 0), builder.PrependUint8Slot(2, 2, 0)
        builder.PrependUOffsetTRelativeSlot(3, number, 0)
        field = builder.EndObject()
        builder.StartVector(4, 20_000, 4)
        for _ in range(20_000):
            builder.PrependUOffsetTRelative(field)
        fields = builder.EndVector()
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(1, fields, 0)
        return builder.EndObject()

    with pytest.raises(InvalidRequestError, match="512 bytes"):
        read_arrow(message(1, schema), LIMITS)


def batch(n_rows: int, nodes: list[tuple[int, int]], buffers: list[tuple[int, int]], content: bytes) -> bytes:
    def header(builder: Any) -> int:
        vectors = []
        for pairs in (nodes, buffers):
            builder.StartVector(16, len(pairs), 8)
            for first, second in reversed(pairs):
                builder.PrependInt64(second), builder.PrependInt64(first)
            vectors.append(builder.EndVector())
        builder.StartObject(4)
        builder.PrependInt64Slot(0, n_rows, 0)
        for k, vector in enumerate(vectors):
            builder.PrependUOffsetTRelativeSlot(1 + k, vector, 0)
        return builder.EndObject()

    return message(3, header, content)


SCHEMA = pa.schema({"x0": pa.int64(), "x1": pa.int64()}).serialize().to_pybytes()
TWO = struct.pack("<4q", 1, 2, 3, 4)
TWO_NODES, TWO_BUFFERS = [(2, 0), (2, 0)], [(0, 0), (0, 16), (16, 0), (16, 16)]


def test_a_batch_made_by_hand_is_read() -> None:
    matrix, names = read_arrow(SCHEMA + batch(2, TWO_NODES, TWO_BUFFERS, TWO), LIMITS)
    assert (matrix.tolist(), names) == ([[1, 3], [2, 4]], ("x0", "x1"))


@pytest.mark.parametrize(
    ("n_rows", "nodes", "buffers"),
    [
        (-1, TWO_NODES, TWO_BUFFERS),
        (2**62, TWO_NODES, TWO_BUFFERS),
        (3, TWO_NODES, TWO_BUFFERS),  # more numbers than bytes
        (1, TWO_NODES, TWO_BUFFERS),
        (2, [(2, 0)], TWO_BUFFERS),
        (2, TWO_NODES, TWO_BUFFERS[:3]),
        (2, [(2, 0), (2, 1)], TWO_BUFFERS),  # a null without a bitmap
        (2, TWO_NODES, [(0, 0), (0, 16), (16, 0), (17, 16)]),
        (2, TWO_NODES, [(0, 0), (0, 16), (16, 0), (-16, 16)]),
        (2, TWO_NODES, [(0, 0), (0, 16), (16, 0), (2**63 - 1, 16)]),
        (2, TWO_NODES, [(0, 0), (0, 2**63 - 1), (16, 0), (16, 16)]),
        (2, TWO_NODES, [(0, 0), (0, 15), (16, 0), (16, 16)]),
        (2, TWO_NODES, [(32, 1), (0, 16), (16, 0), (16, 16)]),
        (2, TWO_NODES, [(2**63 - 1, 2**63 - 1), (0, 16), (16, 0), (16, 16)]),
        (2, TWO_NODES, [(0, -1), (0, 16), (16, 0), (16, 16)]),
    ],
)
def test_offsets_and_lengths_that_do_not_fit_are_refused(
    n_rows: int, nodes: list[tuple[int, int]], buffers: list[tuple[int, int]]
) -> None:
    with pytest.raises(InvalidRequestError):
        read_arrow(SCHEMA + batch(n_rows, nodes, buffers, TWO), LIMITS)


def test_columns_that_share_their_bytes_are_no_more_numbers_than_the_body_has() -> None:
    shared = [(0, 0), (0, 32)] * 2
    with pytest.raises(InvalidRequestError, match="announces a batch of 4 x 2 numbers, 64 bytes, but has 32"):
        read_arrow(SCHEMA + batch(4, [(4, 0)] * 2, shared, TWO), LIMITS)


def test_very_many_messages_are_refused() -> None:
    empty = batch(0, [(0, 0)] * 2, [(0, 0)] * 4, b"")
    with pytest.raises(InvalidRequestError, match="10000 messages"):
        read_arrow(SCHEMA + empty * 10_000, LIMITS)


def test_mutated_streams_are_read_or_refused_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    sources = [
        stream({"x0": X0, "x1": X1}, batch_rows=2),
        stream({"x0": pa.array([1, None, 3], pa.int8()), "x1": pa.array([1, 2, 3], pa.float32())}),
        stream({"x0": X0, "x1": X1}, compression="zstd"),
    ]
    n_read = n_refused = 0
    for _ in range(2_000):
        body = bytearray(sources[random.integers(len(sources))])
        for _ in range(random.integers(1, 3)):
            at = int(random.integers(len(body)))
            match random.integers(4):
                case 0:
                    body[at] ^= 1 << int(random.integers(8))
                case 1:
                    body[at] = int(random.integers(256))
                case 2:
                    body[at : at + 4] = int(random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])).to_bytes(
                        4, "big"
                    )
                case 3:
                    del body[at : at + int(random.integers(1, 9))]
            if not body:
                break
        try:
            matrix, _ = read_arrow(bytes(body), LIMITS)
        except InvalidRequestError:
            n_refused += 1
        else:
            n_read += 1
            assert np.isfinite(matrix).all()
            assert 1 <= len(matrix) <= 50
    assert n_read > 50 and n_refused > 1_000


def test_a_process_that_sees_no_arrow_does_not_load_pyarrow() -> None:
    program = "import sys, service.predict.protocols.table; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
