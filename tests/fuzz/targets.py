"""What is fuzzed: everything that reads bytes from outside, or from Redis, without a text format in between.

A target takes any bytes and raises AssertionError, or an error that no caller expects, only if there is a fault: an
answer with 5xx, an answer with NaN, or an exception that the reader does not document.
"""

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h11
import numpy as np

from perceptron import Column, Layer, Network, TableEncoder, Task
from service.datasets.reading.limits import TableLimits
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.read import read_table
from service.http.errors import RequestError
from service.http.wire import HttpRequest
from service.observe.metrics.traffic import Traffic
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found
from service.predict.memory.statistics import Statistics
from service.predict.native import read_native
from service.predict.predict import Read, predict
from service.predict.protocols.open_inference.infer import read_infer
from service.server.request_head import END, parse_plain_head
from service.settings import Limits
from storage.codec import decode_columns, decode_dataset, decode_model
from storage.datasets.table import Table
from storage.errors import CorruptDataError
from storage.jobs.checkpoints import decode_checkpoint
from storage.models.trained_model import TrainedModel

Target = Callable[[bytes], None]

LIMITS = Limits(
    max_body_bytes=1 << 20,
    max_predict_instances=1_000,
    max_predict_outputs=10_000,
    tables=TableLimits(
        max_dataset_bytes=1 << 22, max_dataset_rows=10_000, max_dataset_columns=200, max_line_bytes=1 << 16
    ),
)

REGRESSION = Task("regression", None, "identity", "mean_squared_error", 1)

NUMBERS = TrainedModel("m", 1, REGRESSION, ("a", "b", "c"), Network((Layer(np.ones((3, 1)), np.zeros(1), "identity"),)))


def _of_columns() -> TrainedModel:
    columns = (Column("age", "numeric", has_gaps=True), Column("plan", "categorical", levels=("basic", "pro")))
    encoder = TableEncoder.learn(columns, [(np.array([[31.0, 1.0], [np.nan, 0.0], [18.0, 1.0]]), None)])
    layer = Layer(np.ones((encoder.n_features, 1)), np.zeros(1), "identity")
    return replace(NUMBERS, feature_names=encoder.feature_names, network=Network((layer,)), encoder=encoder)


COLUMNS = _of_columns()


class OneModel:
    """Stands in for `LoadedModels`: any name is this version."""

    default = None

    def __init__(self, trained: TrainedModel) -> None:
        self.statistics = Statistics()
        self.traffic = Traffic()
        self._found = Found(LoadedModel(trained), is_stale=False)

    def get(self, _reference: object) -> Found:
        return self._found

    find = get


def _predicts(read: Read, trained: TrainedModel, **sent: Any) -> Target:
    models: Any = OneModel(trained)

    def target(body: bytes) -> None:
        http = HttpRequest(body, "fuzz", query=b"model=m", path_values={"name": "m"}, **sent)
        answer = predict(read, http, models, LIMITS)
        assert answer.status < 500, answer.body
        if answer.media_type.endswith(b"json"):
            length = dict(answer.headers).get(b"inference-header-content-length", len(answer.body))
            json.loads(answer.body[: int(length)], parse_constant=_refuse)

    return target


def _refuse(token: str) -> None:
    raise AssertionError(f"{token} in an answer")


def _infers(trained: TrainedModel) -> Target:
    """The first two bytes are the length of the header, so that a fuzzer can change it."""
    targets = {}

    def target(body: bytes) -> None:
        length = str(int.from_bytes(body[:2], "big")).encode()
        if length not in targets:
            if len(targets) > 1_000:
                targets.clear()
            headers = {b"inference-header-content-length": length}
            targets[length] = _predicts(read_infer, trained, headers=headers)
        targets[length](body[2:])

    return target


def _uploads(media_type: str, content_encoding: str = "") -> Target:
    def target(body: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory()) as folder:
            source = Path(folder) / "upload"
            source.write_bytes(body)
            try:
                schema = read_table(
                    source,
                    media_type=media_type,
                    content_encoding=content_encoding,
                    options=ReadOptions(),
                    limits=LIMITS.tables,
                    destination=Path(folder) / "table.parquet",
                )
            except RequestError:
                return
            assert schema.rows <= LIMITS.tables.max_dataset_rows

    return target


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _request_head(content: bytes) -> None:
    """What is taken without uvicorn, h11 must read in the same way: else a proxy and we may see different requests."""
    head = content[: content.find(END) + len(END)] if END in content else content
    plain = parse_plain_head(head)
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(head)
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if plain is None:
        return
    assert isinstance(request, h11.Request), request
    assert request.method == b"POST" and request.http_version == b"1.1"
    assert request.target == plain.path.encode() + (b"?" + plain.query if b"?" in request.target else b"")
    assert [(name, value.strip()) for name, value in request.headers] == [
        (name, value.strip()) for name, value in plain.headers.items()
    ]
    assert int(dict(request.headers)[b"content-length"]) == plain.n_body_bytes > 0


def _stored_table(content: bytes) -> None:
    with contextlib.suppress(CorruptDataError):
        table = Table(io.BytesIO(content))
        table.rows(10)
        for names in (table.names[:1], table.names[1:]):
            for categorical in (frozenset[str](), frozenset(names)):
                columns = table.columns(names, categorical)
                assert table.matrix(columns, 1_000).shape[1] == len(columns)


def _stored(decode: Callable[[bytes], object]) -> Target:
    def target(content: bytes) -> None:
        with contextlib.suppress(CorruptDataError):
            decode(content)

    return target


TARGETS: Mapping[str, Target] = {
    "request-head": _request_head,
    "predict-npy": _predicts(read_native, NUMBERS, content_type=b"application/x-npy"),
    "predict-arrow": _predicts(read_native, COLUMNS, content_type=b"application/vnd.apache.arrow.stream"),
    "predict-gzip": _predicts(read_native, NUMBERS, content_type=b"text/csv", content_encoding=b"gzip"),
    "predict-json": _predicts(read_native, COLUMNS, content_type=b"application/json"),
    "infer-binary": _infers(NUMBERS),
    "infer-binary-columns": _infers(COLUMNS),
    "upload-npy": _uploads("application/x-npy"),
    "upload-npz": _uploads("application/x-npz"),
    "upload-arrow": _uploads("application/vnd.apache.arrow.stream"),
    "upload-parquet": _uploads("application/vnd.apache.parquet"),
    "upload-csv": _uploads("text/csv"),
    "upload-csv-zstd": _uploads("text/csv", "zstd"),
    "upload-csv-gzip": _uploads("text/csv", "gzip"),
    "upload-json-lines": _uploads("application/jsonlines"),
    "stored-model": _stored(lambda content: decode_model(content, ("identity",))),
    "stored-columns": _stored(decode_columns),
    "stored-dataset": _stored(decode_dataset),
    "stored-checkpoint": _stored(decode_checkpoint),
    "stored-table": _stored_table,
}
