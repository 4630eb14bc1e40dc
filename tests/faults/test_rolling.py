"""Two API replicas behind the front of deploy/haproxy.cfg, restarted one after the other: a short form of R39."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from service.settings import stop_delay_s
from tests.builders import publish
from tests.faults.paced_load import N_CLIENTS, PacedLoad
from tests.faults.rig import ROOT, Process, Rig, children_of, send, wait_for
from tests.free_port import free_port

X = [0.25, 0.5]
STOP_DELAY_S = 2.0
FRONT_NOTICES_S = 2.0


@contextmanager
def front(*ports: int) -> Iterator[str]:
    """Run HAProxy before these replicas, and give its address."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed: apt install haproxy")
    address = f"127.0.0.1:{free_port()}"
    replicas = {f"API_{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    env = {**os.environ, "LISTEN": address, **replicas}
    process = subprocess.Popen([haproxy, "-q", "-f", str(ROOT / "deploy" / "haproxy.cfg")], env=env)
    try:
        wait_for(lambda: status_of(f"http://{address}/readyz") == 200)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def status_of(url: str) -> int | None:
    with suppress(httpx.TransportError):
        return httpx.get(url, verify=False).status_code
    return None


@pytest.mark.serial
def test_a_replica_that_is_told_to_stop_is_not_ready_and_goes_on_for_the_stop_delay(
    start_rig: Callable[..., Rig],
) -> None:
    rig = start_rig(n_workers=0, api_processes=1, STOP_DELAY_S=str(STOP_DELAY_S))
    assert rig.api is not None
    publish(rig.jobs)
    rig.api.terminate()
    told_at = time.monotonic()
    wait_for(lambda: status_of(f"{rig.url}/readyz") == 503, 1.0)
    n_answers = 0
    while time.monotonic() < told_at + STOP_DELAY_S - 0.5:  # each over a new connection
        for path in ("/readyz", "/v2/health/ready", "/ping", "/health"):
            assert status_of(rig.url + path) == 503, path
        assert status_of(f"{rig.url}/livez") == 200
        answer = httpx.post(f"{rig.url}/predict", json={"model": "or", "instances": [X]}, verify=False)
        assert answer.status_code == 200 and "connection" not in answer.headers
        n_answers += 1
    assert n_answers >= 2
    assert rig.api.wait(10) == 0


def test_a_reload_is_always_ready(start_rig: Callable[..., Rig]) -> None:
    rig = start_rig(n_workers=0, api_processes=1, STOP_DELAY_S=str(STOP_DELAY_S))
    assert rig.api is not None
    publish(rig.jobs)
    assert status_of(f"{rig.url}/readyz") == 200
    (old,) = children_of(rig.api.pid)
    rig.api.send_signal(signal.SIGHUP)
    while old in children_of(rig.api.pid):
        assert status_of(f"{rig.url}/livez") == 200
        # A new process may still be loading its models: it says so.
        readiness = httpx.get(f"{rig.url}/readyz")
        assert "stopping" not in readiness.text


@pytest.mark.long
@pytest.mark.serial
def test_replicas_restart_one_after_the_other_without_a_failed_request(
    start_rig: Callable[..., Rig], times: int
) -> None:
    """R39. The containers themselves, and an upgrade of the image: `./run container-test`."""
    rig = start_rig(n_workers=0, api_processes=1, STOP_DELAY_S=str(STOP_DELAY_S))
    publish(rig.jobs, alias="production")
    ports = rig.port, free_port()
    assert rig.api is not None
    replicas: list[Process] = [rig.api, rig.start_replica(ports[1])]

    def start_again(number: int) -> None:
        replicas[number] = rig.start_replica(ports[number])
        wait_for(lambda: status_of(f"http://127.0.0.1:{ports[number]}/readyz") == 200)
        time.sleep(FRONT_NOTICES_S)

    wait_for(lambda: status_of(f"http://127.0.0.1:{ports[1]}/readyz") == 200)
    question = {"model": "or", "alias": "production", "instances": [X]}
    answer = httpx.post(f"{rig.url}/predict", json=question).json()
    with front(*ports) as address, PacedLoad(address, question, answer) as load:
        time.sleep(FRONT_NOTICES_S)
        for _ in range(times):
            for number, replica in enumerate(replicas):
                replica.terminate()
                assert replica.wait(30) == 0
                start_again(number)
        assert load.failed == []
        for pid in (*children_of(replicas[0].pid), replicas[0].pid):
            send(pid, signal.SIGKILL)
        replicas[0].wait()
        start_again(0)
    print(load)
    # Each client may lose the request that the killed replica had under way.
    assert len(load.failed) <= N_CLIENTS
    assert len(load.seconds) > 2000
    assert max(load.seconds) < 3


def test_predictions_go_on_behind_the_front_while_redis_is_away(start_rig: Callable[..., Rig]) -> None:
    """No replica is ready then, and the front must not take that for a reason to refuse everything."""
    rig = start_rig(n_workers=0, api_processes=1)
    publish(rig.jobs, alias="production")
    question = {"model": "or", "alias": "production", "instances": [X]}
    answer = httpx.post(f"{rig.url}/predict", json=question).json()
    with front(rig.port, free_port()) as address, PacedLoad(address, question, answer, per_second=50) as load:
        time.sleep(1.5)
        rig.server.kill()
        wait_for(lambda: status_of(f"{rig.url}/readyz") == 503)
        time.sleep(2)
        assert status_of(f"http://{address}/readyz") == 503
    assert load.failed == []


def test_the_stop_delay_is_a_number_from_0_to_60() -> None:
    assert [stop_delay_s(env) for env in ({}, {"STOP_DELAY_S": ""}, {"STOP_DELAY_S": "2.5"})] == [0, 0, 2.5]
    for text in ("-1", "61", "soon", "nan"):
        with pytest.raises(ValueError, match=r"^STOP_DELAY_S must be a number from 0 to 60, not '"):
            stop_delay_s({"STOP_DELAY_S": text})
