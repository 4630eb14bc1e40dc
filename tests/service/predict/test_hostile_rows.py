"""Bodies that were made to break or to slow down the reading of rows of a table."""

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perceptron import Column, Layer, Network, TableEncoder, Task
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.memory.loaded_models import LoadedModels
from service.predict.native import read_native
from service.predict.predict import Read, WouldWaitError, predict
from service.predict.protocols.hosting.invocations import read_invocation
from service.predict.protocols.open_inference.infer import read_infer
from service.predict.protocols.tensorflow.predict import read_tensorflow
from service.settings import Limits
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from tests.builders import loaded_models
from tests.tables import TREES, publish_encoder, publish_table

ARROW = b"application/vnd.apache.arrow.stream"
REGRESSION = Task("regression", None, "identity", "mean_squared_error", 1)
MOST_S = 5.0
"""Where reading is linear, each takes below half a second; a quadratic way took minutes."""


@pytest.fixture
def loaded(jobs: JobStore, models: ModelStore) -> LoadedModels:
    publish_table(jobs, "trees", TREES)
    return loaded_models(models)


def answered(
    loaded: LoadedModels, body: Any, media_type: bytes = b"application/json", read: Read = read_native, **more: Any
) -> HttpAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    http = HttpRequest(data, "r", media_type, query=b"model=trees", path_values={"name": "trees"}, **more)
    started = time.thread_time()  # whatever else the machine does
    answer = predict(read, http, loaded, Limits())
    assert time.thread_time() - started < MOST_S
    assert answer.status < 500, answer.body
    assert b"NaN" not in answer.body or answer.status == 400
    return answer


def rows(*given: Any) -> dict[str, Any]:
    return {"model": "trees", "instances": list(given)}


ROW = {"a": 7, "c": "elm"}
KEYS = {f"key{k}": k for k in range(100_000)}
SOME_KEYS = list(KEYS)[:90_000]


