"""One damaged record: the others are listed and served, the log names it, and it is 503 by itself."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from storage import alarm, keys
from storage.jobs.store import JobStore
from tests.builders import claimed, publish

Damage = Callable[[Redis, str], object]


JOBS: dict[str, Damage] = {
    "wrong type": lambda redis, job_id: redis.set(keys.job(job_id), "text"),
    "no fields": lambda redis, job_id: (redis.delete(keys.job(job_id)), redis.hset(keys.job(job_id), "attempt", 1)),
    "spec": lambda redis, job_id: redis.hset(keys.job(job_id), "spec", '{"task": "os.system"}'),
    "no text": lambda redis, job_id: redis.hset(keys.job(job_id), "model", b"\xff"),
    "status": lambda redis, job_id: redis.hset(keys.job(job_id), "status", "lost"),
    "number": lambda redis, job_id: redis.hset(keys.job(job_id), "created_at_ms", "then"),
}


@pytest.mark.parametrize("damage", JOBS)
def test_a_damaged_job_leaves_the_lists_of_jobs(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """R38. On 15a4f66 every list of jobs was 503."""
    ids = [claimed(jobs).job.id for _ in range(4)]
    for at_ms, job_id in enumerate(ids):
        redis.zadd(keys.jobs(), {job_id: at_ms})
    JOBS[damage](redis, ids[2])
    first = http.get("/jobs?limit=2").get_json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == ([ids[3], ids[1]], True)
    second = http.get(f"/jobs?limit=2&after={first['last_id']}").get_json()
    assert ([job["id"] for job in second["data"]], second["has_more"]) == ([ids[0]], False)
    for query in ("model=or", "status=running"):
        listed = http.get(f"/jobs?{query}").get_json()["data"]
        assert {job["id"] for job in listed} == {*ids} - {ids[2]}
    assert any("ALARM" in line and ids[2] in line for line in caplog.messages)
    itself = http.get(f"/jobs/{ids[2]}")
    assert (itself.status_code, itself.get_json()["code"]) == (503, "unavailable")
    assert http.get(f"/jobs/{ids[1]}").status_code == 200


def test_a_list_in_which_everything_is_damaged_ends(http: FlaskClient, jobs: JobStore, redis: Redis) -> None:
    ids = [claimed(jobs).job.id for _ in range(5)]
    for job_id in ids:
        redis.hset(keys.job(job_id), "spec", "{")
    redis.zadd(keys.jobs(), {f"{ids[0]}:events": 1e15, b"\xff": 2e15})
    assert http.get("/jobs?limit=1").get_json() == {"data": [], "has_more": False, "last_id": None}


def test_a_damaged_index_is_unavailable_and_no_unexpected_error(
    http: FlaskClient, jobs: JobStore, redis: Redis
) -> None:
    job_id = claimed(jobs).job.id
    redis.set(keys.jobs(), "text")
    redis.set(keys.models(), "text")
    redis.set(keys.jobs_with_status("failed"), "text")
    for path in ("/jobs", "/models", "/jobs?status=failed"):
        answer = http.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert http.get(f"/jobs/{job_id}").status_code == 200


def test_a_damaged_event_leaves_the_others(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    attempt = claimed(jobs)
    key = keys.events(attempt.job.id)
    damaged = [redis.xadd(key, {"type": "log", "data": "{"}), redis.xadd(key, {"other": "x"})]
    attempt.log("still here")
    shown = http.get(f"/jobs/{attempt.job.id}/events").get_json()["data"]
    assert [event["type"] for event in shown] == ["status", "status", "log"]
    for event_id in damaged:
        assert any("ALARM" in line and event_id.decode() in line for line in caplog.messages)
    first = http.get(f"/jobs/{attempt.job.id}/events?limit=3").get_json()
    assert (len(first["data"]), first["has_more"]) == (2, True)


def test_damaged_events_are_unavailable_and_the_job_goes_on(http: FlaskClient, jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    redis.set(keys.events(attempt.job.id), "text")
    assert http.get(f"/jobs/{attempt.job.id}/events").status_code == 503
    attempt.log("the stream is written anew")
    assert len(http.get(f"/jobs/{attempt.job.id}/events").get_json()["data"]) == 1
    redis.set(keys.events(attempt.job.id), "text")
    assert http.post(f"/jobs/{attempt.job.id}/cancel").get_json()["status"] == "cancelled"


VERSIONS: dict[str, Damage] = {
    "wrong type": lambda redis, _: redis.set(keys.version("or", 2), "text"),
    "no description": lambda redis, _: redis.hdel(keys.version("or", 2), "description"),
    "nothing": lambda redis, _: redis.delete(keys.version("or", 2)),
    "description": lambda redis, _: redis.hset(keys.version("or", 2), "description", "{}"),
    "time": lambda redis, _: redis.hset(keys.version("or", 2), "created_at_ms", "then"),
    "no weights": lambda redis, _: redis.hdel(keys.version("or", 2), "weights"),
}


@pytest.mark.parametrize("damage", VERSIONS)
def test_a_damaged_version_leaves_its_model(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    for _ in range(3):
        publish(jobs)
    VERSIONS[damage](redis, "")
    model = http.get("/models/or").get_json()
    is_listed = damage == "no weights"
    assert [version["version"] for version in model["versions"]] == ([1, 2, 3] if is_listed else [1, 3])
    assert http.get("/models").get_json()["data"][0]["n_versions"] == 3
    if not is_listed:
        assert any("ALARM" in line and "version 2 of model 'or'" in line for line in caplog.messages)
    caplog.clear()
    alarm._said_at_s.clear()
    alarm.take()
    assert http.get("/models/or/versions/2").status_code == 503
    assert alarm.take() >= 1  # which /metrics counts
    answer = http.post("/predict", json={"model": "or", "version": 2, "instances": [[1, 1]]})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert any("ALARM" in line and "model 'or'" in line for line in caplog.messages)
    for number in (1, 3):
        assert http.get(f"/models/or/versions/{number}").status_code == 200
    assert http.post("/predict", json={"model": "or", "instances": [[1, 1]]}).get_json()["version"] == 3
    assert http.put("/models/or/aliases/a", json={"version": 1}).status_code == 200


MODELS: dict[str, Damage] = {
    "versions": lambda redis, _: redis.set(keys.versions("b"), "text"),
    "aliases": lambda redis, _: redis.set(keys.aliases("b"), "text"),
    "digests": lambda redis, _: redis.set(keys.digests("b"), "text"),
    "no number": lambda redis, _: (redis.delete(keys.versions("b")), redis.zadd(keys.versions("b"), {"one": 1})),
}


@pytest.mark.parametrize("damage", MODELS)
def test_damaged_pointers_leave_the_list_of_models(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    for name in "abc":
        publish(jobs, name)
    MODELS[damage](redis, "")
    redis.zadd(keys.models(), {"a:b": 0, b"\xff": 0})
    assert [model["name"] for model in http.get("/models").get_json()["data"]] == ["a", "c"]
    page = http.get("/models?limit=1").get_json()
    assert (page["last_id"], page["has_more"]) == ("a", True)
    assert [model["name"] for model in http.get("/models?limit=1&after=a").get_json()["data"]] == ["c"]
    assert len(http.post("/v2/repository/index", json={}).get_json()) == 2
    assert any("ALARM" in line and "model 'b'" in line for line in caplog.messages)
    assert http.get("/models/b").status_code == 503
    predicted = {name: http.post("/predict", json={"model": name, "instances": [[1, 1]]}).status_code for name in "abc"}
    assert predicted == {"a": 200, "b": 503, "c": 200}


def test_a_damaged_alias_is_unavailable_and_the_others_are_shown(
    http: FlaskClient, jobs: JobStore, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    publish(jobs, alias="production")
    redis.hset(keys.aliases("or"), "canary", "the newest")
    assert http.get("/models/or").get_json()["aliases"] == {"production": 1}
    assert any("ALARM" in line and "canary" in line for line in caplog.messages)

    def predict(**which: Any) -> int:
        return http.post("/predict", json={"model": "or", "instances": [[1, 1]], **which}).status_code

    assert [predict(alias=alias) for alias in ("production", "canary", "nobody")] == [200, 503, 404]
    assert http.put("/models/or/aliases/canary", json={"version": 1}).status_code == 200
    assert predict(alias="canary") == 200


def test_what_is_known_of_an_idempotency_key_may_be_damaged(http: FlaskClient, redis: Redis) -> None:
    body = {"model": "or", "data": {"features": [[0], [1]], "targets": [0, 1]}}
    sent = {"json": body, "headers": {"Idempotency-Key": "k"}}
    http.post("/jobs", **sent)
    (key,) = redis.keys("perceptron:idempotency:*")
    for damage in (lambda: redis.hdel(key, "job"), lambda: redis.set(key, "text")):
        damage()
        answer = http.post("/jobs", **sent)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
