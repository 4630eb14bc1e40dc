"""A Redis that comes back without the last version: after a failover to a replica, or from an older backup."""

import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from standalone import EmbeddedServer
from storage.connection import connect
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import publish
from tests.faults.proxy import Proxy
from tests.faults.rig import Rig, wait_for
from tests.free_port import free_port

X = [0.25, 0.5]
OLD, NEW = 1.0, -5.0


class Predictions(threading.Thread):
    """Predicts without a pause, and keeps what was answered, and when."""

    def __init__(self, http: httpx.Client) -> None:
        super().__init__(daemon=True)
        self._http = http
        self._is_over = threading.Event()
        self.answers: list[tuple[float, int, bool, float]] = []
        """When it was asked for, version, whether stale, output."""

    def run(self) -> None:
        while not self._is_over.is_set():
            asked_at = time.monotonic()
            for which in ({}, {"version": 2}):
                answer = self._http.post("/predict", json={"model": "or", "instances": [X], **which})
                if answer.status_code == 200:
                    given = answer.json()
                    output = given["outputs"][0][0]
                    self.answers.append((asked_at, given["version"], given.get("stale", False), output))

    def stop(self) -> None:
        self._is_over.set()
        self.join()


def output(weight: float) -> float:
    return 1 / (1 + math.exp(-weight * sum(X)))


@pytest.mark.parametrize("fault", ["failover", "backup"])
def test_a_version_number_that_comes_again_names_the_new_network(
    start_rig: Callable[..., Rig], tmp_path: Path, fault: str, times: int
) -> None:
    """R29. On 15a4f66 an API that was cut off meanwhile went on with the old network as version 2, unmarked."""
    rig = start_rig(n_workers=0, api_processes=0)
    proxy = Proxy(rig.server.socket)
    replica = EmbeddedServer(tmp_path / "replica")
    with proxy, rig.other_api(REDIS_URL=f"redis://127.0.0.1:{proxy.port}") as http:
        wait_for(lambda: http.get("/readyz").status_code == 200)
        publish(rig.jobs, weight=0.0)
        if fault == "failover":
            port = free_port()
            rig.redis.config_set("port", port)
            replica.start()
            other = connect(replica.url, timeout_s=5, n_retries=1)
            other.replicaof("127.0.0.1", port)
            wait_for(lambda: other.info("replication").get("master_link_status") == "up")
            other.replicaof("NO", "ONE")  # it gets nothing from now on
        else:
            shutil.copytree(rig.server.directory / "appendonlydir", tmp_path / "backup")
        publish(rig.jobs, weight=OLD)
        predictions = Predictions(http)
        predictions.start()
        wait_for(lambda: predictions.answers and predictions.answers[-1][1] == 2)
        proxy.cut()
        jobs = rig.jobs
        if fault == "failover":
            proxy.target = replica.socket
            jobs = JobStore(other, TrainingQueue(other))
        else:
            rig.server.kill()
            shutil.rmtree(rig.server.directory / "appendonlydir")
            shutil.copytree(tmp_path / "backup", rig.server.directory / "appendonlydir")
            rig.server.start()
            proxy.target = rig.server.socket
        assert publish(jobs, weight=NEW) == 2
        published_at = time.monotonic()
        proxy.open()
        wait_for(lambda: any(math.isclose(given, output(NEW)) for *_, given in predictions.answers), 10)
        time.sleep(times)
        predictions.stop()
    replica.stop()
    later = [answer for answer in predictions.answers if answer[0] > published_at]
    unmarked = [answer for answer in later if not answer[2]]
    assert [answer for answer in unmarked if answer[1] == 2 and not math.isclose(answer[3], output(NEW))] == []
    assert len(unmarked) > 20
