"""`GET /jobs/{id}/events` as JSON."""

import httpx
import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.builders import claimed, progress


def test_the_events_are_a_list_that_goes_on_after_the_last_one_seen(http: FlaskClient, jobs: JobStore) -> None:
    attempt = claimed(jobs)
    url = f"/jobs/{attempt.job.id}/events"
    seen = http.get(url).get_json()
    assert [event["data"]["status"] for event in seen["data"]] == ["queued", "running"]
    assert (seen["has_more"], seen["last_id"]) == (False, seen["data"][-1]["id"])
    attempt.report(progress(7), on_curve=True)
    (new,) = http.get(url, query_string={"after": seen["last_id"]}).get_json()["data"]
    assert new["type"] == "epoch" and new["at"].endswith("Z")
    assert new["data"] == {"attempt": 1, "epoch": 7, "cost": 0.25, "validation_cost": None}
    assert http.get(url, headers={"Last-Event-ID": new["id"]}).get_json() == {
        "data": [],
        "has_more": False,
        "last_id": new["id"],
    }
    assert http.get(url, query_string={"limit": 1}).get_json()["has_more"] is True


def test_a_job_that_is_not_there_has_no_events(http: FlaskClient) -> None:
    answer = http.get("/jobs/job_0/events")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"query_string": {"after": "-"}}, "/after"),
        ({"query_string": {"after": "1-1\n"}}, "/after"),
        ({"query_string": {"limit": 0}}, "/limit"),
        ({"query_string": {"limit": 2001}}, "/limit"),
        ({"headers": {"Last-Event-ID": "+"}}, "/Last-Event-ID"),
    ],
)
def test_a_wrong_place_or_limit_is_named(http: FlaskClient, jobs: JobStore, options: dict, pointer: str) -> None:  # type: ignore[type-arg]
    answer = http.get(f"/jobs/{claimed(jobs).job.id}/events", **options)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [fault["pointer"] for fault in answer.get_json()["errors"]] == [pointer]
