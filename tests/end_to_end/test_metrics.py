"""`/metrics` of the API as it is shipped: several processes, training workers, and the table in the documentation."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api_process import running_api
from tests.builders import OR_FEATURES, OR_TARGETS, publish
from tests.documented_metrics import documented
from tests.faults.rig import Rig, children_of, running_rig, wait_for

OR = {"model": "or", "data": {"features": OR_FEATURES, "targets": OR_TARGETS}}
DIVERGING = {
    "model": "far",
    "data": {"features": [[1e6], [2e6], [3e6]], "targets": [10.0, 20.0, 30.0]},
    "training": {"learning_rate": 10.0, "standardize": False},
}
ROWS = {"model": "or", "instances": [[0, 0], [1, 1]]}


def scraped(http: httpx.Client) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by the name of the sample and its labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def total(http: httpx.Client, name: str, **labels: str) -> float:
    return sum(value for at, value in scraped(http).get(name, {}).items() if labels.items() <= dict(at).items())


def ask_each_on_its_own_connection(url: str, n: int, ask: Callable[[httpx.Client], object]) -> None:
    """Let all processes get some of the requests."""
    for _ in range(n):
        with httpx.Client(base_url=url, timeout=30) as http:
            ask(http)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_rig(tmp_path_factory.mktemp("metrics"), n_workers=1, api_processes=2) as rig:
        wait_for(lambda: rig.queue.n_workers() == 1)
        yield rig


@pytest.fixture(scope="module")
def http(rig: Rig) -> Iterator[httpx.Client]:
    """After traffic of each kind."""
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        for job in (OR, DIVERGING):
            made = http.post("/jobs", json=job).json()
            wait_for(lambda made=made: http.get(f"/jobs/{made['id']}", headers={"Prefer": "wait=20"}).json()["done"])
        assert http.post("/predict", json=ROWS).status_code == 200
        for path in ("/jobs", "/nowhere", "/livez"):
            http.get(path)
        yield http


def test_a_scrape_after_traffic_of_each_kind_shows_what_the_documentation_lists(http: httpx.Client) -> None:
    found = scraped(http)
    shown: dict[str, set[str]] = {}
    for name, samples in found.items():
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        shown.setdefault(base, set()).update(*({label for label, _ in labels} - {"le"} for labels in samples))
    assert shown == documented()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (apt install prometheus)")
def test_promtool_finds_nothing_wrong_with_the_metrics(http: httpx.Client) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=http.get("/metrics").content, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_the_worker_did_is_there(http: httpx.Client) -> None:
    time.sleep(1.0)  # the second job may have ended after the last look
    found = scraped(http)
    worker = dict(next(iter(found["rq_workers"])))
    assert worker["queues"] == "training" and worker["state"] in ("busy", "idle")
    of_worker = (("name", worker["name"]), ("queues", "training"))
    assert found["rq_workers_success_total"][of_worker] == found["rq_workers_failed_total"][of_worker] == 1
    assert 0 < found["rq_workers_working_time_total"][of_worker] < 30
    ended = {dict(labels)["status"]: n for labels, n in found["perceptron_jobs_ended_total"].items()}
    assert ended == {"succeeded": 1, "failed": 1, "cancelled": 0}
    assert found["perceptron_epochs_total"][()] >= 1
    assert found["perceptron_attempts_started_total"] == found["perceptron_jobs_submitted_total"] == {(): 2}


def test_any_process_shows_what_all_have_counted_and_the_path_is_no_label(rig: Rig, http: httpx.Client) -> None:
    before = total(http, "perceptron_predictions_total", model="or", version="1", protocol="native")
    unknown = total(http, "perceptron_http_requests_total", route="unknown")
    ask_each_on_its_own_connection(rig.url, 30, lambda each: each.post("/predict", json=ROWS))
    ask_each_on_its_own_connection(rig.url, 3, lambda each: each.get(f"/secret{time.time()}"))
    time.sleep(1.5)  # another process pours once a second
    assert total(http, "perceptron_predictions_total", model="or", version="1", protocol="native") == before + 30
    assert total(http, "perceptron_http_requests_total", route="unknown") == unknown + 3
    assert total(http, "perceptron_processes") == 2
    assert "secret" not in http.get("/metrics").text


def test_requests_are_counted_once_whichever_way_they_go(rig: Rig, http: httpx.Client) -> None:
    """The event loop answers the first one, a thread the second, Flask the third, and nobody the others."""

    def counts() -> dict[str, float]:
        found = scraped(http)["perceptron_http_requests_total"]
        return {dict(at)["code"]: n for at, n in found.items() if dict(at)["route"] == "/predict"}

    time.sleep(1.5)
    before = counts()
    http.post("/predict", json=ROWS)
    http.post("/predict", json={"model": "or", "instances": [[0, 0]] * 20_000})
    http.post("/predict", json=ROWS, headers={"Accept": "application/json", "Origin": str(http.base_url).rstrip("/")})
    http.post("/predict", content=b"")  # 411 by the shell or Flask
    http.get("/predict")  # 405
    time.sleep(1.5)
    after = counts()
    more = {code: n - before.get(code, 0) for code, n in after.items() if n != before.get(code, 0)}
    assert sum(more.values()) == 5
    assert more["200"] == 3 and more["405"] == 1


@pytest.mark.parametrize("how", ["a killed process", "a reload"])
def test_counters_do_not_go_back_when_processes_are_replaced(rig: Rig, http: httpx.Client, how: str) -> None:
    names = ("perceptron_http_requests_total", "perceptron_predict_duration_seconds_count", "perceptron_alarms_total")
    assert rig.api is not None
    time.sleep(1.2)  # what a killed process counted in its last second is lost
    with httpx.Client(base_url=rig.url, timeout=30) as first:
        before = {name: total(first, name) for name in names}
    old = set(children_of(rig.api.pid))
    os.kill(min(old), signal.SIGKILL) if how == "a killed process" else os.kill(rig.api.pid, signal.SIGHUP)
    gone = {min(old)} if how == "a killed process" else old
    seen = dict(before)
    deadline = time.monotonic() + 30
    while gone & set(children_of(rig.api.pid)) or len(children_of(rig.api.pid)) < 2:
        assert time.monotonic() < deadline
        with httpx.Client(base_url=rig.url, timeout=30) as each:
            try:
                found = {name: total(each, name) for name in names}
            except httpx.TransportError:
                continue
        assert all(found[name] >= seen[name] for name in names), (found, seen)
        seen = found
    wait_for(rig.is_ready)
    with httpx.Client(base_url=rig.url, timeout=30) as last:
        assert all(total(last, name) >= seen[name] for name in names)
        wait_for(lambda: total(last, "perceptron_processes") == 2, 5)


def test_while_redis_hangs_a_scrape_takes_less_than_two_seconds(rig: Rig, http: httpx.Client) -> None:
    pid = rig.server.pid
    time.sleep(1.1)  # what the last scrape read counts no longer
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(4):
            started = time.monotonic()
            found = scraped(http)
            assert time.monotonic() - started < 2.0
            assert found["perceptron_redis_up"] == found["perceptron_ready"] == {(): 0}
            assert "perceptron_jobs" not in found and "perceptron_predictions_total" in found
            time.sleep(0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: total(http, "perceptron_redis_up") == 1, 10)


def test_beyond_the_limit_versions_are_other(tmp_path: Path) -> None:
    with running_api(tmp_path, METRICS_VERSIONS="1") as api:
        for model in ("first", "second", "third"):
            publish(api.jobs, model)
            assert api.http.post("/predict", json={"model": model, "instances": [[1, 1]]}).status_code == 200
        found = scraped(api.http)["perceptron_predictions_total"]
        counts = {(dict(at)["model"], dict(at)["version"]): n for at, n in found.items()}
        assert counts == {("first", "1"): 1, ("other", "other"): 2}
        folder = Path(os.environ.get("TMPDIR", "/tmp"))
        name = f"counter_{children_of(api.process.pid)[0]}.db"
        (of_api,) = {
            file.parent for each in ("/dev/shm", folder) for file in Path(each).glob(f"perceptron-metrics-*/{name}")
        }
    assert not of_api.exists()
