"""A backup that is taken while jobs run, and restored in another place: `perceptron backup` and `restore`."""

import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from cli.backup import backup, restore
from cli.init import init
from standalone import EmbeddedServer, StandaloneError
from storage import keys
from storage.blobs import BlobStore
from storage.connection import connect
from storage.snapshot import write_snapshot
from tests.faults.proxy import Proxy
from tests.faults.rig import wait_for
from tests.stack import ROOT, SETTINGS, Stack

OR: dict[str, list[Any]] = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
LONG = {"tolerance": 0, "learning_rate": 1e-6, "max_epochs": 1_000_000}
QUESTION = {"model": "or", "instances": [[0, 0], [0.25, 0.5], [1, 1]]}


def perceptron(*arguments: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=clean | env, capture_output=True, text=True, timeout=60)


def good(*arguments: str | Path, **env: str) -> str:
    ran = perceptron(*arguments, **env)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def train(http: httpx.Client, model: str, number: int = 0, **training: Any) -> dict[str, Any]:
    data = {**OR, "features": [[a + number, b] for a, b in OR["features"]]}  # each number is a blob of its own
    answer = http.post("/jobs", json={"model": model, "data": data, "training": training})
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Stack]]:
    """Start a service on a folder of this test."""
    started: list[Stack] = []

    def start(name: str) -> Stack:
        started.append(Stack(tmp_path / name).start())
        return started[-1]

    yield start
    for stack in started:
        if stack.process.poll() is None:
            stack.stop()


def test_a_backup_under_load_is_restored_elsewhere_with_every_job_and_prediction(
    start: Callable[[str], Stack], tmp_path: Path
) -> None:
    stack = start("data")
    first = stack.finished(train(stack.http, "or", max_epochs=50))
    stack.http.put("/models/or/aliases/production", json={"version": 1})
    running = train(stack.http, "long", **LONG)
    wait_for(lambda: stack.http.get(f"/jobs/{running['id']}").json()["status"] == "running")
    is_over = threading.Event()
    sent: list[str] = []

    def send() -> None:
        while not is_over.wait(0.02):
            sent.append(train(stack.http, "more", len(sent), max_epochs=5)["id"])

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(lambda: len(sent) > 5)
    n_before = len(sent)
    said = good("backup", tmp_path / "backup", "--data-dir", stack.data_dir)
    n_after = len(sent)
    is_over.set()
    sender.join()
    assert n_after > n_before and "holds Redis" in said
    assert stack.http.get(f"/jobs/{running['id']}").json()["attempt"] == 1  # it goes on
    before = stack.http.post("/predict", json=QUESTION).json()
    stack.kill()  # the host is lost

    good("restore", tmp_path / "backup", "--data-dir", tmp_path / "other")
    restored = start("other")
    assert restored.http.post("/predict", json=QUESTION).json() == before
    assert restored.http.get(f"/jobs/{first['id']}").json()["result"] == first["result"]
    assert restored.http.get("/models/or").json()["aliases"] == {"production": 1}
    jobs, after = [], None
    while True:
        page = restored.http.get("/jobs", params={"limit": 100} | ({"after": after} if after else {})).json()
        jobs += page["data"]
        if not page["has_more"]:
            break
        after = page["last_id"]
    ids = {job["id"] for job in jobs}
    # All that was accepted before the backup, and of what came during it, all before some job and none after it.
    known = [job_id in ids for job_id in sent]
    assert known == sorted(known, reverse=True) and n_before <= sum(known) <= n_after
    assert {first["id"], running["id"]} <= ids
    assert restored.http.get(f"/jobs/{running['id']}").json()["status"] in ("queued", "running")
    wait_for(lambda: restored.http.get(f"/jobs/{running['id']}").json()["attempt"] == 2)
    restored.http.post(f"/jobs/{running['id']}/cancel")
    for job in jobs:
        done = restored.finished(restored.http.get(f"/jobs/{job['id']}").json())
        assert done["status"] == ("cancelled" if job["id"] == running["id"] else "succeeded")


