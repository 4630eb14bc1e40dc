"""R18 and R20: bodies that are too much, and names that would reach where they must not, on the API as it is shipped.

With `-s`, how long each answer to a body took, and how much memory the API took for it.
"""

import gzip
import io
import json
import socket
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.api_process import Api, running_api
from tests.builders import publish
from tests.faults.rig import children_of
from tests.files import files_below

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
MAX_BODY_BYTES = 1_000_000


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    limits = {"MAX_BODY_BYTES": str(MAX_BODY_BYTES), "MAX_DATASET_BYTES": "5000000"}
    with running_api(tmp_path_factory.mktemp("hostile"), **limits) as api:
        publish(api.jobs, alias="production")
        yield api


def a_gzip_bomb(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    part = bytes(1 << 20)
    return b"".join(packer.compress(part) for _ in range(n_bytes >> 20)) + packer.flush()


def an_npz_bomb(n_bytes: int) -> bytes:
    file, header = io.BytesIO(), io.BytesIO()
    np.save(header, np.zeros(0))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as array:
        array.write(header.getvalue().replace(b"(0,)", b"(%d,)" % (n_bytes // 8))[:128])
        for _ in range(n_bytes >> 20):
            array.write(bytes(1 << 20))
    return file.getvalue()


AS_JSON, AS_CSV = {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}
TOO_MUCH: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "a body over the limit": ("/predict", b" " * (MAX_BODY_BYTES + 1), AS_JSON, 413),
    "a body that inflates": ("/predict", a_gzip_bomb(1 << 28), {**AS_JSON, "Content-Encoding": "gzip"}, 413),
    "a line that inflates": ("/datasets", a_gzip_bomb(1 << 28), {**AS_CSV, "Content-Encoding": "gzip"}, 422),
    "an archive that inflates": ("/datasets", an_npz_bomb(1 << 28), {"Content-Type": "application/x-npz"}, 413),
    "brackets": ("/predict", b'{"model": "or", "instances": ' + b"[" * 100_000, AS_JSON, 400),
    "a shape beyond all numbers": (
        "/v2/models/or/infer",
        json.dumps(
            {"inputs": [{"name": "input", "shape": [2**62, 2**62], "datatype": "FP64", "data": [0.0]}]}
        ).encode(),
        AS_JSON,
        422,
    ),
    "a network beyond memory": (
        "/jobs",
        json.dumps({"model": "m", "data": OR, "network": {"hidden_layers": [4096] * 16}}).encode(),
        AS_JSON,
        422,
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_is_refused_and_takes_no_memory(api: Api, what: str) -> None:
    path, body, headers, status = TOO_MUCH[what]
    before = resident_bytes(api)
    began = time.perf_counter()
    answer = api.http.post(path, content=body, headers=headers)
    took_s, grown = time.perf_counter() - began, resident_bytes(api) - before
    print(f"{what}: {len(body):,} bytes, {answer.status_code} after {took_s:.3f} s, {grown / 1e6:.0f} MB")
    assert answer.status_code == status, answer.text
    assert grown < 100e6
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert api.http.get("/datasets").json()["data"] == []


def test_a_chunked_body_without_end_is_refused_before_it_ends(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")
        assert client.recv(65_536).split()[1] == b"411"


def resident_bytes(api: Api) -> int:
    """Of all processes of the API."""
    pids = (api.process.pid, *children_of(api.process.pid))
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)


NAMES = [
    *("../or", "..", ".", "or/../or", "acme/or", "/etc/passwd", "file:///etc/passwd", "%2e%2e%2for", "..%5cor"),
    *("or:versions", "or:version:1", "perceptron:jobs", "*", "or*", "or\x00", "or\nX: y", "or\r\n", "or\x7f", "or "),
    *("\N{CYRILLIC SMALL LETTER O}r", "\N{FULLWIDTH LATIN SMALL LETTER O}r", "o\N{ZERO WIDTH JOINER}r", " or", ""),
    *("-or", "_or", "a" * 129, "or;id", "$(id)", "`id`", "or|id", "or'--", 'or"', "<script>", "{{7*7}}"),
]


def test_no_name_reaches_where_it_must_not(api: Api, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every name in every place that takes one: refused, and nothing written."""
    redis = api.jobs._redis
    keys_before = set(redis.scan_iter("*"))
    files_before = set(files_below(api.log.parent / "blobs"))
    n_asked = 0
    for name in NAMES:
        inside = quote(name, safe="")
        asked: list[tuple[str, str, Any]] = [
            ("GET", f"/models/{inside}", None),
            ("GET", f"/models/{inside}/versions/1", None),
            ("DELETE", f"/models/{inside}/versions/1", None),
            ("GET", f"/jobs/{inside}", None),
            ("POST", f"/jobs/{inside}/cancel", None),
            ("GET", f"/datasets/{inside}", None),
            ("DELETE", f"/datasets/{inside}", None),
            ("PUT", f"/models/or/aliases/{inside}", {"version": 1}),
            ("PUT", f"/models/{inside}/aliases/new", {"version": 1}),
            ("POST", f"/v1/models/{inside}:predict", {"instances": [[0, 1]]}),
            ("POST", f"/v2/models/{inside}/infer", {"inputs": []}),
            ("POST", f"/invocations?model={inside}", {"instances": [[0, 1]]}),
            ("POST", "/predict", {"model": name, "instances": [[0, 1]]}),
            ("POST", "/predict", {"model": "or", "alias": name, "instances": [[0, 1]]}),
            ("POST", "/predict", {"job": name, "instances": [[0, 1]]}),
            ("POST", "/jobs", {"model": name, "data": OR}),
            ("POST", "/jobs", {"model": "m", "data": OR, "alias": name}),
            ("POST", "/jobs", {"model": "m", "dataset": name, "target": "y"}),
            ("POST", "/jobs", {"model": "m", "data": OR, "start_from": {"model": name}}),
        ]
        for method, path, body in asked:
            if name in ("", ".", "..") and not body:
                continue  # what is left of the path is another one, which exists
            answer = api.http.request(method, path, **({} if body is None else {"json": body}))
            n_asked += 1
            assert 400 <= answer.status_code < 500, (method, path, body, answer.status_code)
            assert answer.headers["Content-Type"] == "application/problem+json"
    print(f"{n_asked} requests with {len(NAMES)} names: none accepted")
    assert {
        key for key in redis.scan_iter("*") if not key.startswith((b"perceptron:idempotency", b"rq:"))
    } <= keys_before
    assert set(files_below(api.log.parent / "blobs")) == files_before
    assert api.http.get("/models/or").json()["aliases"] == {"production": 1}


def test_a_cut_gzip_body_is_refused(api: Api) -> None:
    whole = gzip.compress(json.dumps({"model": "or", "instances": [[0, 1]]}).encode())
    for content in (whole[:-4], whole + b"more", whole[:10]):
        answer = api.http.post("/predict", content=content, headers={**AS_JSON, "Content-Encoding": "gzip"})
        assert answer.status_code == 400, answer.text