@pytest.mark.parametrize(
    ("body", "status", "n_warnings"),
    [
        (rows(ROW | KEYS), 200, 100_000),
        (rows({"c": "elm"} | KEYS), 422, 0),
        (rows(*[ROW | {f"key{k}": k} for k in range(100_000)]), 200, 100_000),
        (rows(*[{"a": None, "c": f"tree {k}"} for k in range(100_000)]), 200, 200_000),
        (rows(*[[7, k + 0.5] for k in range(100_000)]), 200, 100_000),
        (rows(*[{"a": 7, "c": "x" * 1_000_000}] * 20), 200, 20),
        (rows(ROW | {"k" * 1_000_000: 1}), 200, 1),
        (rows({"a": "1" * 1_000_000, "c": "elm"}), 422, 0),
        (rows({"a": 7, "c": "1" * 1_000_000}), 200, 1),
        (rows({"a": 7, "c": "0." + "9" * 1_000_000}), 200, 1),
        (rows({"a": 7, "c": " " * 1_000_000}), 200, 1),
        (rows(*[[]] * 100_000), 422, 0),
        (rows(), 422, 0),
        (b'{"model":"trees","instances":[{"a":1e999,"c":"elm"}]}', 422, 0),
        (b'{"model":"trees","instances":[{"a":7,"c":-1e999}]}', 422, 0),
        (b'{"model":"trees","instances":[[7,"elm"],[1e999,"elm"]]}', 422, 0),
        (b'{"model":"trees","instances":[[1%b,"elm"]]}' % (b"0" * 290), 200, 0),
        (b'{"model":"trees","instances":[[7,1%b]]}' % (b"0" * 290), 200, 1),
        (b'{"model":"trees","instances":[{"a":NaN,"c":"elm"}]}', 400, 0),
        (b'{"model":"trees","instances":[{"a":7,"c":"\\ud800"}]}', 400, 0),
        (b'{"model":"trees","instances":[{"z":1e999,"a":7,"c":"\\ud800"}]}', 400, 0),
        (b'{"model":"trees","instances":[{"z":1e999,"a":7,"c":"elm","\\uD800":1}]}', 400, 0),
        (b'{"model":"trees","instances":[{"z":1e999,"a":7,"c":"elm","\\ud83d\\ude00":1}]}', 200, 2),
        (b'{"model":"trees","instances":[{"a":7,"c":' + b"[" * 900 + b"]" * 900 + b"}]}", 422, 0),
        (b'{"model":"trees","instances":[{"a":7,"c":' + b"[" * 99_999 + b"]" * 99_999 + b"}]}", 400, 0),
        (b'{"model":"trees","instances":[{"a":7,"a":8,"c":"elm"}]}', 422, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_json(loaded: LoadedModels, body: Any, status: int, n_warnings: int) -> None:
    answer = answered(loaded, body)
    assert answer.status == status, answer.body[:500]
    assert int(dict(answer.headers).get(b"x-warnings", b"0")) == n_warnings
    if status == 200:
        assert len(json.loads(answer.body).get("warnings", [])) <= 101


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'"' * 1_000_000, 422),
        (b"," * 100_000, 422),
        (b"7,elm\n" * 90_000 + b"\n\n", 200),
        (b"NA,elm\n" * 90_000, 200),
        (b"a,c," + b",".join(b"x%d" % k for k in range(300_000)) + b"\n7,elm\n", 422),
        (b"7," + b"x" * 1_000_000, 200),
        (b"1" * 1_000_000 + b",elm\n", 422),
        (b"7,\0\n", 200),
        (b"7,\xff\n", 422),
        (b"\n\n7,elm\n", 422),
        (b"", 422),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_csv(loaded: LoadedModels, body: bytes, status: int) -> None:
    answer = answered(loaded, body, b"text/csv")
    assert answer.status == status, answer.body[:500]


@pytest.mark.parametrize(
    ("read", "body", "status"),
    [
        (read_invocation, {"dataframe_split": {"columns": ["a"] * 100_000, "data": [[1]]}}, 422),
        (read_invocation, {"dataframe_split": {"columns": ["a", "c", *KEYS], "data": [[7] * 100_002]}}, 422),
        (
            read_invocation,
            {"dataframe_split": {"columns": ["c", "a", *list(KEYS)[:90_000]], "data": [[7] * 90_002]}},
            200,
        ),
        (read_tensorflow, {"inputs": {"a": [7], "c": ["elm"]} | KEYS}, 200),
        (read_tensorflow, {"inputs": {"a": [[]], "c": [[]]}}, 422),
        (read_tensorflow, {"instances": [None]}, 422),
        (read_tensorflow, {"instances": [{"input": [7, "elm"]}, 3]}, 422),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:40]),
)
def test_other_forms_of_json(loaded: LoadedModels, read: Read, body: Any, status: int) -> None:
    answer = answered(loaded, body, read=read)
    assert answer.status == status, answer.body[:500]


def test_very_many_tensors(loaded: LoadedModels) -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "FP64", "data": [7]},
        {"name": "c", "shape": [1], "datatype": "BYTES", "data": ["elm"]},
        *({"name": f"k{k}", "shape": [1], "datatype": "FP64", "data": []} for k in range(20_000)),
    ]
    assert answered(loaded, {"inputs": inputs}, read=read_infer).status == 200


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        for batch in table.to_batches():
            writer.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def shared_views(n_rows: int, n_bytes: int) -> pa.Array:
    """Texts that all share the same bytes."""
    view = np.zeros(1, [("length", "<i4"), ("start", "S4"), ("buffer", "<i4"), ("offset", "<i4")])
    view["length"], view["start"] = n_bytes, b"x" * 4
    buffers = [None, pa.py_buffer(np.repeat(view, n_rows).tobytes()), pa.py_buffer(b"x" * n_bytes)]
    return pa.Array.from_buffers(pa.string_view(), n_rows, buffers)


TABLE = pa.table({"a": [7.0, 8.0], "c": ["elm", "fir"]})


def test_arrow_texts_that_share_their_bytes_are_counted_before_anything_looks_at_them(loaded: LoadedModels) -> None:
    few = pa.table({"a": [7.0] * 3, "c": shared_views(3, 1_000)})
    assert answered(loaded, stream(few), ARROW).status == 200
    many = pa.table({"a": [7.0] * 50_000, "c": shared_views(50_000, 1_000_000)})
    answer = answered(loaded, stream(many), ARROW)
    assert (answer.status, b"bytes of text" in answer.body) == (422, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (stream(TABLE, options=pa.ipc.IpcWriteOptions(compression="zstd")), b"must not be compressed"),
        (stream(TABLE.replace_schema_metadata({"k": "v" * 1_000})) + b"\0", b"has 1 more"),
        (stream(pa.table({"a": pa.nulls(0), "c": pa.nulls(0)})), b"must hold 1 to 100000 instances"),
        (stream(pa.table({"a": pa.nulls(100_001), "c": pa.nulls(100_001)})), b"must hold 1 to 100000 instances"),
        (stream(pa.table({"a": [7.0], "c" * 513: ["elm"]})), b"at most 512 bytes"),
        (stream(TABLE)[:-40], b""),
        (stream(TABLE)[:100], b""),
        (b"\xff\xff\xff\xff" + b"\x10\0\0\0" + b"\xff" * 16, b"is not an Arrow IPC stream"),
    ],
    ids=range(8),
)
def test_arrow(loaded: LoadedModels, body: bytes, words: bytes) -> None:
    answer = answered(loaded, body, ARROW)
    assert answer.status == 422
    assert words in answer.body, answer.body


