"""What holds for every request: ids, sizes, media types, errors, documents."""

import json
import re
import socket
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.app import API_VERSION, create_app
from service.settings import Limits, Settings
from storage.access.key_text import new_text
from storage.blobs import BlobStore
from storage.connection import connect
from storage.jobs.store import JobStore
from storage.models.versions import ModelReference
from storage.store_settings import StoreSettings
from tests.builders import publish

ROOT = Path(__file__).parents[3]


def test_a_request_id_is_echoed_or_made(http: FlaskClient) -> None:
    assert http.get("/livez", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    made = http.get("/nope")
    assert made.get_json()["request_id"] == made.headers["X-Request-Id"]
    for unfit in ("a b", "x" * 129, new_text(), f"id-{new_text()}"):  # an access key in the wrong header is not logged
        assert http.get("/livez", headers={"X-Request-Id": unfit}).headers["X-Request-Id"] != unfit


def test_a_problem_has_all_its_members(http: FlaskClient) -> None:
    answer = http.get("/nope")
    problem = answer.get_json()
    assert answer.mimetype == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "error"}
    assert (problem["status"], problem["title"], problem["code"]) == (404, "Not Found", "not_found")


def test_a_body_over_the_limit_is_too_large(http: FlaskClient) -> None:
    answer = http.post("/jobs", data=b" " * 1_100_001, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large")
    assert "1100000" in answer.get_json()["detail"] and "MAX_BODY_BYTES" in answer.get_json()["detail"]


def test_a_body_in_chunks_needs_a_length(http: FlaskClient) -> None:
    answer = http.post("/jobs", data=b"{}", headers={"Transfer-Encoding": "chunked"})
    assert (answer.status_code, answer.get_json()["code"]) == (411, "length_required")


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-www-form-urlencoded", "application/octet-stream"])
def test_other_media_types_are_unsupported(http: FlaskClient, content_type: str) -> None:
    answer = http.post("/jobs", data=b"{}", content_type=content_type)
    assert (answer.status_code, answer.get_json()["code"]) == (415, "unsupported_media_type")


def test_a_route_that_needs_a_body_says_so_when_there_is_none(http: FlaskClient) -> None:
    for method, path in (("POST", "/jobs"), ("POST", "/predict"), ("PUT", "/models/m/aliases/a")):
        answer = http.open(path, method=method)
        assert (answer.status_code, answer.get_json()["code"]) == (411, "length_required")
    assert http.post("/jobs/job_x/cancel").status_code == 404  # this one needs none


def test_two_slashes_are_not_one(http: FlaskClient) -> None:
    assert http.get("/jobs//").status_code == 404


@pytest.mark.serial
def test_after_redis_let_two_requests_wait_the_others_are_refused_at_once(blobs: BlobStore, tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        http = create_app(connect(f"unix://{path}", timeout_s=0.3, n_retries=0), blobs, Limits()).test_client()
        for longest_s in (2.0, 2.0, 0.1):
            started = time.monotonic()
            answer = http.get("/jobs")
            assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
            assert time.monotonic() - started < longest_s
        assert http.get("/livez").status_code == 200
        assert http.get("/openapi.json").status_code == 200
        time.sleep(1.0)
        started = time.monotonic()
        http.get("/jobs")
        assert time.monotonic() - started > 0.2  # tried again


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/vnd.perceptron+json", None])
def test_json_by_any_of_its_names_is_taken(http: FlaskClient, content_type: str | None) -> None:
    assert http.post("/jobs", data=b"{}", content_type=content_type).status_code == 422


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*", 200),
        ("text/html, */*;q=0.1", 200),
        ("text/html", 406),
    ],
)
def test_the_answer_is_json_or_nothing(http: FlaskClient, accept: str, status: int) -> None:
    answer = http.get("/jobs", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.get_json()["code"] == "not_acceptable"


def test_a_wrong_method_says_which_are_allowed(http: FlaskClient) -> None:
    answer = http.put("/jobs")
    assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_without_redis_the_answer_is_503_and_liveness_goes_on(blobs: BlobStore, tmp_path: Path) -> None:
    nobody = connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, n_retries=1)
    http = create_app(nobody, blobs, Limits()).test_client()
    for answer in (
        http.get("/readyz"),
        http.get("/jobs"),
        http.get("/models/m"),
        http.post("/predict", json={"model": "m", "instances": [[1]]}),
        http.post("/jobs", json={"model": "m", "data": {"features": [[1]], "targets": [1]}}),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert http.get("/livez").status_code == 200


def test_readyz_counts_the_workers(http: FlaskClient) -> None:
    assert http.get("/readyz").get_json() == {"status": "ready", "redis": "ok", "workers": 0}


def test_the_openapi_document_is_valid_and_complete(http: FlaskClient) -> None:
    document = http.get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    operations = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    assert set(operations) == {
        ("POST", "/jobs"),
        ("GET", "/jobs"),
        ("GET", "/jobs/{job_id}"),
        ("GET", "/jobs/{job_id}/events"),
        ("POST", "/jobs/{job_id}/cancel"),
        ("POST", "/datasets"),
        ("GET", "/datasets"),
        ("GET", "/datasets/{dataset_id}"),
        ("GET", "/datasets/{dataset_id}/rows"),
        ("DELETE", "/datasets/{dataset_id}"),
        ("GET", "/models"),
        ("GET", "/models/{name}"),
        ("DELETE", "/models/{name}"),
        ("GET", "/models/{name}/versions/{version}"),
        ("DELETE", "/models/{name}/versions/{version}"),
        ("PUT", "/models/{name}/aliases/{alias}"),
        ("DELETE", "/models/{name}/aliases/{alias}"),
        ("POST", "/predict"),
        ("GET", "/v1/models"),
        *(
            operation
            for chosen in ("", "/versions/{version}", "/labels/{alias}")
            for operation in (
                ("GET", f"/v1/models/{{name}}{chosen}"),
                ("GET", f"/v1/models/{{name}}{chosen}/metadata"),
                ("POST", f"/v1/models/{{name}}{chosen}:predict"),
            )
        ),
        ("POST", "/invocations"),
        ("GET", "/ping"),
        ("GET", "/health"),
        ("GET", "/version"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/stats"),
        ("POST", "/v2/repository/index"),
        *(
            (method, f"/v2/models/{{name}}{version}{rest}")
            for version in ("", "/versions/{version}")
            for method, rest in (
                ("GET", ""),
                ("GET", "/ready"),
                ("GET", "/config"),
                ("GET", "/stats"),
                ("POST", "/infer"),
            )
        ),
    }
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    for operation in operations.values():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert set(answer["content"]) == {"application/problem+json"}


def test_the_documentation_loads_nothing_from_elsewhere(http: FlaskClient) -> None:
    page = http.get("/docs", headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) == 3
    for source in sources:
        assert source.startswith("/docs/")
        with http.get(source) as asset:
            assert asset.status_code == 200
    assert http.get("/").headers["Location"] == "/docs"


def test_the_api_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == API_VERSION


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(["model", "data", "features", "targets", "network", "training", "validation"]), value=JSON)
def test_no_body_makes_the_service_fail(http: FlaskClient, where: str, value: Any) -> None:
    body: dict[str, Any] = {"model": "m", "data": {"features": [[1.0], [2.0]], "targets": [0.0, 1.0]}}
    (body["data"] if where in ("features", "targets") else body)[where] = value
    answer = http.post("/jobs", data=json.dumps(body), content_type="application/json")
    assert answer.status_code in (202, 400, 422), answer.text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(["model", "instances", "version", "alias"]), value=JSON)
