"""`/datasets` as it is shipped: uploads in every form, what is refused, and what is left behind."""

import base64
import hashlib
import io
import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from tests.api_process import Api, running_api
from tests.files import files_below

CSV = b"age,plan,y\n31,pro,1\n,basic,0\n45,pro,1\n"
AS_CSV = {"Content-Type": "text/csv"}


def stored_files(folder: Path) -> list[str]:
    """The blobs, and what is on its way to become one."""
    return [str(path.relative_to(folder)) for path in files_below(folder / "blobs")]


def wait_for_files(folder: Path, n_files: int) -> list[str]:
    """Wait until there are so many: what an upload leaves is deleted after its answer."""
    deadline = time.monotonic() + 5
    while len(files := stored_files(folder)) != n_files:
        assert time.monotonic() < deadline, files
        time.sleep(0.01)
    return files


def test_a_table_is_described_listed_shown_and_deleted(api: Api) -> None:
    created = api.http.post("/datasets?name=churn.csv", content=CSV, headers=AS_CSV)
    assert created.status_code == 201
    found = created.json()
    assert created.headers["Location"] == f"/datasets/{found['id']}"
    assert (found["name"], found["rows"], found["bytes"], found["delimiter"]) == ("churn.csv", 3, len(CSV), ",")
    age, plan, _ = found["columns"]
    assert (age["type"], age["nulls"], age["mean"], age["min"], age["max"]) == ("numeric", 1, 38.0, 31.0, 45.0)
    assert (plan["type"], plan["categories"]) == ("categorical", ["basic", "pro"])
    assert api.http.get(f"/datasets/{found['id']}").json() == found
    (listed,) = api.http.get("/datasets").json()["data"]
    assert listed == {name: found[name] for name in listed}
    rows = api.http.get(f"/datasets/{found['id']}/rows?limit=2").json()
    assert rows == {
        "data": [{"age": 31.0, "plan": "pro", "y": 1.0}, {"age": None, "plan": "basic", "y": 0.0}],
        "has_more": True,
    }
    assert api.http.delete(f"/datasets/{found['id']}").status_code == 204
    for method, path in (("GET", ""), ("GET", "/rows"), ("DELETE", "")):
        answer = api.http.request(method, f"/datasets/{found['id']}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


def test_the_same_bytes_are_one_data_set_and_other_options_another(api: Api) -> None:
    first = api.http.post("/datasets", content=CSV, headers=AS_CSV)
    again = api.http.post("/datasets?name=other", content=CSV, headers=AS_CSV)
    other = api.http.post("/datasets", params={"types": '{"age": "categorical"}'}, content=CSV, headers=AS_CSV)
    assert [each.status_code for each in (first, again, other)] == [201, 200, 201]
    assert first.json() == again.json() != other.json()
    with_mark = api.http.post("/datasets", content=b"\xef\xbb\xbf" + CSV, headers=AS_CSV).json()
    assert with_mark["id"] != first.json()["id"]
    assert with_mark["digest"] == first.json()["digest"]  # of the columns


def test_chunks_are_welcome(api: Api) -> None:
    def chunks() -> Iterator[bytes]:
        for first in range(0, len(CSV), 7):
            yield CSV[first : first + 7]

    answer = api.http.post("/datasets", content=chunks(), headers=AS_CSV)
    assert answer.status_code == 201
    assert answer.json()["digest"] == api.http.post("/datasets", content=CSV, headers=AS_CSV).json()["digest"]


def test_an_upload_that_is_cut_off_leaves_nothing(api: Api, tmp_path: Path) -> None:
    before = stored_files(tmp_path)
    for framing in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", api.port)) as client:
            client.sendall(
                f"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n{framing}\r\n\r\n".encode()
            )
            client.sendall(b"5\r\na,b\n1\r\n" if "chunked" in framing else b"a,b\n1")
            time.sleep(0.3)
            client.shutdown(socket.SHUT_WR)  # it sends no more, and still reads
            head, _, body = b"".join(iter(partial(client.recv, 65_536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(body)["code"] == "malformed_encoding"
    assert wait_for_files(tmp_path, len(before)) == before
    assert api.http.get("/datasets").json()["data"] == []


@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest", "Digest"])
def test_a_digest_is_checked(api: Api, tmp_path: Path, header: str) -> None:
    before = stored_files(tmp_path)
    for content, status in ((CSV, 201), (CSV + b"9,pro,0\n", 400)):
        text = base64.b64encode(hashlib.sha256(CSV).digest()).decode()
        given = f"SHA-256={text}" if header == "Digest" else f"sha-256=:{text}:"
        answer = api.http.post("/datasets", content=content, headers={**AS_CSV, header: given})
        assert answer.status_code == status, answer.json()
    assert "another sha256" in answer.json()["detail"]
    wait_for_files(tmp_path, len(before) + 1)


def an_arrow_stream() -> bytes:
    table = pa.table({"age": [31.0, None, 45.0], "plan": ["pro", "basic", "pro"], "y": [1, 0, 1]})
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def an_npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, age=[31.0, np.nan, 45.0], plan=np.array(["pro", "basic", "pro"]), y=[1, 0, 1])
    return file.getvalue()


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("text/tab-separated-values", CSV.replace(b",", b"\t")),
        ("application/json", b'[{"age": 31, "plan": "pro", "y": 1}, {"plan": "basic", "y": 0}, '
         b'{"age": 45, "plan": "pro", "y": 1}]'),
        ("application/jsonlines", b'{"age": 31, "plan": "pro", "y": 1}\n{"age": null, "plan": "basic", "y": 0}\n'
         b'{"age": 45, "plan": "pro", "y": 1}\n'),
        ("application/vnd.apache.arrow.stream", an_arrow_stream()),
        ("application/x-npz", an_npz()),
    ],
)  # fmt: skip
def test_one_table_is_the_same_in_every_format(api: Api, media_type: str, content: bytes) -> None:
    answer = api.http.post("/datasets", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 201, answer.json()
    assert answer.json()["digest"] == api.http.post("/datasets", content=CSV, headers=AS_CSV).json()["digest"]


def refused(http: httpx.Client, **request: Any) -> tuple[int, str, str]:
    answer = http.post("/datasets", **{"content": CSV, "headers": AS_CSV, **request})
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    return answer.status_code, problem["code"], problem["detail"]


def test_what_is_no_table_is_refused_with_a_reason(api: Api, tmp_path: Path) -> None:
    before = stored_files(tmp_path)
    assert refused(api.http, content=b"")[:2] == (422, "empty_file")
    assert refused(api.http, content=b"a,b\n")[:2] == (422, "no_rows")
    assert refused(api.http, content=b"a,b\n1,2\n3\n")[:2] == (422, "ragged_row")
    assert refused(api.http, headers={"Content-Type": "image/png"})[:2] == (415, "unsupported_media_type")
    assert refused(api.http, headers={**AS_CSV, "Content-Encoding": "br"})[:2] == (415, "unsupported_media_type")
    assert refused(api.http, params={"delimiter": "ab"})[0] == 422
    assert refused(api.http, params={"types": '{"no": "numeric"}'})[0] == 422
    assert refused(api.http, params={"nme": "x"})[2].startswith("/nme")
    assert refused(api.http, params={"name": "x" * 300})[2].startswith("/name")
    assert wait_for_files(tmp_path, len(before)) == before


def test_limits_are_named_with_their_setting(tmp_path: Path) -> None:
    limits = {"MAX_DATASET_BYTES": "1000", "MAX_DATASET_ROWS": "5", "MAX_DATASET_COLUMNS": "3"}
    with running_api(tmp_path, **limits) as api:
        for content, setting in (
            (b"a\n" + b"1\n" * 600, "MAX_DATASET_BYTES"),
            (b"a\n" + b"1\n" * 6, "MAX_DATASET_ROWS"),
            (b"a,b,c,d\n1,2,3,4\n", "MAX_DATASET_COLUMNS"),
        ):
            status, code, detail = refused(api.http, content=content)
            assert (status, code) == (413, "too_large")
            assert setting in detail

        def endless() -> Iterator[bytes]:
            for _ in range(100):
                yield b"1\n" * 100

        assert refused(api.http, content=endless())[:2] == (413, "too_large")
        assert api.http.get("/livez").status_code == 200


def test_a_data_set_that_a_job_needs_stays(api: Api) -> None:
    dataset = api.http.post("/datasets", content=CSV * 1, headers=AS_CSV).json()["id"]
    job = api.http.post("/jobs", json={"model": "m", "dataset": dataset, "target": "y"})
    assert job.status_code == 202, job.json()
    assert job.json()["config"]["dataset"] == dataset
    answer = api.http.delete(f"/datasets/{dataset}")
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_in_use")
    assert job.json()["id"] in answer.json()["detail"]
    api.http.post(f"/jobs/{job.json()['id']}/cancel")
    assert api.http.delete(f"/datasets/{dataset}").status_code == 204
    gone = api.http.post("/jobs", json={"model": "m", "dataset": dataset, "target": "y"})
    assert (gone.status_code, gone.json()["code"]) == (404, "dataset_not_found")
