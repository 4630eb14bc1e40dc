"""`/metrics` of the Flask app: what a scrape shows, also while Redis is away or damaged."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from service.app import METRICS, create_app
from service.observe.metrics.process_metrics import as_route
from service.server.routing import route_finder
from service.settings import Limits
from storage import keys
from storage.blobs import BlobStore
from storage.connection import connect
from storage.jobs.store import JobStore
from tests.builders import OR_FEATURES, OR_TARGETS, training_spec

OR = {"model": "or", "data": {"features": OR_FEATURES, "targets": OR_TARGETS}}


def scraped(http: FlaskClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by name, and by the values of the labels in the order of their names."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_predictions_are_counted_by_model_version_and_protocol(http: FlaskClient, train: Callable[..., Any]) -> None:
    train(OR)
    http.post("/predict", json={"model": "or", "instances": [[0, 0], [1, 1], [0, 1]]})
    http.post("/predict", json={"model": "or", "instances": [[0, 0]]})
    http.post("/predict", json={"model": "or", "instances": [[0]]})  # 422
    http.post("/predict", json={"model": "nobody", "instances": [[0]]})  # 404: its name is no label
    http.post("/v1/models/or:predict", json={"instances": [[0, 0], [1, 1]]})
    found = scraped(http)
    assert found["perceptron_predictions_total"] == {("or", "native", "1"): 2, ("or", "tensorflow", "1"): 1}
    assert found["perceptron_prediction_rows_total"] == {("or", "native", "1"): 4, ("or", "tensorflow", "1"): 2}
    assert found["perceptron_predict_duration_seconds_count"] == {("native",): 2, ("tensorflow",): 1}
    assert found["perceptron_http_requests_total"] == {
        ("200", "POST", "/predict"): 2,
        ("422", "POST", "/predict"): 1,
        ("404", "POST", "/predict"): 1,
        ("200", "POST", "/v1/models/{name}:predict"): 1,
    }
    assert found["perceptron_version_cache_misses_total"] == {(): 1}
    assert found["perceptron_version_cache_versions"] == {(): 1}


def test_only_a_successful_predict_that_had_to_load_its_version_is_a_miss(
    http: FlaskClient, redis: Redis, train: Callable[..., Any]
) -> None:
    for model in ("described", "compared", "damaged", "or"):
        train({**OR, "model": model})
    redis.hset(keys.version("damaged", 1), "weights", b"junk")
    assert http.get("/v2/models/described").status_code == 200  # loads it
    http.post("/predict", json={"model": "damaged", "instances": [[0, 0]]})  # 503
    http.post("/predict", json={"model": "or", "instances": [[0]]})  # 422, and loads it
    http.post("/predict", json={"model": "nobody", "instances": [[0]]})  # 404
    for _ in range(3):
        http.post("/predict", json={"model": "described", "instances": [[0, 0]]})
    assert scraped(http)["perceptron_version_cache_misses_total"] == {(): 0}
    http.post("/predict", json={"model": "compared", "instances": [[0, 0]], "versions": [1]})
    http.post("/predict", json={"model": "compared", "instances": [[0, 0]]})
    found = scraped(http)
    assert found["perceptron_version_cache_misses_total"] == {(): 1}
    assert sum(found["perceptron_predictions_total"].values()) == 5


def test_a_scrape_adds_only_what_has_come_since_the_one_before(http: FlaskClient, train: Callable[..., Any]) -> None:
    train(OR)
    for n in range(1, 20):  # so many that some of them take equally long
        http.post("/predict", json={"model": "or", "instances": [[0, 0]] * 2})
        for _ in range(2):
            found = scraped(http)
            assert found["perceptron_predictions_total"] == {("or", "native", "1"): n}
            assert found["perceptron_prediction_rows_total"] == {("or", "native", "1"): 2 * n}
            assert found["perceptron_http_request_duration_seconds_count"] == {("POST", "/predict"): n}
            assert found["perceptron_http_request_duration_seconds_bucket"][("+Inf", "POST", "/predict")] == n


def test_a_job_is_counted_in_each_of_its_states(http: FlaskClient, train: Callable[..., Any]) -> None:
    train(OR)
    http.post("/jobs", json=OR)
    found = scraped(http)
    assert found["perceptron_jobs"] == {
        ("queued",): 1, ("running",): 0, ("succeeded",): 1, ("failed",): 0, ("cancelled",): 0,
    }  # fmt: skip
    assert found["perceptron_jobs_submitted_total"] == {(): 2}
    assert found["perceptron_jobs_ended_total"] == {("succeeded",): 1, ("failed",): 0, ("cancelled",): 0}
    assert found["rq_jobs"][("training", "finished")] == 1
    assert found["perceptron_ready"] == found["perceptron_redis_up"] == {(): 1}
    assert 0 <= found["perceptron_queue_oldest_age_seconds"][()] < 10


def test_the_limit_of_running_jobs_says_how_many_may_run_and_webhooks_are_counted_from_zero(
    redis: Redis, jobs: JobStore, blobs: BlobStore
) -> None:
    for _ in range(5):
        jobs.submit("acme/or", training_spec(), metadata={})
    limits = Limits.from_env({"MAX_TENANT_RUNNING_JOBS": "2"})
    found = scraped(create_app(redis, blobs, limits).test_client())
    assert found["perceptron_jobs_runnable"] == {(): 2}
    assert found["perceptron_queue_entries"] == found["perceptron_jobs_submitted_total"] == {(): 5}
    assert found["perceptron_webhook_deliveries_total"] == {
        (outcome,): 0 for outcome in ("delivered", "retried", "refused", "gave_up")
    }
    assert scraped(create_app(redis, blobs, Limits()).test_client())["perceptron_jobs_runnable"] == {(): 5}


def test_redis_is_read_once_a_second(http: FlaskClient) -> None:
    before = scraped(http)["perceptron_jobs"]
    http.post("/jobs", json=OR)
    assert scraped(http)["perceptron_jobs"] == before
    time.sleep(1.1)
    assert scraped(http)["perceptron_jobs"][("queued",)] == 1


def test_without_redis_the_metrics_of_the_process_are_served_all_the_same(blobs: BlobStore, tmp_path: Path) -> None:
    nobody = connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, n_retries=0)
    found = scraped(create_app(nobody, blobs, Limits()).test_client())
    assert found["perceptron_redis_up"] == found["perceptron_ready"] == {(): 0}
    assert found["perceptron_redis_breaker_open"] == {(): 0}  # as it was before this scrape looked
    assert "perceptron_jobs" not in found and "rq_workers" not in found
    assert found["perceptron_process_cpu_seconds_total"][()] > 0


@pytest.mark.serial
def test_a_silent_redis_delays_a_scrape_by_less_than_two_seconds(blobs: BlobStore, tmp_path: Path) -> None:
    path = str(tmp_path / "silent.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen()
        http = create_app(connect(f"unix://{path}", timeout_s=1.6, n_retries=0), blobs, Limits()).test_client()
        started = time.monotonic()
        assert scraped(http)["perceptron_redis_up"] == {(): 0}
        assert time.monotonic() - started < 2.0


def test_damaged_keys_leave_gaps_and_no_error(http: FlaskClient, redis: Redis) -> None:
    redis.set(keys.COUNTERS, "x")
    redis.set("rq:workers:training", "x")
    found = scraped(http)
    assert found["perceptron_redis_up"] == {(): 1}
    assert not {"perceptron_jobs_ended_total", "perceptron_workers", "rq_workers"} & found.keys()
    assert "perceptron_jobs" in found


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("image/png", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=x.y", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=0.0.1.2;escaping=no", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text; version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
    ],
)
def test_no_accept_header_makes_a_scrape_fail(http: FlaskClient, accept: str, media_type: str) -> None:
    answer = http.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    if "openmetrics" in answer.content_type:
        assert list(parse_openmetrics(answer.text))
    assert answer.content_type == media_type


@pytest.mark.parametrize("content", [b"", b"\x7f" * 64], ids=["empty", "nonsense"])
def test_files_that_somebody_damaged_leave_the_metrics_of_this_process(
    http: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "counter_1.db").write_bytes(content)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert scraped(http)["perceptron_processes"] == {(): 1}
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "removed"))
    assert scraped(http)["perceptron_processes"] == {(): 1}


def test_a_route_is_the_rule_and_never_the_path(http: FlaskClient) -> None:
    find_route = route_finder(http.application.url_map)
    routes = {
        (method, path): as_route(find_route(method, path).shown)
        for method, path in (
            ("GET", "/jobs/job_1"),
            ("POST", "/jobs/job_1/cancel"),
            ("BREW", "/jobs"),
            ("PUT", "/models/a/aliases/b"),
            ("GET", "/secret/path?x"),
            ("GET", "//jobs"),
            ("GET", "/\u2603"),
            ("HEAD", "/metrics"),
        )
    }
    assert list(routes.values()) == [
        "/jobs/{job_id}", "/jobs/{job_id}/cancel", "/jobs", "/models/{name}/aliases/{alias}", "unknown", "/jobs",
        "unknown", "/metrics",
    ]  # fmt: skip


def test_the_event_loop_is_looked_at_ten_times_a_second(http: FlaskClient) -> None:
    metrics = http.application.extensions[METRICS]

    async def hold_up() -> None:
        watching = asyncio.create_task(metrics.watch_loop())
        await asyncio.sleep(0.25)  # two looks on time
        time.sleep(0.3)  # the third is due within the next 0.1 s, and comes 0.25 s late or a little more
        await asyncio.sleep(0.01)
        watching.cancel()

    asyncio.run(hold_up())
    lag = metrics.traffic.loop_lag
    assert sum(lag.buckets) == 3
    assert 0.2e9 < lag.sum_ns < 0.4e9
