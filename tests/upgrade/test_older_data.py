"""Today's service on the data directory that `perceptron up` of commit 15a4f66 left when it was killed.

`write_archive.py` made the archive, with what that service answered; here nothing of the older code runs.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from standalone import DataLostError, EmbeddedServer
from standalone.stack import UpSettings, up
from storage import keys
from storage.blobs import BlobStore
from storage.connection import connect
from storage.identity import StoreIdentity
from storage.schema import OLDEST_RELEASE, SCHEMA
from tests.faults.rig import wait_for
from tests.stack import Stack

ARCHIVE = Path(__file__).parent / "data_of_15a4f66.tar.xz"


def unpack(folder: Path) -> dict[str, Any]:
    """Unpack the data directory as `data`, and return what the service that wrote it answered."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    answers: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return answers


@pytest.fixture
def older(tmp_path: Path) -> dict[str, Any]:
    return unpack(tmp_path)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("upgrade")
    older = unpack(folder)
    stack = Stack(folder / "data").start()
    yield stack, older
    if stack.process.poll() is None:
        assert stack.stop() == 0


Upgraded = tuple[Stack, dict[str, Any]]


def id_of(older: dict[str, Any], status: str) -> str:
    (job_id,) = (job["id"] for job in older["jobs"].values() if job["status"] == status)
    return str(job_id)


def test_every_job_is_there_with_the_same_result(upgraded: Upgraded) -> None:
    stack, older = upgraded
    listed = stack.http.get("/jobs", params={"limit": 100}).json()["data"]
    assert {job["id"] for job in listed} >= set(older["jobs"])
    assert {job["status"] for job in older["jobs"].values()} == {
        "queued",
        "running",
        "succeeded",
        "failed",
        "cancelled",
    }
    for job_id, then in older["jobs"].items():
        job = stack.http.get(f"/jobs/{job_id}").json()
        assert (job["model"], job["created_at"], job["metadata"]) == (
            *(then["model"], then["created_at"], then["metadata"]),
        )
        if then["done"]:
            assert (job["status"], job["finished_at"]) == (then["status"], then["finished_at"])
            assert (job["error"] or {}).get("code") == (then["error"] or {}).get("code")
            if then["result"]:
                for name in ("version", "stop_reason", "epochs", "cost"):
                    assert job["result"][name] == then["result"][name]


def test_every_model_version_and_alias_is_there(upgraded: Upgraded) -> None:
    stack, older = upgraded
    names = {model["name"] for model in stack.http.get("/models", params={"limit": 100}).json()["data"]}
    assert names >= set(older["models"]) == {"or", "line", "trees", "layers", "step", "swept"}
    assert older["models"]["or"]["aliases"] == {"production": 1, "candidate": 2}
    for name, then in older["models"].items():
        model = stack.http.get(f"/models/{name}").json()
        assert model["aliases"] == then["aliases"]
        assert [each["version"] for each in model["versions"]] == [each["version"] for each in then["versions"]]
    for reference, then in older["versions"].items():
        name, _, number = reference.partition("/")
        version = stack.http.get(f"/models/{name}/versions/{number}").json()
        for field in ("weights", "bias", "feature_names", "digests", "job", "created_at"):
            assert version[field] == then[field], (reference, field)


def test_every_prediction_is_the_one_of_then(upgraded: Upgraded) -> None:
    stack, older = upgraded
    assert len(older["predictions"]) == 8
    for question, then in older["predictions"]:
        answer = stack.http.post("/predict", json=question).json()
        assert (answer["version"], answer["predictions"]) == (then["version"], pytest.approx(then["predictions"])), (
            question
        )
        assert answer["outputs"] == [pytest.approx(row, rel=1e-12) for row in then["outputs"]], question


def test_the_queued_job_is_trained_and_the_interrupted_one_gets_another_attempt(upgraded: Upgraded) -> None:
    stack, older = upgraded
    queued = stack.finished(stack.http.get(f"/jobs/{id_of(older, 'queued')}").json())
    assert (queued["status"], queued["result"]["version"]) == ("succeeded", 1)
    trees = {"model": "queued", "instances": [[0.1, 1.0], [4.0, 3.0]]}
    assert stack.http.post("/predict", json=trees).json()["predictions"] == ["elm", "oak"]
    running = f"/jobs/{id_of(older, 'running')}"
    wait_for(lambda: stack.http.get(running).json()["attempt"] == 2)
    wait_for(lambda: stack.http.get(running).json()["progress"] is not None)
    assert stack.http.post(f"{running}/cancel").json()["status"] == "cancelled"


def test_new_jobs_and_data_sets_work_and_no_version_number_comes_again(upgraded: Upgraded) -> None:
    stack, _ = upgraded
    table = "a,b,y\n" + "".join(f"{k},{k % 3},{k % 2}\n" for k in range(20))
    dataset = stack.http.post("/datasets", content=table, headers={"Content-Type": "text/csv"}).json()
    body = {"model": "or", "dataset": dataset["id"], "target": "y", "training": {"max_epochs": 5}}
    job = stack.finished(stack.http.post("/jobs", json=body).json())
    assert job["result"]["version"] == 4  # 3 was deleted by the older service


def test_redis_and_the_blobs_keep_the_identity_and_get_the_schema(older: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "data"
    then = (data / "blobs" / keys.OLDER_STORE_IDENTITY_MARK).read_bytes()
    identity = StoreIdentity(BlobStore((data / "blobs").as_uri()))
    with EmbeddedServer(data) as server, connect(server.url, timeout_s=5, n_retries=0, identity=identity) as connection:
        assert connection.get(keys.STORE_IDENTITY) == then
        identity.check_blobs(connection)
        assert connection.get(keys.SCHEMA) == f"{SCHEMA} {OLDEST_RELEASE}".encode()
    assert (data / "blobs" / keys.STORE_IDENTITY_MARK).read_bytes() == then


def test_blobs_of_an_older_release_are_not_taken_for_new_ones(
    older: dict[str, Any], tmp_path: Path, redis: Redis
) -> None:
    """Their Redis was emptied, or its files are gone."""
    data = tmp_path / "data"
    identity = StoreIdentity(BlobStore((data / "blobs").as_uri()))
    with pytest.raises(Exception, match="Redis was emptied or replaced: it has no data of this service"):
        identity.check(redis)
    assert redis.keys() == []
    for file in sorted((data / "redis").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(DataLostError, match=f"{data / 'blobs' / 'epoch'} says that there was some"):
        up(UpSettings(data_dir=data, port=1))
