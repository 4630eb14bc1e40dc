"""A real Prometheus on the real service: every alert fires once, and every query of the dashboard returns data.

`./run alerts`. It takes a minute, so `./run test` leaves it out. Times in the rules are shortened in a copy; the
service is as it is shipped, and each alert is provoked by what it is about.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage import keys
from storage.jobs.record import SilentAttempt
from tests.builders import claimed, publish, publish_layers
from tests.end_to_end.test_metrics import DIVERGING, OR, ROWS
from tests.faults.rig import Rig, children_of, repeated, running_rig, send, wait_for
from tests.free_port import free_port
from tests.test_prometheus import GRAFANA, PROMETHEUS, RULES, metrics_in

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (apt install prometheus)")

SHORTER = ((r"\[5m\]", "[5s]"), (r"\[15m\]", "[10s]"), (r"\bfor: \d+m\b", "for: 1s"))
WITHIN_S = 40.0


class Prometheus:
    """A running Prometheus."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        rules = (PROMETHEUS / "alerts.yml").read_text()
        for pattern, short in SHORTER:
            rules = re.sub(pattern, short, rules)
        config = (PROMETHEUS / "prometheus.yml").read_text().replace("15s", "200ms").replace("127.0.0.1:8000", target)
        assert "200ms" in config and target in config and not re.search(r"\d+m\b", re.sub(r"#.*", "", rules))
        (folder / "alerts.yml").write_text(rules)
        (folder / "prometheus.yml").write_text(config)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._http = httpx.Client(base_url=self.url, timeout=10)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._is_ready)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples.

        Raises:
            AssertionError: it is no valid query.
        """
        answer = self._http.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        return list(answer["data"]["result"])

    def firing(self) -> set[str]:
        return {sample["metric"]["alertname"] for sample in self.query('ALERTS{alertstate="firing"}')}

    def names(self) -> set[str]:
        return set(self._http.get("/api/v1/label/__name__/values").json()["data"])

    def stop(self) -> None:
        self._http.close()
        self.process.terminate()
        self.process.wait(30)

    def _is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return self._http.get("/-/ready").status_code == 200
        return False


@contextmanager
def again_and_again(request: Callable[[], object], every_s: float = 0.1) -> Iterator[None]:
    """Send a request all the time, whether it succeeds or not."""

    def send_it() -> None:
        with suppress(httpx.HTTPError):
            request()

    with repeated(send_it, every_s):
        yield


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with running_rig(tmp_path, n_workers=0, api_processes=1) as rig:
        yield rig


@pytest.fixture
def http(rig: Rig) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        yield http


@pytest.fixture
def prometheus(rig: Rig, tmp_path: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path / "prometheus", rig.url.removeprefix("http://"))
    yield prometheus
    prometheus.stop()


def test_every_alert_fires(rig: Rig, http: httpx.Client, prometheus: Prometheus) -> None:
    fired: set[str] = set()

    def wait_until_fires(*names: str) -> None:
        missing = set(names)
        deadline = time.monotonic() + WITHIN_S
        while missing:
            assert time.monotonic() < deadline, f"{missing} did not fire, {prometheus.firing()} did"
            firing = prometheus.firing()
            fired.update(firing)
            missing -= firing
            time.sleep(0.1)

    publish(rig.jobs, "or")
    wait_for(lambda: prometheus.query("perceptron_ready == 1"))

    # Nobody works: a job waits, since 1970 if its record were right.
    job = http.post("/jobs", json=OR).json()
    rig.redis.zadd(keys.jobs_with_status("queued"), {job["id"]: 1000})
    wait_until_fires("NoWorkers", "QueueStuck")

    # No worker has the settings of webhooks, so nobody tells the end of a job.
    seconds, _ = rig.redis.time()  # type: ignore[misc]
    rig.redis.zadd(keys.WEBHOOK_OUTBOX, {job["id"]: 1000 * (seconds - 200)})
    wait_until_fires("WebhooksLate")
    rig.redis.delete(keys.WEBHOOK_OUTBOX)

    rig.start_worker(is_awaited=True)
    for _ in range(2):
        made = http.post("/jobs", json=DIVERGING).json()
        wait_for(lambda made=made: http.get(f"/jobs/{made['id']}").json()["done"])
    wait_until_fires("JobsFailing")
    wait_for(lambda: not prometheus.firing() & {"NoWorkers", "QueueStuck"})

    rig.workers[0].terminate()
    rig.workers[0].wait(30)
    for _ in range(4):  # as the reconciler does it eight seconds after the last heartbeat
        attempt = claimed(rig.jobs)
        heartbeat = int(rig.redis.hget(keys.job(attempt.job.id), "heartbeat_at_ms") or 0)  # type: ignore[arg-type]
        rig.jobs.end_dead_attempt(SilentAttempt(attempt.job.id, 1, heartbeat), max_attempts=3, counts=True)
        time.sleep(1.1)  # Redis is read once a second
    wait_until_fires("AttemptsDying")

    rig.redis.delete(keys.job(job["id"]))
    rig.redis.set(keys.job(job["id"]), "damaged")
    assert http.get(f"/jobs/{job['id']}").status_code == 503
    wait_until_fires("StoreDamaged")
    rig.redis.delete(keys.job(job["id"]))

    used = int(rig.redis.info("memory")["used_memory"])  # type: ignore[index]
    rig.redis.config_set("maxmemory", int(used * 1.1))
    wait_until_fires("RedisMemoryHigh")
    rig.redis.config_set("maxmemory", 0)

    publish_layers(rig.jobs, "wide", widths=(2, 512, 512, 1))
    many = {"model": "wide", "instances": [[0.5, 0.25]] * 35_000}
    with again_and_again(lambda: http.post("/predict", json=many)):
        wait_until_fires("SlowPredictions")

    assert rig.api is not None
    (serving,) = children_of(rig.api.pid)

    def freeze() -> None:
        send(serving, signal.SIGSTOP)
        time.sleep(0.3)
        send(serving, signal.SIGCONT)

    with again_and_again(freeze, 0.5):
        wait_until_fires("EventLoopLag")

    assert http.post("/predict", json=ROWS).status_code == 200
    wait_for(lambda: not prometheus.firing() & {"RedisDown", "ReadinessFailing", "HighErrorRate", "StaleAnswers"})
    rig.server.kill()
    with again_and_again(lambda: http.post("/predict", json=ROWS)), again_and_again(lambda: http.get("/jobs")):
        wait_until_fires("RedisDown", "ReadinessFailing", "HighErrorRate", "StaleAnswers")
    rig.server.start()
    wait_for(lambda: not prometheus.firing() & {"RedisDown", "ReadinessFailing"})

    for pid in (serving, rig.api.pid):
        os.kill(pid, signal.SIGKILL)
    rig.api.wait()
    wait_until_fires("ServiceDown")
    assert fired == {rule["alert"] for rule in RULES}


def test_every_query_of_the_dashboard_returns_data(rig: Rig, http: httpx.Client, prometheus: Prometheus) -> None:
    rig.start_worker(is_awaited=True)
    panels = json.loads((GRAFANA / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 40
    empty = set(queries)
    with again_and_again(lambda: (http.post("/jobs", json=OR), http.post("/predict", json=ROWS)), 0.3):
        deadline = time.monotonic() + WITHIN_S
        while empty:
            assert time.monotonic() < deadline, empty
            empty -= {each for each in empty if prometheus.query(each.replace("$__rate_interval", "5s"))}
            time.sleep(0.3)
    alerts = [rule["expr"] for rule in RULES]
    assert {name for query in (*queries, *alerts) for name in metrics_in(query)} <= prometheus.names()
