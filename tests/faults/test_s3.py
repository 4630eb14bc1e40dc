"""The blob store on S3: a real server process, which goes away, hangs, is slow, restarts or loses its objects."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from storage import keys
from storage.blobs import BlobStore
from storage.errors import BlobNotFoundError, BlobStoreUnavailableError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.store import JobStore
from tests.builders import OR_TARGETS, claimed, training_spec
from tests.clock import Clock
from tests.faults.proxy import Proxy
from tests.faults.rig import Rig, wait_for
from tests.s3_server import BUCKET, KEYS, S3Server, skip_without_s3

skip_without_s3()

URL = f"s3://{BUCKET}/some/prefix"
LONG: dict[str, Any] = {"optimizer": "gradient_descent", "learning_rate": 1e-6, "max_epochs": 1_000_000, "tolerance": 0}


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3.log")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with Proxy(s3.port) as proxy:
        yield proxy


def settings(proxy: Proxy) -> dict[str, str]:
    return {**KEYS, "BLOB_URL": URL, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}


@pytest.fixture
def store(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """The blob store in this process."""
    from s3fs import S3FileSystem

    for name, value in settings(proxy).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    return BlobStore(URL)


def job(k: int, **training: Any) -> dict[str, Any]:
    """A job whose instances no other job has."""
    data = {"features": [[0, 0], [0, 1], [1, 0], [1, k + 2]], "targets": [0, 1, 1, 1]}
    return {"model": "or", "data": data, **({"training": training} if training else {})}


def post(http: httpx.Client, k: int, **training: Any) -> str | None:
    """Post a job; None if the answer is 503, which must come within 2 s."""
    started = time.monotonic()
    answer = http.post("/jobs", json=job(k, **training))
    if answer.status_code == 503:
        assert time.monotonic() - started < 2
        assert "blob store" in answer.json()["detail"]
        return None
    return str(answer.raise_for_status().json()["id"])


def run_out(rig: Rig, ids: list[str]) -> None:
    """Wait until all jobs have succeeded."""
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in ids), 60)
    assert {rig.jobs.get(job_id).status for job_id in ids} == {"succeeded"}


@pytest.mark.parametrize(
    "fault", ["cut", *(pytest.param(each, marks=pytest.mark.long) for each in ("hang", "restart"))]
)
def test_an_outage_of_s3_ends_no_job_and_refuses_new_ones_at_once(
    start_rig: Callable[..., Rig], s3: S3Server, proxy: Proxy, fault: str, times: int
) -> None:
    """R30: for 30 s with `--times 10`. On 15a4f66 nothing worked on S3 (`auto_mkdir`)."""
    rig = start_rig(n_workers=1, api_processes=1, **settings(proxy))
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        ids = [job_id for k in range(3) if (job_id := post(http, k))]
        run_out(rig, ids)
        long = post(http, 3, **LONG)
        assert len(ids) == 3 and long is not None
        wait_for(lambda: rig.jobs.get(long).checkpoint, 30)  # its bytes are in S3
        ids += [job_id for k in range(4, 8) if (job_id := post(http, k))]  # they wait behind it
        begun_at, until = time.monotonic(), time.monotonic() + 3 * times
        if fault == "cut":
            proxy.cut()
        elif fault == "hang":
            proxy.is_hanging = True
        else:
            s3.restart()
            proxy.target = s3.port
        rig.start_worker()  # takes what waits, if it could
        n_refused = 0
        while fault != "restart" and time.monotonic() < until:
            n_refused += post(http, 8) is None
            started = time.monotonic()
            assert http.post("/predict", json={"model": "or", "instances": [[0, 1]]}).status_code == 200
            assert http.get("/readyz").status_code == http.get(f"/jobs/{long}").status_code == 200
            assert time.monotonic() - started < 1
            time.sleep(0.1)
        assert fault == "restart" or n_refused > 2 * times
        assert (rig.jobs.get(long).status in ("running", "succeeded"), rig.jobs.get(long).attempt) == (True, 1)
        if fault == "cut":
            proxy.open()
        proxy.is_hanging = False
        wait_for(lambda: (job_id := post(http, 9)) and not ids.append(job_id), 10)
        run_out(rig, ids)
        http.post(f"/jobs/{long}/cancel")
        assert (rig.jobs.get(long).status in ("cancelled", "succeeded"), rig.jobs.get(long).attempt) == (True, 1)
        assert time.monotonic() - begun_at < 3 * times + 60


@pytest.mark.long
def test_a_slow_s3_fails_no_job(start_rig: Callable[..., Rig], proxy: Proxy, times: int) -> None:
    """R30: 500 ms for each request."""
    rig = start_rig(n_workers=2, api_processes=1, **settings(proxy))
    proxy.delay_s = 0.25
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        ids: list[str] = []
        for k in range(2 * times):
            wait_for(lambda k=k: (job_id := post(http, k)) and not ids.append(job_id), 60)
        run_out(rig, ids)


def test_another_prefix_and_an_emptied_bucket_are_refused(
    start_rig: Callable[..., Rig], s3: S3Server, proxy: Proxy
) -> None:
    """R25 on S3."""
    rig = start_rig(n_workers=1, api_processes=1, **settings(proxy))
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        ids = [post(http, 0) or ""]
        run_out(rig, ids)
        with rig.other_api(BLOB_URL=f"s3://{BUCKET}/other") as wrong:
            rig.start_worker(is_awaited=True, BLOB_URL=f"s3://{BUCKET}/other")
            assert wrong.get("/readyz").status_code == 503
            ids += [post(http, k) or "" for k in range(1, 11)]
            run_out(rig, ids)
        assert not [key for key in s3.objects() if key.startswith("other")]
        s3.stop()
        s3.start()
        wait_for(lambda: "no store identity" in http.get("/readyz").text, 10)
        assert post(http, 11) is None
        assert s3.objects() == {}


def test_blobs_on_s3_are_stored_whole_read_and_swept(
    redis: Redis, jobs: JobStore, store: BlobStore, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = claimed(jobs, blobs=store).job.spec.data.blob
    unneeded = training_spec(store, targets=[1.0 - target for target in OR_TARGETS]).data.blob
    assert set(s3.objects()) == {f"some/prefix/{digest[:2]}/{digest}" for digest in (needed, unneeded)}
    monkeypatch.setattr("storage.jobs.housekeeping.FOLDERS_AT_ONCE", 256)
    monkeypatch.setattr("storage.jobs.housekeeping.BLOBS_S", 10**6)
    clock, started_at = Clock(), time.time()
    housekeeping = Housekeeping(redis, store, keep_jobs_s=1, clock=clock, wall_clock=lambda: started_at)
    monkeypatch.setattr("storage.jobs.housekeeping.LEAP_S", 10**6)
    clock.now += 3600  # it has been running for an hour, so that it believes its clock
    housekeeping.run()
    assert len(s3.objects()) == 2  # young
    monkeypatch.setattr("storage.jobs.housekeeping.KEEP_BLOBS_S", -60.0)
    clock.now += 60
    housekeeping.run()
    assert set(s3.objects()) == {f"some/prefix/{needed[:2]}/{needed}"}
    store.get(needed)
    with pytest.raises(BlobNotFoundError):
        store.get(unneeded)
    assert redis.exists(keys.being_deleted(unneeded))


@pytest.mark.serial
@pytest.mark.parametrize("fault", ["cut", "hang", "server"])
def test_an_s3_that_is_away_says_so_in_time(store: BlobStore, s3: S3Server, proxy: Proxy, fault: str) -> None:
    digest = store.put(b"instances")
    match fault:
        case "cut":
            proxy.cut()
        case "hang":
            proxy.is_hanging = True
        case "server":
            s3.stop()
    for ask in (lambda: store.put(b"more"), lambda: store.read_mark("mark"), lambda: store.old(digest[:2], 0)):
        started = time.monotonic()
        with pytest.raises(BlobStoreUnavailableError):
            ask()
        assert time.monotonic() - started < 1.5
    with pytest.raises(BlobStoreUnavailableError):
        store.get(digest)
