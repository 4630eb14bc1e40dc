"""R40: what commit 15a4f66 wrote is read, and what is written now can be read by that commit again.

`records_of_15a4f66.json` holds every key and blob that its stores wrote for a job in each state and three models, as
texts of one character for each byte.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from service.app import create_app
from service.settings import Limits
from storage import keys
from storage.blobs import BlobStore
from storage.codec import decode_dataset
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import Reconciler
from storage.jobs.reports import Figures
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from tests.clock import Clock
from worker.deadline import Deadline
from worker.training import run_training

WRITTEN = json.loads((Path(__file__).parent / "records_of_15a4f66.json").read_text())
IDS: dict[str, str] = WRITTEN["ids"]


def to_bytes(text: str) -> bytes:
    return text.encode("latin-1")


WRITE: dict[str, Callable[[Redis, str, Any], object]] = {
    "hash": lambda redis, key, content: redis.hset(key, mapping={k: to_bytes(v) for k, v in content.items()}),
    "zset": lambda redis, key, content: redis.zadd(key, content),
    "set": lambda redis, key, content: redis.sadd(key, *content),
    "list": lambda redis, key, content: redis.rpush(key, *content),
    "stream": lambda redis, key, content: [
        redis.xadd(key, {k: to_bytes(v) for k, v in fields.items()}, id=event_id) for event_id, fields in content
    ],
}


@pytest.fixture(autouse=True)
def written(redis: Redis, tmp_path: Path) -> None:
    """The Redis and the blobs as that commit left them."""
    for key, (kind, content) in WRITTEN["keys"].items():
        WRITE[kind](redis, key, content)
    for name, content in WRITTEN["blobs"].items():
        path = tmp_path / "blobs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(content))


@pytest.fixture
def http(redis: Redis, blobs: BlobStore) -> FlaskClient:
    return create_app(redis, blobs, Limits()).test_client()


def test_its_jobs_are_listed_and_shown(http: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    listed = http.get("/jobs").get_json()["data"]
    assert {job["id"] for job in listed} == set(IDS.values())
    shown = {name: http.get(f"/jobs/{job_id}").get_json() for name, job_id in IDS.items()}
    status = {name: job["status"] for name, job in shown.items()}
    assert status == {name: name for name in IDS} | {"classes": "succeeded", "sweep": "succeeded"}
    assert shown["succeeded"]["metadata"] == {"owner": "growth"}
    assert shown["succeeded"]["config"]["feature_names"] == ["x0", "x1"]
    assert [entry["rank"] for entry in shown["sweep"]["result"]["leaderboard"]] == [1, 2]
    assert all(job["result"] is None or job["result"]["leaderboard"] is None for job in listed)
    assert shown["failed"]["error"]["code"] == "diverged"
    assert shown["running"]["progress"]["epoch"] == 3
    for job_id in IDS.values():
        assert http.get(f"/jobs/{job_id}/events").get_json()["data"][0]["data"]["status"] == "queued"
    assert "ALARM" not in caplog.text


def test_its_versions_are_shown_and_predict_the_same(http: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    assert http.get("/models/or").get_json()["aliases"] == {"production": 1}
    for name, before in WRITTEN["predictions"].items():
        assert http.get(f"/models/{name}/versions/1").status_code == 200
        assert http.post("/predict", json={"model": name, "instances": [[1, 1]]}).get_json() == before
    answer = http.post("/predict", json={"job": IDS["running"], "instances": [[1, 1]]}).get_json()
    assert (answer["provisional"], answer["epoch"]) == (True, 3)
    assert "ALARM" not in caplog.text


def test_the_same_request_is_answered_with_its_job(http: FlaskClient, redis: Redis) -> None:
    # The digest of the body has another form now, so the job is found and the request is refused, not repeated.
    body = {"model": "queued", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}
    answer = http.post("/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code in (202, 422)
    assert IDS["queued"] in answer.text
    assert len(http.get("/jobs").get_json()["data"]) == len(IDS)


def test_its_queue_entries_are_taken_and_trained(
    redis: Redis, jobs: JobStore, models: ModelStore, queue: TrainingQueue, blobs: BlobStore
) -> None:
    taken = {job_id for _ in range(20) if (job_id := queue.take()) is not None}
    assert IDS["queued"] in taken
    attempt = jobs.claim(IDS["queued"])
    assert attempt is not None
    run_training(attempt, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    assert jobs.get(IDS["queued"]).status == "succeeded"


def test_its_lost_entries_and_dead_attempts_are_replaced_and_nothing_is_forgotten(
    redis: Redis, jobs: JobStore, queue: TrainingQueue, blobs: BlobStore
) -> None:
    redis.delete("rq:queue:training")
    clock = Clock()
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=30 * 86400, clock=clock)
    reconciler = Reconciler(redis, jobs, queue, holder="new", max_attempts=3, housekeeping=housekeeping, clock=clock)
    for _ in range(5):
        reconciler.run()
        clock.now += 3
    assert queue.waiting_job_ids() == {IDS["queued"], IDS["running"]}
    assert len(jobs.page(limit=100)[0]) == len(IDS)


def test_a_worker_of_that_commit_trains_a_job_with_many_names_of_features(
    http: FlaskClient, jobs: JobStore, models: ModelStore, blobs: BlobStore, redis: Redis,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """It reads the names from `spec` alone, and publishes and shows them as it reads them."""
    names = [f"feature {k}" for k in range(1_500)]
    data = {"features": [[0.0] * 1_500, [1.0] * 1_500], "targets": [0, 1], "feature_names": names}
    job_id = http.post("/jobs", json={"model": "wide", "data": data, "training": {"max_epochs": 1}}).get_json()["id"]
    assert http.get("/jobs").get_json()["data"][0]["id"] == job_id
    claimed = jobs.claim(job_id)
    assert claimed is not None
    its_spec = json.loads(redis.hget(keys.job(job_id), "spec") or b"")
    claimed.job = replace(claimed.job, spec=replace(claimed.job.spec, feature_names=tuple(its_spec["feature_names"])))
    monkeypatch.setattr("storage.jobs.attempt.MAX_NAMES_IN_RECORD", 10**6)
    monkeypatch.setattr("worker.instances.decode_dataset", lambda content: (decode_dataset(content)[0], ()))
    publish = claimed.publish
    by_name = {"instances": [dict.fromkeys(names, 1.0)]}

    def look_and_publish(weights: bytes, *args: Any) -> int:
        claimed.show_best(weights, Figures(1, 0.5, None))
        assert http.post("/predict", json={"job": job_id, **by_name}).status_code == 200
        return publish(weights, *args)

    monkeypatch.setattr(claimed, "publish", look_and_publish)
    run_training(claimed, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    assert http.get("/models/wide/versions/1").get_json()["feature_names"] == names
    assert http.post("/predict", json={"model": "wide", **by_name}).status_code == 200
    assert "ALARM" not in caplog.text


def test_what_is_written_now_has_every_field_that_it_reads(
    http: FlaskClient, redis: Redis, jobs: JobStore, models: ModelStore, blobs: BlobStore
) -> None:
    """Back again: its decoders need these fields, and ignore others."""
    body = {"model": "new", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}
    job_id = http.post("/jobs", json=body).get_json()["id"]
    attempt = jobs.claim(job_id)
    assert attempt is not None
    run_training(attempt, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    for old, new in (
        (f"perceptron:job:{IDS['succeeded']}", f"perceptron:job:{job_id}"),
        ("perceptron:model:or:version:1", "perceptron:model:new:version:1"),
    ):
        needed = set(redis.hkeys(old)) - {b"rung_at_ms"}  # absent, it rings at once, which is harmless
        assert needed <= set(redis.hkeys(new))
    old_spec, spec, old_description, new_description = (
        json.loads(redis.hget(key, field) or b"")  # type: ignore[arg-type]
        for field, keys in (
            ("spec", (f"perceptron:job:{IDS['succeeded']}", f"perceptron:job:{job_id}")),
            ("description", ("perceptron:model:or:version:1", "perceptron:model:new:version:1")),
        )
        for key in keys
    )
    assert set(old_spec) <= set(spec)
    assert set(old_description) <= set(new_description)
    # It reads no null here, which means "by a rule without a unit"; absent, it takes its own default.
    assert set(old_spec["training"]) - set(spec["training"]) == {"tolerance"}
    assert jobs.get(job_id).spec.training.tolerance is None
    for name, value in spec["training"].items():
        if name in old_spec["training"] and name not in ("batch_size", "initialization"):
            assert value is not None, name
