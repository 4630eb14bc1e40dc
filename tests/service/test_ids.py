"""Ids and names from outside become parts of keys, so what has another form names nothing."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from redis import Redis

from storage import keys
from storage.blobs import BlobStore
from storage.errors import CorruptDataError, ModelNotFoundError
from storage.jobs.reports import Figures
from storage.jobs.store import JobStore
from tests.builders import claimed, publish

NO_IDS = ["{id}:events", "{id}:best", "{id}\n", "{id} ", "{ID}", "job_0", "job_", "{id}0", "*", "jöb", "s:queued"]


@pytest.mark.parametrize("form", NO_IDS)
def test_what_is_no_id_of_a_job_is_not_found(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    """C1. On 15a4f66 `GET /jobs/{id}:events` was 500, and `{id}:best` 503 with an alarm."""
    attempt = claimed(jobs)
    attempt.show_best(b"weights", Figures(1, 0.5, None))
    before = sorted(redis.scan_iter())
    no_id = form.format(id=attempt.job.id, ID=attempt.job.id.upper())
    path = f"/jobs/{quote(no_id)}"
    answers = [
        http.get(path),
        http.get(f"{path}/events"),
        http.post(f"{path}/cancel"),
        http.post("/predict", json={"job": no_id, "instances": [[1, 1]]}),
    ]
    assert {(answer.status_code, answer.get_json()["code"]) for answer in answers} == {(404, "job_not_found")}
    after = http.get("/jobs", query_string={"after": no_id})
    assert (after.status_code, after.get_json()["errors"][0]["pointer"]) == (422, "/after")
    assert sorted(redis.scan_iter()) == before
    assert "ALARM" not in caplog.text


def test_an_id_that_is_not_found_is_not_repeated_in_full(http: FlaskClient) -> None:
    answer = http.post("/predict", json={"job": "x" * 1_000_000, "instances": [[1]]})
    assert answer.status_code == 404
    assert len(answer.data) < 1_000


@pytest.mark.parametrize("name", ["or:versions", "or:version:1", "", " or", "or\n", "x" * 129, "ör"])
@pytest.mark.parametrize(
    "build", [keys.versions, keys.aliases, lambda name: keys.version(name, 1)], ids=["versions", "aliases", "version"]
)
def test_no_key_is_made_of_what_is_no_name(build: Callable[[str], str], name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no model"):
        build(name)


@pytest.mark.parametrize("path", ["/models/{}", "/models/{}/versions/1", "/v2/models/{}", "/v1/models/{}"])
def test_what_is_no_name_of_a_model_is_not_found(http: FlaskClient, jobs: JobStore, path: str) -> None:
    publish(jobs)
    for name in ("or:versions", "or:version:1", "x" * 200):
        assert http.get(path.format(name)).status_code == 404


@pytest.mark.parametrize("digest", ["../../store-identity", "", "A" * 64, "0" * 63])
def test_a_blob_is_only_read_by_a_digest(blobs: BlobStore, digest: str) -> None:
    blobs.write_mark("store-identity", b"secret")
    for use in (blobs.get, blobs.delete, lambda digest: blobs.delete_if_old(digest, 1e12)):
        with pytest.raises(CorruptDataError):
            use(digest)
    assert blobs.read_mark("store-identity") == b"secret"


def test_an_event_id_that_is_none_is_refused(http: FlaskClient, jobs: JobStore) -> None:
    path = f"/jobs/{claimed(jobs).job.id}/events"
    sent: list[dict[str, Any]] = [
        {"query_string": {"after": "1-1-1"}},
        {"query_string": {"after": "99999999999999999-1"}},
        {"headers": {"Last-Event-ID": "+"}},
    ]
    assert {http.get(path, **how).status_code for how in sent} == {422}
