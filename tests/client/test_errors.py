"""The tree of errors covers the service's codes, and what is no answer of the service says so."""

import inspect
import pickle
import re
from itertools import islice

import httpx
import pytest

from perceptron_client import ApiError, Client, PerceptronError, errors
from perceptron_client.errors import KIND_OF_CODE, Conflict, Invalid, InvalidTable, NotFound, ServerFault, Unavailable
from perceptron_client.sklearn.connections import client_of
from service.http.errors import STATUS_AND_CODE
from tests.stack import ROOT

TABLE_ERROR = re.compile(r'(?:TableError|raise_error|fail)\(\s*"([a-z_0-9]+)"')


def answering(status: int, **answer: object) -> Client:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, **answer))
    return Client("http://service", transport=transport, retry_for_s=0)


def problem(status: int, code: str, **members: object) -> Client:
    return answering(status, json={"status": status, "code": code, "detail": "because", **members})


def test_every_code_of_the_service_has_a_class_below_that_of_its_status():
    for status, code in STATUS_AND_CODE.values():
        assert issubclass(KIND_OF_CODE[code], errors.KIND_OF_STATUS[status]), code


def test_every_code_of_an_invalid_file_has_a_class():
    source = "".join(path.read_text() for path in sorted((ROOT / "service" / "datasets").rglob("*.py")))
    codes = set(TABLE_ERROR.findall(source))
    codes |= set(re.findall(r'"(stray_quote|wrong_charset|damaged_file|not_utf8)"', source))
    assert len(codes) > 15
    other = {"malformed_encoding", "malformed_json", "too_large"}
    assert {code for code in codes - other if not issubclass(KIND_OF_CODE.get(code, object), InvalidTable)} == set()
    documented = (ROOT / "docs" / "tables.md").read_text().partition("## Errors of a file")[2]
    assert {code for code in re.findall(r"`([a-z_0-9]+)`", documented)} - KIND_OF_CODE.keys() <= {
        *("code", "row", "line", "column", "value", "limit")
    }


def test_every_code_of_the_api_page_has_a_class():
    page = (ROOT / "docs" / "api.md").read_text().partition("## Errors\n")[2].partition("## Limits")[0]
    rows = [line for line in page.splitlines() if re.match(r"\| \d{3}", line)]
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row.split("|")[2])}
    assert len(codes) > 20 and codes - KIND_OF_CODE.keys() == set()


def test_the_tree_of_the_docstring_names_every_class():
    classes = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    drawn = set(re.findall(r"\b[A-Z]\w+\b", errors.__doc__.partition("PerceptronError")[2]))
    assert classes - {"PerceptronError"} - drawn == set()


def test_errors_are_caught_by_kind():
    for status, code, kind in [
        (404, "job_not_found", NotFound),
        (409, "version_in_use", Conflict),
        (422, "ragged_row", Invalid),
        (503, "busy", Unavailable),
        (500, "internal", ServerFault),
    ]:
        with problem(status, code) as client, pytest.raises(kind) as caught:
            client.jobs.get("job_1")
        assert (caught.value.status, caught.value.code, caught.value.detail) == (status, code, "because")
        assert isinstance(caught.value, PerceptronError)
        assert isinstance(caught.value, ValueError) == (kind is Invalid)


@pytest.mark.parametrize(
    ("status", "name"), [(404, "NotFound"), (418, "ApiError"), (422, "Invalid"), (507, "ServerFault")]
)
def test_a_code_of_a_later_service_becomes_the_class_of_its_status(status: int, name: str):
    with problem(status, "of_the_future") as client, pytest.raises(ApiError) as caught:
        client.jobs.get("job_1")
    assert (type(caught.value).__name__, caught.value.code) == (name, "of_the_future")


def test_the_message_shows_five_faults_and_an_error_survives_pickling():
    faults = [{"pointer": f"/a/{k}", "detail": f"must be at most {k}"} for k in range(7)]
    with problem(422, "invalid_request", errors=faults, request_id="r1") as client, pytest.raises(Invalid) as caught:
        client.jobs.get("job_1")
    lines = str(caught.value).splitlines()
    assert lines[0] == "invalid_request (422): 7 faults" and lines[5:] == ["  /a/4: must be at most 4", "  and 2 more"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.errors, again.request_id) == (str(caught.value), caught.value.errors, "r1")


def test_a_fault_of_the_service_names_the_request_for_its_log():
    with problem(500, "internal", request_id="r7") as client, pytest.raises(ServerFault, match="500, request r7"):
        client.jobs.get("job_1")


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (200, {"html": "<h1>Welcome</h1>"}, "is there another server at this address"),
        (200, {"json": [1]}, "is no JSON object"),
        (200, {"json": {"id": "job_1"}}, "cannot be read as Job: it has no member 'model'"),
        (200, {"content": b"[" * 100_000}, "is no JSON object"),
        (302, {"headers": {"location": "https://service/"}}, "redirects to https://service/"),
    ],
)
def test_what_is_no_answer_of_the_service_says_so(status: int, answer: dict[str, object], message: str):
    with answering(status, **answer) as client, pytest.raises(errors.UnexpectedAnswer, match=message):
        client.jobs.get("job_1")