def test_no_instances_make_predict_fail(http: FlaskClient, jobs: JobStore, where: str, value: Any) -> None:
    publish(jobs)
    body = {"model": "or", "instances": [[1.0, 2.0]], where: value}
    answer = http.post("/predict", data=json.dumps(body), content_type="application/json")
    assert answer.status_code in (200, 400, 404, 422), answer.text
    assert "NaN" not in answer.text


def test_settings_come_from_the_environment_and_are_checked() -> None:
    settings = Settings.from_env({"REDIS_URL": "redis://r", "DATA_DIR": "/d", "MAX_EPOCHS": "5"})
    assert (settings.stores, settings.limits.max_epochs) == (StoreSettings("redis://r", "file:///d/blobs"), 5)
    blank = Settings.from_env({"REDIS_URL": "redis://r", "DATA_DIR": "/a b", "BLOB_URL": ""})
    assert blank.stores.blob_url == "file:///a b/blobs"
    with pytest.raises(KeyError, match="REDIS_URL"):
        Settings.from_env({})
    for setting in ("MAX_EPOCHS", "API_THREADS", "MODEL_MEMORY_BYTES"):
        for wrong in ("0", "many"):
            with pytest.raises(ValueError, match=f"{setting} must be a whole number of at least 1, not '{wrong}'"):
                Settings.from_env({"REDIS_URL": "redis://r", setting: wrong})
    for setting in ("AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"):
        for wrong in ("health", "/a b", "/<x>", "/a?b=c"):
            with pytest.raises(ValueError, match=f"{setting} must be a path"):
                Settings.from_env({"REDIS_URL": "redis://r", setting: wrong})


@pytest.mark.parametrize(
    ("text", "model", "version", "alias"),
    [
        ("churn", "churn", None, None),
        ("churn@production", "churn", None, "production"),
        ("churn@3", "churn", None, "3"),
        ("churn/3", "churn", 3, None),
        ("a.b-c_d/12", "a.b-c_d", 12, None),
    ],
)
def test_the_default_model_may_name_a_version_or_an_alias(
    text: str, model: str, version: int | None, alias: str | None
) -> None:
    settings = Settings.from_env({"REDIS_URL": "redis://r", "DEFAULT_MODEL": text})
    assert settings.default_model == ModelReference(model, version, alias)


@pytest.mark.parametrize("text", ["a b", "a@", "@b", "a/0", "a/b", "a/1@b", "a@b/1", "a\n", "models:/a", "-a"])
def test_a_wrong_default_model_ends_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="DEFAULT_MODEL must be like churn"):
        Settings.from_env({"REDIS_URL": "redis://r", "DEFAULT_MODEL": text})
