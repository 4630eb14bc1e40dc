"""Small valid bodies, from which a fuzzer starts: `python -m tests.fuzz.seeds` writes them into the corpus."""

import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perceptron import Dataset
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.read import read_table
from storage.codec import encode_dataset, encode_model
from storage.jobs.checkpoints import Checkpoint, encode_checkpoint
from tests.fuzz.corpus import keep
from tests.fuzz.targets import COLUMNS, LIMITS, NUMBERS

CSV = b'age,plan\n31,pro\n,"ba""sic"\n4.5e1,pro\n'
ROWS = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 1e300]])


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the name of a target and bytes that it takes."""
    for dtype in ("<f8", "<f4", ">i4", "|b1", "<f2"):
        for order in ("C", "F"):
            yield "predict-npy", _npy(ROWS.clip(-100, 100).astype(dtype, order=order))
    yield "predict-npy", _npy(np.array([], dtype="<f8").reshape(0, 3))
    table = pa.table({"age": [31.0, None], "plan": pa.array(["pro", "basic"]).dictionary_encode()})
    for each in (table, table.set_column(1, "plan", pa.array(["pro", None], pa.large_string()))):
        for compression in (None, "zstd", "lz4"):
            yield "predict-arrow", _arrow(each, compression)
            yield "upload-arrow", _arrow(each, compression)
    yield "predict-gzip", gzip.compress(b"1,2,3\n4,5,6\n", mtime=0)
    for instances in ([[31, "pro"]], [{"age": None, "plan": "x", "more": [1e400 > 0]}]):
        yield "predict-json", json.dumps({"model": "m", "instances": instances, "explain": True}).encode()
    for dtype, name in (("<f4", "FP32"), ("<f8", "FP64"), ("<f2", "FP16"), ("<i8", "INT64"), ("|u1", "UINT8")):
        data = ROWS.clip(0, 100).astype(dtype).tobytes()
        inputs = [{"name": "input", "shape": [2, 3], "datatype": name, "parameters": {"binary_data_size": len(data)}}]
        yield "infer-binary", _infer({"inputs": inputs, "parameters": {"binary_data_output": True}}, data)
    texts = b"\x03\x00\x00\x00pro\x05\x00\x00\x00basic"
    ages = np.array([31, 18], "<f8").tobytes()
    inputs = [
        {"name": "age", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": len(ages)}},
        {"name": "plan", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(texts)}},
    ]
    yield "infer-binary-columns", _infer({"inputs": inputs}, ages + texts)
    yield "upload-npy", _npy(ROWS)
    yield "upload-npy", _npy(np.array([(31.0, "pro"), (18.0, "basic")], dtype=[("age", "<f8"), ("plan", "<U5")]))
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, age=[31.0, np.nan], plan=np.array(["pro", "basic"]))
        yield "upload-npz", file.getvalue()
    for options in ({"compression": "NONE"}, {"compression": "zstd", "use_dictionary": False, "version": "1.0"}):
        file = io.BytesIO()
        pq.write_table(table, file, **options)
        yield "upload-parquet", file.getvalue()
    for text in (CSV, b"\xef\xbb\xbf" + CSV.replace(b",", b";"), CSV.decode().encode("utf-16"), b"1 2\r3 4\r"):
        yield "upload-csv", text
    yield "upload-csv-gzip", gzip.compress(CSV, mtime=0)
    yield "upload-csv-zstd", pa.compress(CSV, "zstd", asbytes=True)
    yield "upload-json-lines", b'{"age": 31, "plan": "pro"}\n{"age": null}\n'
    for trained in (NUMBERS, COLUMNS):
        content = encode_model(trained.network, None, trained.encoder, "y")
        yield "stored-model", content
        yield "stored-columns", content
    yield "stored-dataset", encode_dataset(Dataset(ROWS.clip(-9, 9), np.array([[0.0], [1.0]])), ("a", "b", "c"))
    for text in (CSV, b"flag,x\ntrue,1.5\nfalse,\n"):
        yield "stored-table", _stored_table(text)
    length = b"Content-Length: 12\r\n"
    for path in (b"/predict?model=or", b"/v1/models/m:predict"):
        for more in (b"", b"X-API-Key: psk_1\r\n", b"transfer-encoding:chunked\r\n", b"Expect: 100-continue\r\n"):
            yield "request-head", b"POST " + path + b" HTTP/1.1\r\nHost: test\r\n" + more + length + b"\r\n"
    yield "stored-checkpoint", encode_checkpoint(Checkpoint("job_" + 32 * "0", 3, 0.5, None))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _arrow(table: pa.Table, compression: str | None) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return file.getvalue()


def _stored_table(csv: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, stored = Path(folder) / "table.csv", Path(folder) / "table.parquet"
        source.write_bytes(csv)
        read_table(
            source,
            media_type="text/csv",
            content_encoding="",
            options=ReadOptions(),
            limits=LIMITS.tables,
            destination=stored,
        )
        return stored.read_bytes()


def _infer(header: dict[str, object], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(2, "big") + text + data


if __name__ == "__main__":
    for name, content in seeds():
        keep(name, content)
