"""B12, B13: how often Redis is asked, and how much it sends, for a request of each kind."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis, UnixDomainSocketConnection

from service.app import create_app
from service.settings import Limits
from storage import keys
from storage.blobs import BlobStore
from storage.codec import encode_names
from storage.jobs.attempt import Attempt
from storage.jobs.reports import Figures, LeaderboardEntry
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import RESULT, claimed, description, loaded_models, publish
from worker.deadline import Deadline
from worker.training import run_training

N_FEATURES = 20_000
NAMES = [f"feature {k} with a name of some length" for k in range(N_FEATURES)]
NAMES_BYTES = len(json.dumps(NAMES))


class Traffic:
    """What a process and Redis send one another."""

    n_sent = 0
    """Round trips: a pipeline or a transaction is one."""
    n_bytes = 0

    def of(self, ask: Callable[[], Any]) -> tuple[Any, int, int]:
        """Return the answer, and the round trips and the bytes received that it took."""
        self.n_sent = self.n_bytes = 0
        return ask(), self.n_sent, self.n_bytes


@pytest.fixture
def traffic(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    traffic = Traffic()
    send, read = UnixDomainSocketConnection.send_packed_command, UnixDomainSocketConnection.read_response

    def size(answer: Any) -> int:
        if isinstance(answer, dict):
            return sum(map(size, (*answer, *answer.values())))
        if isinstance(answer, list | tuple):
            return sum(map(size, answer))
        return len(answer) if isinstance(answer, bytes) else 8

    def counted_send(connection: Any, command: Any, check_health: bool = True) -> None:
        traffic.n_sent += 1
        send(connection, command, check_health)

    def counted_read(connection: Any, *args: Any, **options: Any) -> Any:
        answer = read(connection, *args, **options)
        traffic.n_bytes += size(answer)
        return answer

    monkeypatch.setattr(UnixDomainSocketConnection, "send_packed_command", counted_send)
    monkeypatch.setattr(UnixDomainSocketConnection, "read_response", counted_read)
    yield traffic


def test_no_request_about_a_model_takes_more_round_trips_for_more_versions(
    redis: Redis, blobs: BlobStore, jobs: JobStore, models: ModelStore, traffic: Traffic
) -> None:
    """B12. On 15a4f66 `GET /models/{name}` and each change of an alias took one for each version."""
    http = create_app(redis, blobs, Limits(), check_store=lambda: None).test_client()  # that asks once a second

    def requests() -> dict[str, int]:
        loaded = loaded_models(models)
        asks: dict[str, Callable[[], Any]] = {
            "show": lambda: http.get("/models/or"),
            "list": lambda: http.get("/models"),
            "version": lambda: http.get("/models/or/versions/1"),
            "alias": lambda: http.put("/models/or/aliases/a", json={"version": 1}),
            "pointers": lambda: loaded.pointers.read(["or"]),
            "delete alias": lambda: http.delete("/models/or/aliases/a"),
        }
        # The fewest of three: on a slow machine a connection may be checked in between.
        rounds = [{name: traffic.of(ask)[1] for name, ask in asks.items()} for _ in range(3)]
        return {name: min(each[name] for each in rounds) for name in asks}

    publish(jobs)
    requests()  # the scripts are loaded
    with_one = requests()
    for _ in range(30):
        publish(jobs)
    assert requests() == with_one
    assert with_one == {"show": 2, "list": 2, "version": 3, "alias": 3, "pointers": 1, "delete alias": 1}


@pytest.fixture
def http_for_wide_jobs(redis: Redis, blobs: BlobStore) -> FlaskClient:
    return create_app(redis, blobs, Limits()).test_client()


def wide_job(http: FlaskClient, jobs: JobStore) -> Attempt:
    data = {"features": [[float((k + r) % 3) for k in range(N_FEATURES)] for r in range(2)], "targets": [0, 1]}
    body = {"model": "wide", "data": {**data, "feature_names": NAMES}, "training": {"max_epochs": 1}}
    answer = http.post("/jobs", json=body)
    assert answer.status_code == 202, answer.text
    attempt = jobs.claim(answer.get_json()["id"])
    assert attempt is not None
    return attempt


def test_long_names_of_features_are_stored_once_and_lists_do_not_read_them(
    http_for_wide_jobs: FlaskClient,
    redis: Redis,
    jobs: JobStore,
    models: ModelStore,
    blobs: BlobStore,
    traffic: Traffic,
) -> None:
    """B13. On 15a4f66 they were in every record and description, and each list read all of them."""
    http = http_for_wide_jobs
    first, second = wide_job(http, jobs), wide_job(http, jobs)
    assert first.job.spec.data.blob == second.job.spec.data.blob
    assert redis.hstrlen(keys.job(first.job.id), "short_spec") < 5_000
    number = run_training(first, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    names = NAMES
    version = http.get(f"/models/wide/versions/{number}").get_json()
    assert version["feature_names"] == names
    assert len(redis.hget(keys.version("wide", number), "description") or b"") < 5_000
    assert redis.hstrlen(keys.version("wide", number), "feature_names") <= NAMES_BYTES
    for path in ("/jobs", "/jobs?model=wide", "/jobs?model=nobody", "/models", "/models/wide"):
        answer, _, n_bytes = traffic.of(lambda path=path: http.get(path))
        assert answer.status_code == 200
        assert n_bytes < 20_000, path
    assert http.get(f"/jobs/{first.job.id}").get_json()["config"]["feature_names"] is None

    def predict(instance: Any, **which: Any) -> Any:
        return http.post("/predict", json={"model": "wide", "instances": [instance], **which}).get_json()

    by_name = dict.fromkeys(names, 1.0)
    assert predict(by_name)["outputs"] == predict([1.0] * N_FEATURES)["outputs"]
    started = http.post(
        "/jobs",
        json={
            "model": "next",
            "data": {"features": [[0.0] * N_FEATURES, [1.0] * N_FEATURES], "targets": [0, 1], "feature_names": names},
            "start_from": {"model": "wide"},
            "training": {"max_epochs": 1},
        },
    )
    attempt = jobs.claim(started.get_json()["id"])
    assert attempt is not None
    run_training(attempt, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    assert http.get("/models/next/versions/1").get_json()["feature_names"] == names
    assert models.get("wide").digests == {number: models.get_version("wide", number).digest}
    redis.hset(keys.version("wide", number), "feature_names", encode_names(names[::-1]))
    assert http.get(f"/models/wide/versions/{number}").status_code == 503


def test_the_best_network_so_far_carries_long_names_once(
    http_for_wide_jobs: FlaskClient, redis: Redis, jobs: JobStore, models: ModelStore, blobs: BlobStore
) -> None:
    attempt = wide_job(http_for_wide_jobs, jobs)
    sent: list[int] = []
    show, publish_ = attempt.show_best, attempt.publish
    weights: list[bytes] = []

    def note(script: str, *args: Any, **options: Any) -> int:
        sent.append(len(args[2])) if script == "show_best" else None
        return step(script, *args, **options)

    step, attempt._step = attempt._step, note  # type: ignore[method-assign]

    def keep(encoded: bytes, described: Any, result: Any) -> int:
        weights.append(encoded)
        show(encoded, Figures(1, 0.5, None))
        show(encoded, Figures(2, 0.4, None))
        answer = http_for_wide_jobs.post(
            "/predict", json={"job": attempt.job.id, "instances": [dict.fromkeys(NAMES, 1.0)]}
        )
        assert answer.get_json()["epoch"] == 2
        return publish_(encoded, described, result)

    attempt.publish = keep  # type: ignore[method-assign]
    run_training(attempt, models=models, blobs=blobs, deadline=Deadline(), stop_requested=lambda: False)
    assert [n > 0 for n in sent] == [True, False]


def test_a_list_of_jobs_does_not_read_leaderboards(http: FlaskClient, jobs: JobStore, traffic: Traffic) -> None:
    entry = LeaderboardEntry(1, 0, 0.1, 0.0, 0, 0.25, 0.25, 10, 10, "converged")
    leaderboard = tuple(replace(entry, rank=k + 1, candidate=k) for k in range(4_096))
    attempt = claimed(jobs)
    attempt.publish(b"w", description(attempt), replace(RESULT, leaderboard=leaderboard))
    listed, _, n_bytes = traffic.of(lambda: http.get("/jobs"))
    assert listed.get_json()["data"][0]["result"]["leaderboard"] is None
    assert n_bytes < 10_000
    assert len(http.get(f"/jobs/{attempt.job.id}").get_json()["result"]["leaderboard"]) == 4_096