def test_a_list_whose_pages_lead_nowhere_ends():
    page = {"data": [{"name": "m", "latest_version": 1, "n_versions": 1}], "has_more": True, "last_id": "m"}
    with answering(200, json=page) as client:
        assert [each.name for each in islice(client.models.list(), 9)] == ["m", "m"]


def test_an_output_beyond_all_floats_is_no_answer():
    answer = {"model": "m", "version": 1, "outputs": [[10**400]], "predictions": [1]}
    with answering(200, json=answer) as client, pytest.raises(errors.UnexpectedAnswer, match="as Prediction"):
        client.predict("m", [[1]])


def test_an_error_of_a_proxy_has_the_class_of_its_status():
    with answering(404, html="<h1>nothing here</h1>") as client, pytest.raises(NotFound, match=r"status_404 \(404\)"):
        client.jobs.get("job_1")


def test_not_ready_is_an_answer_and_says_why():
    with problem(503, "unavailable") as client:
        ready = client.ready()
    assert (ready.is_ready, ready.status, ready.detail, ready.workers) == (False, "unavailable", "because", None)


@pytest.mark.parametrize("url", ["service:8000", "ftp://service", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(errors.InvalidArgument, match="is no address"):
        Client(url)


def test_what_cannot_be_sent_is_refused_as_an_argument():
    for timeout_s in (0, float("inf"), float("nan"), 1e12):
        with pytest.raises(errors.InvalidArgument, match="timeout_s must be above 0 and at most 1,000,000"):
            Client(timeout_s=timeout_s)
    with answering(200) as client:
        with pytest.raises(errors.InvalidArgument, match="surrogates not allowed"):
            client.jobs.get("job_\udc80")
        with pytest.raises(errors.InvalidArgument, match="not list"):
            client.predict_arrow("m", [[1]])


def test_a_key_or_name_that_no_header_can_hold_is_refused_and_the_key_is_not_shown():
    with pytest.raises(errors.InvalidArgument, match="API key") as caught:
        Client("http://service", "sécret")
    assert "sécret" not in str(caught.value)
    of_client = Client("http://user:pass@service", transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    assert "pass" not in repr(of_client) + repr(of_client._http.settings)
    with pytest.raises(errors.UnexpectedAnswer, match="http://service/readyz") as unexpected:
        of_client.ready()
    assert "pass" not in str(unexpected.value)
    for wrong in ("htp://user:pa@ss@service", "http://user:pass@service:port"):
        with pytest.raises(errors.InvalidArgument, match=r"service.*is no address") as caught:
            Client(wrong)
        assert "pa" not in str(caught.value)
    with answering(200) as client, pytest.raises(errors.InvalidArgument, match="cannot be sent"):
        client.jobs.create(model="or", data=([[0], [1]], [0, 1]), idempotency_key="schlüssel☃")


def test_address_and_key_come_from_the_environment_and_the_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("PERCEPTRON_URL", "http://service/below/")
    monkeypatch.setenv("PERCEPTRON_API_KEY", "secret\n")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": []})

    with Client(transport=httpx.MockTransport(answer)) as client:
        assert list(client.models.list()) == []
        assert "secret" not in repr(client) + repr(vars(client)) + repr(client._http.settings)
    assert str(seen[0].url) == "http://service/below/models?limit=100"
    assert seen[0].headers["authorization"] == "Bearer secret"
    with Client("http://other", "mine", transport=httpx.MockTransport(answer)) as client:
        assert list(client.models.list()) == []
    assert (seen[1].url.host, seen[1].headers["authorization"]) == ("other", "Bearer mine")


def test_the_key_may_be_in_a_file_as_for_the_command(monkeypatch, tmp_path):
    path = tmp_path / "key"
    monkeypatch.setenv("PERCEPTRON_API_KEY_FILE", str(path))
    monkeypatch.delenv("PERCEPTRON_API_KEY", raising=False)
    for content, reason in ((None, "cannot be read: No such file"), (b" \n", "is empty"), (b"\xff", "not UTF-8")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(errors.InvalidArgument, match=f"PERCEPTRON_API_KEY_FILE {path} .*{reason}"):
            Client()
    path.write_text("of the file\n")
    assert Client()._http.settings.api_key == "of the file"
    assert client_of(None)._http.settings.api_key == "of the file"
    path.write_text("rotated\n")
    assert client_of(None)._http.settings.api_key == "rotated"
    assert Client(api_key="mine")._http.settings.api_key == "mine"
    monkeypatch.setenv("PERCEPTRON_API_KEY", "too")
    with pytest.raises(errors.InvalidArgument, match="give PERCEPTRON_API_KEY or PERCEPTRON_API_KEY_FILE, not both"):
        Client()
