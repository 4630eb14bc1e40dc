"""The headers that tell browsers to be careful: the same on every answer of the shipped process, whatever makes it."""

import re
import socket
from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests.api_process import Api, running_api
from tests.builders import publish, training_spec

SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' "
    "data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NEVER = {"server", "x-powered-by", "x-frame-options", "strict-transport-security", "access-control-allow-origin"}

PREDICT = b'{"model": "or", "instances": [[0, 1]]}'
IDS = {"job_id": "job_" + "0" * 32, "dataset_id": "ds_" + "0" * 32, "version": "1", "alias": "a"}


def check(what: str, status: int, headers: Mapping[str, str]) -> None:
    assert {name: headers.get(name) for name in SAFE} == SAFE, (what, status)
    assert NEVER & set(headers) == set(), (what, status)
    assert not any("python" in value.lower() or "uvicorn" in value.lower() for value in headers.values()), what
    is_page = headers.get("content-type", "").startswith("text/html") and headers.get("content-length", "0") != "0"
    assert headers.get("content-security-policy") == (CONTENT_POLICY if is_page else None), (what, status)


def answers_of_all_routes(api: Api) -> Iterator[httpx.Response]:
    """Ask every operation of the document, with what exists and with what does not."""
    for path, item in api.http.get("/openapi.json").json()["paths"].items():
        for name in ("or", "nobody"):
            url = re.sub(r"\{(\w+)\}", lambda match, name=name: IDS.get(match[1], name), path)
            for method in [*item, "head", "options"]:
                body = PREDICT if method in ("post", "put") else None
                yield api.http.request(method, url, content=body, headers={"Prefer": "wait=1"})


def errors(api: Api, job_id: str) -> Iterator[httpx.Response]:
    """One request for each way of the process to answer, and for each kind of error."""
    http = api.http
    yield http.get("/")
    yield http.get("/docs")
    yield http.get("/docs/start.js")
    yield http.get("/docs/assets/js/scalar.standalone.js", headers={"Range": "bytes=0-9"})
    yield http.get("/nothing/here")
    yield http.request("PATCH", "/jobs")
    yield http.get("/jobs", headers={"Accept": "image/png"})
    yield http.post("/jobs")
    yield http.post("/jobs", content=b"{")
    yield http.post("/jobs", content=b"{}")
    yield http.post("/jobs", content=b"{}", headers={"Content-Type": "image/png"})
    yield http.post("/predict", content=b"x", headers={"Content-Encoding": "br"})
    yield http.post("/predict", content=b" " * 1_001)
    yield http.post("/predict", content=PREDICT, headers={"Origin": "https://app.example"})
    yield http.post("/predict", content=PREDICT, headers={"Content-Type": "text/csv"})
    yield http.post("/datasets", content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    yield http.get(f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
    etag = http.get(f"/jobs/{job_id}").headers["ETag"]
    yield http.get(f"/jobs/{job_id}", headers={"If-None-Match": etag})


def raw(api: Api, request: bytes) -> tuple[int, dict[str, str]]:
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(request)
        head, _, _ = connection.recv(65_536).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("safe")) as api:
        yield api


@pytest.fixture
def safe_api(shared_api: Api) -> Api:
    publish(shared_api.jobs)
    return shared_api


def post(*headers: str, body: bytes = PREDICT) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_every_answer_has_them(safe_api: Api) -> None:
    job_id = safe_api.jobs.submit("m", training_spec(), metadata={}).id
    safe_api.jobs.cancel(job_id)
    statuses = set()
    for answer in (*answers_of_all_routes(safe_api), *errors(safe_api, job_id)):
        check(f"{answer.request.method} {answer.request.url.path[:60]}", answer.status_code, answer.headers)
        statuses.add(answer.status_code)
    for request in (
        post(),
        post("Connection: close"),
        post(body=b"{"),
        post("Transfer-Encoding: chunked"),
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 9_000),
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: %s\r\n\r\n" % (b"a" * 70_000),
    ):
        status, headers = raw(safe_api, request)
        check(request[:100].decode(), status, headers)
        statuses.add(status)
    assert statuses >= {200, 302, 304, 400, 404, 405, 406, 411, 414, 415, 422, 431}


def test_a_proxy_of_this_machine_that_has_tls_makes_browsers_keep_to_it(safe_api: Api) -> None:
    tls, plain = {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "http"}
    for path in ("/livez", "/jobs", "/docs", "/nothing"):
        assert safe_api.http.get(path, headers=tls).headers["strict-transport-security"] == "max-age=31536000"
        assert "strict-transport-security" not in safe_api.http.get(path, headers=plain).headers
    status, headers = raw(safe_api, post("X-Forwarded-Proto: https"))
    assert (status, headers["strict-transport-security"]) == (200, "max-age=31536000")
    assert "strict-transport-security" not in raw(safe_api, post("X-Forwarded-Proto: http"))[1]