def test_a_backup_has_what_was_stored_and_what_was_deleted_while_it_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis may name a blob that was stored just before its snapshot, and one that is deleted just after it."""
    monkeypatch.delenv("BLOB_URL", raising=False)
    init(tmp_path / "data", None, is_loss_accepted=False)
    blobs = BlobStore((tmp_path / "data" / "blobs").as_uri())
    deleted, stored = blobs.put(b"deleted"), ""

    def take_snapshot(redis: Redis, path: Path) -> int:
        nonlocal stored
        stored = blobs.put(b"stored")
        n_bytes = write_snapshot(redis, path)
        blobs.delete(deleted)
        return n_bytes

    monkeypatch.setattr("cli.backup.write_snapshot", take_snapshot)
    said = backup(tmp_path / "backup", tmp_path / "data", None)
    assert said.endswith("and 2 blobs.")
    assert set(BlobStore((tmp_path / "backup" / "blobs").as_uri()).digests()) == {deleted, stored}


def test_an_older_backup_gives_the_version_numbers_after_it_again(
    start: Callable[[str], Stack], tmp_path: Path
) -> None:
    """R29, over a restart, and without `init --accept-loss`: the identity is in the backup."""
    stack = start("data")
    stack.finished(train(stack.http, "or", max_epochs=5))
    good("backup", tmp_path / "older", "--data-dir", stack.data_dir)
    lost = stack.finished(train(stack.http, "or", optimizer="gradient_descent", max_epochs=80))
    then = stack.http.post("/predict", json={**QUESTION, "version": 2}).json()
    stack.stop()
    (stack.data_dir / "redis").rename(tmp_path / "before")
    assert "0 blobs were missing" in good("restore", tmp_path / "older", "--data-dir", stack.data_dir)
    stack = start("data")
    assert [each["version"] for each in stack.http.get("/models/or").json()["versions"]] == [1]
    assert stack.http.get(f"/jobs/{lost['id']}").status_code == 404
    assert stack.http.post("/predict", json={**QUESTION, "version": 2}).status_code == 404
    again = stack.finished(train(stack.http, "or", optimizer="gradient_descent", max_epochs=5))
    assert again["result"]["version"] == 2
    assert stack.http.post("/predict", json={**QUESTION, "version": 2}).json()["outputs"] != then["outputs"]


def test_a_redis_of_ones_own_is_copied_over_its_address_and_its_file_is_left_to_its_operator(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    digest = blobs.put(b"instances")
    with EmbeddedServer(tmp_path / "own") as server:
        with connect(server.url, timeout_s=5, n_retries=0) as redis:
            redis.config_set("requirepass", "p@ss")
            redis.execute_command("AUTH", "p@ss")
            redis.set(keys.STORE_IDENTITY, "ours")
        blobs.write_mark(keys.STORE_IDENTITY_MARK, b"ours")
        settings = {
            "REDIS_URL": server.url.replace("unix://", "unix://:p%40ss@"),
            "BLOB_URL": (tmp_path / "blobs").as_uri(),
        }
        good("backup", tmp_path / "backup", **settings)
    settings["BLOB_URL"] = (tmp_path / "other" / "blobs").as_uri()
    said = good("restore", tmp_path / "backup", "--data-dir", tmp_path / "x", **settings)
    assert said == (
        f"1 blobs were missing and are restored. Now stop Redis, and copy {tmp_path}/backup/redis.rdb into its empty "
        "folder as appendonly.aof.\n"
    )
    assert BlobStore(settings["BLOB_URL"]).get(digest) == b"instances"
    other = tmp_path / "another" / "redis"
    other.mkdir(parents=True)
    shutil.copy(tmp_path / "backup" / "redis.rdb", other / "appendonly.aof")
    with EmbeddedServer(other.parent) as server, connect(server.url, timeout_s=5, n_retries=0) as redis:
        assert redis.get(keys.STORE_IDENTITY) == b"ours"


def test_what_must_not_be_overwritten_or_mixed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOB_URL", raising=False)
    source, folder, data = tmp_path / "source", tmp_path / "backup", tmp_path / "data"

    def refused(call: Callable[[Path, Path, None], str], folder: Path, data_dir: Path) -> str:
        with pytest.raises(StandaloneError) as caught:
            call(folder, data_dir, None)
        return str(caught.value)

    assert "has no data" in refused(backup, folder, source)
    init(source, None, is_loss_accepted=False)
    digest = BlobStore((source / "blobs").as_uri()).put(b"instances")
    backup(folder, source, None)
    assert f"{folder} exists: name a new folder" in refused(backup, folder, source)
    assert "is no backup: it has no redis.rdb" in refused(restore, tmp_path, data)
    assert f"{source}/redis has data: move it away" in refused(restore, folder, source)
    blobs = BlobStore((data / "blobs").as_uri())
    blobs.write_mark(keys.STORE_IDENTITY_MARK, b"another")
    assert "holds the blobs of another Redis" in refused(restore, folder, data)
    (data / "blobs" / keys.STORE_IDENTITY_MARK).unlink()
    copy = folder / "blobs" / digest[:2] / digest
    copy.write_bytes(b"damaged")
    assert refused(restore, folder, data) == f"the blob with sha256 {digest} has other content"
    assert not EmbeddedServer(data).has_data and list(blobs.digests()) == []
    copy.write_bytes(b"instances")
    (data / "redis").mkdir()
    (data / "redis" / "appendonly.aof.partial").write_bytes(b"of a restore that was killed")
    assert "1 blobs were missing" in restore(folder, data, None)
    assert "belong together" in init(data, None, is_loss_accepted=False)


def test_a_snapshot_that_redis_refuses_is_no_backup(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        with connect(server.url, timeout_s=5, n_retries=0) as redis:
            redis.execute_command("ACL", "SETUSER", "service", "on", ">secret", "~*", "+@all", "-sync")
        url = server.url.replace("unix://", "unix://service:secret@")
        with connect(url, timeout_s=5, n_retries=0) as redis, pytest.raises(Exception, match="no permissions to run"):
            write_snapshot(redis, tmp_path / "snapshot")
        ran = perceptron("backup", tmp_path / "backup", "--data-dir", tmp_path / "data", REDIS_URL=url)
        assert ran.returncode == 1 and "SYNC" in ran.stderr, ran.stderr
        assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("silent", "a store cannot be used now: Redis does not answer in time"),
        ("ended", "(Redis ended the connection before its snapshot was complete)"),
        ("reset", "(the connection broke before the snapshot was complete: Connection reset by peer)"),
        ("full disk", "a file cannot be written or read: No space left on device"),
    ],
)
def test_a_backup_that_fails_says_why_and_leaves_nothing(
    trouble: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = BlobStore((tmp_path / "blobs").as_uri()), tmp_path / "backups" / "today"
    source.put(b"instances")
    source.write_mark(keys.STORE_IDENTITY_MARK, b"ours")
    monkeypatch.setenv("BLOB_URL", (tmp_path / "blobs").as_uri())
    with EmbeddedServer(tmp_path / "own") as server, Proxy(Path(server.url.removeprefix("unix://"))) as proxy:
        with connect(server.url, timeout_s=5, n_retries=0) as redis:
            redis.set(keys.STORE_IDENTITY, "ours")

        def fail(redis: Redis, path: Path) -> int:
            assert list(folder.parent.glob("today.partial-*/blobs/*/*")), "the blobs are there already"
            if trouble == "full disk":
                with path.open("xb") as file:
                    monkeypatch.setattr(os, "fsync", no_space)
                    os.fsync(file.fileno())
            proxy.is_hanging = True
            if trouble == "ended":
                threading.Timer(0.3, proxy.cut).start()
            if trouble == "reset":
                monkeypatch.setattr(socket.socket, "recv", reset)
            return write_snapshot(redis, path, timeout_s=0.5)

        monkeypatch.setattr("cli.backup.write_snapshot", fail)
        with pytest.raises(StandaloneError) as caught:
            backup(folder, tmp_path / "data", f"redis://127.0.0.1:{proxy.port}")
        monkeypatch.undo()
    assert said in str(caught.value)
    assert list(folder.parent.iterdir()) == []


def reset(_socket: socket.socket, _n_bytes: int) -> bytes:
    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def no_space(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write does: it names no file


def test_a_damaged_backup_is_refused_before_anything_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLOB_URL", raising=False)
    source, folder, data = tmp_path / "source", tmp_path / "backup", tmp_path / "data"
    init(source, None, is_loss_accepted=False)
    BlobStore((source / "blobs").as_uri()).put(b"instances")
    backup(folder, source, None)
    snapshot, manifest = folder / "redis.rdb", folder / "manifest.json"
    whole, described = snapshot.read_bytes(), json.loads(manifest.read_bytes())
    mark = (folder / "blobs" / keys.STORE_IDENTITY_MARK).read_text()
    assert described == {
        "store_identity": mark,
        "redis_bytes": len(whole),
        "redis_sha256": hashlib.sha256(whole).hexdigest(),
    }

    def refusal() -> str:
        with pytest.raises(StandaloneError, match="the backup is damaged: ") as caught:
            restore(folder, data, None)
        assert not EmbeddedServer(data).has_data and not (data / "blobs").exists()
        return str(caught.value).removeprefix("the backup is damaged: ")

    half = len(whole) // 2
    snapshot.write_bytes(whole[:half])
    assert refusal() == f"{snapshot} has {half:,} bytes, and had {len(whole):,}"
    snapshot.write_bytes(whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :])
    assert refusal() == f"{snapshot} has other content than its sha256 says"
    snapshot.write_bytes(whole)
    text = manifest.read_text()
    manifest.write_text(text.replace(mark, "0" * len(mark)))
    assert refusal() == f"its blobs are not those of {snapshot}"
    manifest.write_text(text[:-20])
    assert refusal() == f"{manifest} cannot be read"
    manifest.unlink()  # as an older release makes a backup
    assert "1 blobs were missing" in restore(folder, data, None)
    assert "belong together" in init(data, None, is_loss_accepted=False)
