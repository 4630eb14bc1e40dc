"""A blob store that is not ours, lacks a blob, or is away."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from storage import keys
from tests.builders import publish, training_spec
from tests.faults.rig import Rig, wait_for
from tests.faults.test_workers import messages_of

StartRig = Callable[..., Rig]
JOB = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}
X = {"model": "or", "instances": [[0, 1]]}


def test_a_blob_store_that_is_not_ours_fails_no_job_and_gets_no_mark(
    start_rig: StartRig, tmp_path: Path, times: int
) -> None:
    """R25: a worker and an API with another DATA_DIR beside the right ones; 60 jobs.

    On 15a4f66 both folders got the mark, and about half of the jobs failed as `internal`.
    """
    rig = start_rig(n_workers=0, api_processes=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        publish(rig.jobs)  # before a worker can take the job
        rig.start_worker()
        other = tmp_path / "other"
        other.mkdir()
        for _ in range(2):
            rig.start_worker(is_awaited=True, DATA_DIR=str(other))
        with rig.other_api(DATA_DIR=str(other)) as wrong:
            answer = wrong.get("/readyz")
            assert (answer.status_code, "perceptron init --accept-loss" in answer.json()["detail"]) == (503, True)
            jobs = [http.post("/jobs", json=JOB).raise_for_status().json()["id"] for _ in range(30 * times)]
            assert {wrong.post("/jobs", json=JOB).status_code for _ in range(20)} == {503}
            assert wrong.get(f"/jobs/{jobs[0]}").status_code == 503
            assert wrong.post("/predict", json={**X, "version": 1}).status_code == 200  # models are in Redis
            wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in jobs), 60)
        assert {rig.jobs.get(job_id).status for job_id in jobs} == {"succeeded"}
        assert {rig.jobs.get(job_id).attempt for job_id in jobs} == {1}
        assert list(other.iterdir()) == []


def test_the_right_worker_need_not_be_the_first(start_rig: StartRig, tmp_path: Path) -> None:
    """While only a worker with the wrong blob store runs, jobs wait."""
    rig = start_rig(n_workers=0, api_processes=1)
    job_id = httpx.post(f"{rig.url}/jobs", json=JOB).raise_for_status().json()["id"]
    wrong = rig.start_worker(is_awaited=True, DATA_DIR=str(tmp_path / "other"))
    time.sleep(3)
    assert (rig.jobs.get(job_id).status, rig.jobs.get(job_id).attempt) == ("queued", 0)
    rig.start_worker()
    wait_for(lambda: rig.jobs.get(job_id).is_done)
    assert rig.jobs.get(job_id).status == "succeeded"
    wrong.terminate()
    assert wrong.wait(5) == 0


def test_a_volume_that_is_unmounted_under_the_service_accepts_and_fails_no_job(
    start_rig: StartRig, tmp_path: Path
) -> None:
    rig = start_rig(n_workers=1, api_processes=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        http.post("/jobs", json=JOB).raise_for_status()
        (tmp_path / "blobs").rename(tmp_path / "volume")
        (tmp_path / "blobs").mkdir()  # the mount point
        assert http.post("/jobs", json=JOB).status_code == 503
        wait_for(lambda: http.get("/readyz").status_code == 503, 3)
        job_id = rig.jobs.submit("or", training_spec(), metadata={}).id
        time.sleep(4)
        assert (rig.jobs.get(job_id).is_done, list((tmp_path / "blobs").iterdir())) == (False, [])
        rig.jobs.cancel(job_id)
        (tmp_path / "blobs").rmdir()
        (tmp_path / "volume").rename(tmp_path / "blobs")
        wait_for(rig.is_ready, 5)
        new = http.post("/jobs", json=JOB).raise_for_status().json()["id"]
        wait_for(lambda: rig.jobs.get(new).is_done)
        assert rig.jobs.get(new).status == "succeeded"


def test_a_job_whose_blob_is_missing_waits_for_it(start_rig: StartRig) -> None:
    """Also in a blob store that is ours; other jobs go on. On 15a4f66 the job failed as `internal`."""
    rig = start_rig(n_workers=0, api_processes=1)
    spec = training_spec(rig.blobs)
    content = rig.blobs.get(spec.data.blob)
    rig.blobs.delete(spec.data.blob)
    job_id = rig.jobs.submit("or", spec, metadata={}).id
    rig.start_worker()
    wait_for(lambda: rig.jobs.get(job_id).attempt == 2)
    assert f"there is no blob with sha256 {spec.data.blob}" in messages_of(rig, job_id)[0]
    other = {**JOB, "data": {"features": [[0], [1]], "targets": [0, 1]}}
    other_id = httpx.post(f"{rig.url}/jobs", json=other).raise_for_status().json()["id"]
    wait_for(lambda: rig.jobs.get(other_id).status == "succeeded", 3)
    assert rig.jobs.get(job_id).status == "queued"
    rig.blobs.put(content)
    wait_for(lambda: rig.jobs.get(job_id).is_done)
    assert rig.jobs.get(job_id).status == "succeeded"


def test_an_api_that_starts_while_the_blob_store_is_away_predicts(start_rig: StartRig, tmp_path: Path) -> None:
    """R42. On 15a4f66 it answered 503 to everything: it asked the blob store before it asked Redis for a model."""
    rig = start_rig(n_workers=0, api_processes=1)
    publish(rig.jobs, alias="production")
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    (tmp_path / "blobs").write_bytes(b"")  # cannot be read, also by root
    with rig.other_api() as http:
        wait_for(lambda: http.get("/readyz").status_code == 200, 5)
        assert http.post("/predict", json=X).json()["version"] == 1
        publish(rig.jobs, weight=2.0)
        wait_for(lambda: http.post("/predict", json=X).json()["version"] == 2, 3)
        answer = http.post("/jobs", json=JOB)
        assert (answer.status_code, "blob store" in answer.json()["detail"]) == (503, True)
        (tmp_path / "blobs").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "blobs")
        wait_for(lambda: http.post("/jobs", json=JOB).status_code == 202, 3)
    assert rig.redis.get(keys.STORE_IDENTITY) == rig.blobs.read_mark(keys.STORE_IDENTITY_MARK)