def test_arrow_with_any_byte_changed_is_answered_or_refused(loaded: LoadedModels) -> None:
    table = pa.table({"a": [7.0, None], "c": pa.array(["elm", "fir"]).dictionary_encode(), "z": ["1", "2"]})
    whole = stream(table)
    rng = np.random.default_rng(0)
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= int(rng.integers(1, 256))
        assert answered(loaded, bytes(damaged), ARROW).status in (200, 422)


def test_many_columns_of_nulls_take_no_memory_that_their_body_has_not(jobs: JobStore, models: ModelStore) -> None:
    encoder = TableEncoder(tuple(Column(f"x{j}", "numeric") for j in range(1_000)))
    network = Network((Layer(np.ones((1_000, 1)), np.zeros(1), "identity"),))
    publish_encoder(jobs, "trees", encoder, network, REGRESSION)
    nulls = pa.table({f"x{j}": pa.nulls(100_000) for j in range(1_000)})
    answer = answered(loaded_models(models), stream(nulls), ARROW)
    assert (answer.status, b"MAX_INLINE_VALUES" in answer.body) == (422, True)


def test_a_column_of_very_many_categories_is_expanded_a_block_at_a_time(
    jobs: JobStore, models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # y_hat is the number of the category; all features at once would take 800 MB
    levels = tuple(f"{k:03d}" for k in range(1_000))
    encoder = TableEncoder((Column("c", "categorical", levels),))
    network = Network((Layer(np.arange(1_000.0)[:, np.newaxis], np.zeros(1), "identity"),))
    publish_encoder(jobs, "trees", encoder, network, REGRESSION)
    widest = 0
    encode = TableEncoder.encode

    def counted(self: TableEncoder, table: np.ndarray) -> np.ndarray:
        nonlocal widest
        widest = max(widest, len(table) * self.n_features)
        return encode(self, table)

    monkeypatch.setattr(TableEncoder, "encode", counted)
    body = "\n".join(levels[k % 1_000] for k in range(100_000)).encode()
    answer = answered(loaded_models(models), body, b"text/csv")
    assert [row[0] for row in json.loads(answer.body)["outputs"]] == [float(k % 1_000) for k in range(100_000)]
    assert widest <= 1_000_000


def test_an_output_that_is_not_finite_is_named_in_whatever_block_it_is(
    jobs: JobStore, models: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.predict.instances._VALUES_PER_BLOCK", 4)  # two rows of two columns
    encoder = TableEncoder((Column("a", "numeric"), Column("b", "boolean")))
    publish_encoder(
        jobs, "trees", encoder, Network((Layer(np.array([[1e308], [1.0]]), np.zeros(1), "identity"),)), REGRESSION
    )
    given = rows([1, True], [1, True], [1, True], [1, True], [100, True])
    for body in (given, given | {"version": 1, "versions": [1]}):
        answer = answered(loaded_models(models), body)
        assert (answer.status, json.loads(answer.body)["code"]) == (422, "output_not_finite")
        assert json.loads(answer.body)["errors"][0]["pointer"] == "/instances/4"


@pytest.mark.parametrize("n_columns", [100, 101])
def test_rows_of_very_many_columns_are_left_to_a_thread(
    jobs: JobStore, models: ModelStore, monkeypatch: pytest.MonkeyPatch, n_columns: int
) -> None:
    encoder = TableEncoder(tuple(Column(f"x{j}", "boolean") for j in range(n_columns)))
    network = Network((Layer(np.ones((n_columns, 1)), np.zeros(1), "identity"),))
    publish_encoder(jobs, "trees", encoder, network, REGRESSION)
    http = HttpRequest(json.dumps(rows([True] * n_columns)).encode(), "r")
    loaded = loaded_models(models)
    found = loaded.get(ModelReference("trees"))
    monkeypatch.setattr(loaded, "find", lambda _: found)  # as if it heard of every change
    assert predict(read_native, http, loaded, Limits()).status == 200
    if n_columns == 100:
        assert predict(read_native, http, loaded, Limits(), may_wait=False).status == 200
    else:
        with pytest.raises(WouldWaitError):
            predict(read_native, http, loaded, Limits(), may_wait=False)
