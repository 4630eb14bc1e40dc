"""Data sets and what can happen to them: every process killed, a worker killed, a full disk, Redis away, S3."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.proxy import Proxy
from tests.faults.redis_host import Disk
from tests.faults.rig import Rig, children_of, send, wait_for
from tests.files import files_below
from tests.s3_server import BUCKET, KEYS, S3Server, skip_without_s3
from tests.stack import Stack

AS_CSV = {"Content-Type": "text/csv"}
HEAD = b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
LONG: dict[str, Any] = {"optimizer": "gradient_descent", "learning_rate": 1e-6, "max_epochs": 1_000_000, "tolerance": 0}


def a_table(number: int = 0, n_rows: int = 50) -> bytes:
    rows = (f"{k % 7},{'abc'[k % 3]},{k % 2},{number}\n" for k in range(n_rows))
    return f"a,c,y,n\n{''.join(rows)}".encode()


def uploaded(http: httpx.Client, content: bytes) -> dict[str, Any]:
    return dict(http.post("/datasets", content=content, headers=AS_CSV).raise_for_status().json())


def on_its_way(folder: Path) -> list[Path]:
    return files_below(folder / "blobs" / "uploads")


@pytest.mark.long
def test_a_data_set_and_its_jobs_survive_the_loss_of_every_process(start_rig: Callable[..., Rig], times: int) -> None:
    """R7."""
    rig = start_rig(n_workers=1, api_processes=1)
    for number in range(times // 2):
        with httpx.Client(base_url=rig.url, timeout=30) as http:
            told = uploaded(http, a_table(number))
            job = http.post("/jobs", json={"model": "m", "dataset": told["id"], "target": "y"}).json()
        rig.kill_all()
        rig.server.start()
        rig.tend()
        wait_for(rig.is_ready)
        with httpx.Client(base_url=rig.url, timeout=30) as http:
            assert http.get(f"/datasets/{told['id']}").json() == told
            assert len(http.get(f"/datasets/{told['id']}/rows?limit=50").json()["data"]) == 50
            wait_for(lambda job=job: http.get(f"/jobs/{job['id']}").json()["done"])
            assert http.get(f"/jobs/{job['id']}").json()["status"] == "succeeded"


def test_an_api_that_is_killed_in_an_upload_leaves_no_data_set(start_rig: Callable[..., Rig]) -> None:
    rig = start_rig(n_workers=0, api_processes=1)
    with socket.create_connection(("127.0.0.1", rig.port)) as client:
        client.sendall(
            b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 9000000\r\n\r\n"
        )
        client.sendall(a_table() * 1000)
        wait_for(lambda: on_its_way(rig.folder))
        assert rig.api is not None
        for pid in (*children_of(rig.api.pid), rig.api.pid):
            send(pid, signal.SIGKILL)
        rig.api.wait()
    rig.tend()
    wait_for(rig.is_ready)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        assert http.get("/datasets").json()["data"] == []
        uploaded(http, a_table())
    rig.blobs.sweep_scratch(time.time() + 1)  # as housekeeping does an hour later
    wait_for(lambda: on_its_way(rig.folder) == [])  # the last upload clears up after its answer


def test_a_worker_that_is_killed_reads_the_table_again(start_rig: Callable[..., Rig]) -> None:
    rig = start_rig(n_workers=1, api_processes=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        told = uploaded(http, a_table())
        training = {**LONG, "time_limit_s": 4}
        body = {"model": "m", "dataset": told["id"], "target": "y", "training": training}
        job = http.post("/jobs", json=body).raise_for_status().json()["id"]
        wait_for(lambda: http.get(f"/jobs/{job}").json()["status"] == "running")
        rig.kill_worker(rig.workers[0])
        rig.tend()
        wait_for(lambda: http.get(f"/jobs/{job}").json()["done"], 60)
        done = http.get(f"/jobs/{job}").json()
        assert (done["status"], done["attempt"]) == ("succeeded", 2)
        answer = http.post("/predict", json={"model": "m", "instances": [{"a": 1, "c": "b", "n": 0}]})
        assert answer.status_code == 200


def test_uploads_are_refused_while_redis_is_away_and_taken_after(start_rig: Callable[..., Rig]) -> None:
    rig = start_rig(n_workers=0, api_processes=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        told = uploaded(http, a_table())
        rig.server.kill()
        started = time.monotonic()
        answer = http.post("/datasets", content=a_table(1), headers=AS_CSV)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - started < 5
        wait_for(lambda: on_its_way(rig.folder) == [])
        rig.server.start()
        wait_for(rig.is_ready)
        wait_for(lambda: http.post("/datasets", content=a_table(1), headers=AS_CSV).status_code == 201)
        assert http.get(f"/datasets/{told['id']}").json() == told


def test_an_upload_that_fills_the_disk_is_503_and_leaves_nothing(small_disk: Disk) -> None:
    """R9."""
    stack = Stack(small_disk.path / "data").start()
    try:
        told = uploaded(stack.http, a_table())
        answer = stack.http.post("/datasets", content=b"a,c,y,n\n" + b"1,a,1,1\n" * 25_000_000, headers=AS_CSV)
        assert answer.status_code == 503, answer.text
        wait_for(lambda: on_its_way(small_disk.path / "data") == [])
        wait_for(lambda: stack.http.get("/readyz").status_code == 200)
        assert stack.http.get(f"/datasets/{told['id']}").json() == told
        wait_for(lambda: stack.http.post("/datasets", content=a_table(2), headers=AS_CSV).status_code == 201)
    finally:
        stack.stop()


def test_slow_uploads_take_no_thread_and_no_place_of_others(start_rig: Callable[..., Rig]) -> None:
    """Four uploads of a process with eight threads may be under way; a fifth is 503 with Retry-After."""
    rig = start_rig(n_workers=0, api_processes=1)
    slow = [socket.create_connection(("127.0.0.1", rig.port)) for _ in range(4)]
    try:
        for client in slow:
            client.sendall(
                b"POST /datasets HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 99\r\n\r\na,"
            )
        with httpx.Client(base_url=rig.url, timeout=30) as http:
            wait_for(lambda: http.post("/datasets", content=a_table(), headers=AS_CSV).status_code == 503)
            answer = http.post("/datasets", content=a_table(), headers=AS_CSV)
            assert (answer.json()["code"], answer.headers["Retry-After"]) == ("busy", "1")
            for path in ("/livez", "/readyz", "/jobs", "/datasets"):
                started = time.monotonic()
                assert http.get(path).status_code == 200
                assert time.monotonic() - started < 1
            for client in slow:
                client.close()
            wait_for(lambda: http.post("/datasets", content=a_table(), headers=AS_CSV).status_code == 201)
    finally:
        for client in slow:
            client.close()


def test_the_same_table_uploaded_by_many_at_once_is_one_data_set(start_rig: Callable[..., Rig]) -> None:
    rig = start_rig(n_workers=0)
    answers: list[httpx.Response] = []

    def upload() -> None:
        with httpx.Client(base_url=rig.url, timeout=30) as http:
            answers.append(http.post("/datasets", content=a_table(), headers=AS_CSV))

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_data_sets_live_on_s3(start_rig: Callable[..., Rig], tmp_path: Path) -> None:
    skip_without_s3()
    s3 = S3Server(tmp_path / "s3.log").start()
    try:
        with Proxy(s3.port) as proxy:
            settings = {**KEYS, "BLOB_URL": f"s3://{BUCKET}/p", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
            rig = start_rig(n_workers=1, api_processes=1, **settings)
            with httpx.Client(base_url=rig.url, timeout=30) as http:
                told = uploaded(http, a_table())
                rows = http.get(f"/datasets/{told['id']}/rows?limit=1").json()["data"]
                assert rows == [{"a": 0.0, "c": "a", "y": 0.0, "n": 0.0}]
                job = http.post("/jobs", json={"model": "m", "dataset": told["id"], "target": "y"}).json()["id"]
                wait_for(lambda: http.get(f"/jobs/{job}").json()["done"])
                assert http.get(f"/jobs/{job}").json()["status"] == "succeeded"
                proxy.cut()
                started = time.monotonic()
                answer = http.post("/datasets", content=a_table(1), headers=AS_CSV)
                assert answer.status_code == 503 and time.monotonic() - started < 5
                assert http.get(f"/datasets/{told['id']}/rows").status_code == 503
                assert http.get(f"/datasets/{told['id']}").json() == told
                proxy.open()
                wait_for(lambda: http.post("/datasets", content=a_table(1), headers=AS_CSV).status_code == 201)
    finally:
        s3.stop()
