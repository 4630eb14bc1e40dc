"""The process beside a worker: started and ended with it, and nothing is lost when either is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from standardwebhooks.webhooks import Webhook as Verifier

from standalone import EmbeddedServer
from storage import keys
from storage.blobs import BlobStore
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.webhooks.settings import WebhookSettings, secret_text
from tests.builders import training_spec
from tests.receiver import SECRET, Receiver, authority
from worker.webhooks.process import DelivererProcess

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def env(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> dict[str, str]:
    StoreIdentity(BlobStore((tmp_path / "blobs").as_uri())).check_blobs(redis)  # as the API does before the first job
    certificates, secret = tmp_path / "ca.pem", tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    authority().cert_pem.write_to_path(str(certificates))
    return {
        **os.environ,
        "REDIS_URL": server.url,
        "BLOB_URL": (tmp_path / "blobs").as_uri(),
        "WEBHOOK_SECRET_FILE": str(secret),
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "SSL_CERT_FILE": str(certificates),
    }


@pytest.fixture
def start(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(receiver: Receiver, *command: str) -> subprocess.Popen[bytes]:
        its_env = env | {"WEBHOOK_HOSTS": f"localhost:{receiver.port}"}
        with (tmp_path / "log").open("ab") as log:
            arguments = [sys.executable, "-m", *(command or ("worker.main",))]
            started.append(subprocess.Popen(arguments, cwd=ROOT, env=its_env, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        for pid in (*deliverers_of(process.pid), process.pid):
            if process.poll() is None or pid != process.pid:
                os.kill(pid, signal.SIGKILL)
        process.wait()


def deliverers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    pids = children.read_text().split() if children.exists() else []
    return [int(child) for child in pids if b"worker.webhooks" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(condition: Callable[[], object]) -> None:
    ends_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends_at, "not within 30 s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc"),
]


def test_a_kill_between_the_end_of_a_job_and_its_delivery_loses_nothing_and_the_id_stays_the_same(
    redis: Redis, jobs: JobStore, blobs: BlobStore, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with Receiver() as receiver:
        receiver.hold_s = 60.0
        worker = start(receiver)
        url = f"https://localhost:{receiver.port}/"
        job_id = jobs.submit("acme/or", training_spec(blobs), metadata={}, webhook=url).id
        wait_for(lambda: receiver.received)  # the job is trained, and the receiver has the event but does not answer
        assert jobs.get(job_id).status == "succeeded" and jobs.get(job_id).attempt == 1
        (deliverer,) = deliverers_of(worker.pid)
        worker.kill()
        worker.wait()
        wait_for(lambda: not is_running(deliverer))  # it ends with its worker
        assert redis.zcard(keys.WEBHOOK_OUTBOX) == 1
        receiver.hold_s = 0.0
        redis.zadd(keys.WEBHOOK_OUTBOX, {job_id: 0})  # the lease has passed
        worker = start(receiver)
        wait_for(lambda: redis.zcard(keys.WEBHOOK_OUTBOX) == 0)
        first, second = receiver.received
        (of_acme,) = WebhookSettings.from_env({"WEBHOOK_SECRET": SECRET}).secrets_of("acme")
        event = Verifier(secret_text(of_acme)).verify(second.body, dict(second.headers))
        assert event["type"] == "job.succeeded" and event["data"]["result"]["version"] == 1
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])

        (deliverer,) = deliverers_of(worker.pid)
        worker.terminate()
        assert worker.wait(15) == 0
        assert not is_running(deliverer)


def test_a_worker_without_the_settings_of_webhooks_has_no_such_process(
    jobs: JobStore, blobs: BlobStore, env: dict[str, str], start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    del env["WEBHOOK_SECRET_FILE"]
    with Receiver() as receiver:
        worker = start(receiver)
        job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
        wait_for(lambda: jobs.get(job_id).is_done)
        assert deliverers_of(worker.pid) == []


def test_a_process_that_dies_is_started_again_and_one_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.webhooks.process._STOP_S", 0.1)
    process = DelivererProcess(("sh", "-c", "trap '' TERM; exec sleep 60"))
    process.keep()
    first = process._process
    assert first is not None
    process.keep()
    assert process._process is first
    first.kill()
    first.wait()
    process.keep()
    second = process._process
    assert second is not None and second.pid != first.pid
    time.sleep(0.3)  # until the shell ignores SIGTERM
    process.stop()
    assert second.returncode == -signal.SIGKILL
