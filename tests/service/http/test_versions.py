"""Numbers in paths that no version can have."""

import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.builders import publish

PATHS = [
    ("GET", "/models/or/versions/{}"),
    ("DELETE", "/models/or/versions/{}"),
    ("GET", "/v1/models/or/versions/{}"),
    ("GET", "/v1/models/or/versions/{}/metadata"),
    ("POST", "/v1/models/or/versions/{}:predict"),
    ("GET", "/v2/models/or/versions/{}"),
    ("GET", "/v2/models/or/versions/{}/ready"),
    ("POST", "/v2/models/or/versions/{}/infer"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("version", ["0", "01", "2", "00", "9" * 15, "9" * 16, "9" * 5_000])
def test_a_number_that_no_version_has_is_not_found(
    http: FlaskClient, jobs: JobStore, method: str, path: str, version: str
) -> None:
    publish(jobs)
    answer = http.open(path.format(version), method=method, json={} if method == "POST" else None)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "version_not_found")
    assert f"has no version {version}" in answer.get_json()["detail"]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("version", ["latest", "-1", "1.0", "+1", "\u0661"])
def test_what_is_no_number_is_no_route(http: FlaskClient, method: str, path: str, version: str) -> None:
    answer = http.open(path.format(version), method=method, json={} if method == "POST" else None)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
