"""A Redis that forgets scripts, denies commands, wants a password or loads for long: R26 and R35."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from standalone import stack
from standalone.errors import RedisUnreachableError
from storage.needed_commands import NEEDED
from tests.faults.rig import ROOT, Rig, children_of, repeated, wait_for
from tests.faults.test_stores import JOB
from tests.faults.test_workers import start_job
from tests.stack import Stack

StartRig = Callable[..., Rig]

ALL_KEYS = ("~perceptron:*", "~rq:*", "&perceptron:*", "&rq:*", "-@all")
ALLOWED = (*ALL_KEYS, "+multi", "+exec", "+discard", *(f"+{command[0].lower()}" for command in NEEDED))


@pytest.mark.serial
def test_scripts_that_are_forgotten_all_the_time_fail_no_request_and_no_job(start_rig: StartRig, times: int) -> None:
    """R26: SCRIPT FLUSH every 2 ms. On 15a4f66, 67 of 355 POSTs were 500 and 47 of 288 jobs failed."""
    rig = start_rig(n_workers=1, api_processes=1)
    answers: Counter[int] = Counter()
    job_ids = []
    with httpx.Client(base_url=rig.url, timeout=30) as http, repeated(rig.redis.script_flush, 0.002):
        until = time.monotonic() + 2 * times
        while time.monotonic() < until:
            answer = http.post("/jobs", json=JOB)
            answers[answer.status_code] += 1
            job_ids.append(answer.json()["id"])
            answers[http.get("/models/or").status_code] += 0  # 404 before the first version
        wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in job_ids), 60)
    assert answers[202] == len(job_ids) >= 20
    assert {rig.jobs.get(job_id).status for job_id in job_ids} == {"succeeded"}
    assert 500 not in answers and 503 not in answers
    assert "quitting" not in (rig.folder / "worker-0.log").read_text()


@pytest.mark.serial
def test_the_commands_that_the_documentation_lists_are_enough(start_rig: StartRig) -> None:
    """R35: without INFO, CONFIG and all that is not listed. On 15a4f66 a job whose worker died ran for ever."""
    rig = start_rig(n_workers=2, api_processes=1, acl=ALLOWED, MAX_ATTEMPTS="1")
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        job_id = http.post("/jobs", json=JOB, headers={"Idempotency-Key": "k"}).raise_for_status().json()["id"]
        wait_for(lambda: http.get(f"/jobs/{job_id}").json()["status"] == "succeeded")
        assert http.post("/jobs", json=JOB, headers={"Idempotency-Key": "k"}).json()["id"] == job_id
        for path in ("/models", "/models/or", "/jobs?status=succeeded", f"/jobs/{job_id}/events", "/readyz"):
            http.get(path).raise_for_status()
        http.put("/models/or/aliases/a", json={"version": 1}).raise_for_status()
        http.post("/predict", json={"model": "or", "alias": "a", "instances": [[0, 1]]}).raise_for_status()
        http.delete("/models/or/aliases/a").raise_for_status()
        http.delete("/models/or").raise_for_status()
        poison = start_job(rig)
        for worker in rig.workers:
            if children_of(worker.pid):
                rig.kill_worker(worker)
        rig.tend()
        wait_for(lambda: http.get(f"/jobs/{poison}").json()["status"] == "failed", 30)
        assert http.get(f"/jobs/{poison}").json()["error"]["code"] == "attempts_exhausted"
        other = start_job(rig)
        assert http.post(f"/jobs/{other}/cancel").json()["status"] == "cancelled"
    assert "NOPERM" not in "".join(log.read_text() for log in rig.folder.glob("*.log"))
    denied = {entry["object"].partition("|")[0] for entry in rig.redis.acl_log()}
    assert denied <= {"info", "client"}  # which are used if they are allowed


def test_a_command_that_is_denied_is_named_in_one_line_until_it_is_allowed(start_rig: StartRig) -> None:
    rig = start_rig(n_workers=0, api_processes=0, acl=(*ALLOWED, "-xadd", "-zscore"))
    worker = rig.start_worker()
    log = rig.folder / "worker-0.log"
    wait_for(lambda: "does not have or denies XADD, ZSCORE (on keys perceptron:* and rq:*)" in log.read_text())
    time.sleep(2)
    assert len(log.read_text().splitlines()) == 1
    rig.redis.execute_command("ACL", "SETUSER", "service", "+xadd", "+zscore")
    wait_for(lambda: "ready for training jobs" in log.read_text())
    assert worker.poll() is None


def test_another_database_than_0_needs_select_and_says_so(start_rig: StartRig, tmp_path: Path) -> None:
    rig = start_rig(n_workers=0, api_processes=0, acl=ALLOWED, BLOB_URL=(tmp_path / "of-1").as_uri())
    rig.settings["REDIS_URL"] += "?db=1"
    rig.start_worker()
    log = rig.folder / "worker-0.log"
    wait_for(lambda: "does not have or denies SELECT" in log.read_text(), 10)
    with pytest.raises(RedisUnreachableError, match="does not have or denies SELECT"):  # what `perceptron up` says
        stack._check_redis(rig.settings["REDIS_URL"])
    rig.redis.execute_command("ACL", "SETUSER", "service", "+select")
    wait_for(lambda: "ready for training jobs" in log.read_text())


def n_lines_about_the_service(log: Path) -> int:
    """How many lines there are but for the one that each request has."""
    return sum('"event":"request"' not in line for line in log.read_text().splitlines())


@pytest.mark.parametrize(
    ("login", "fault"),
    [("", "no password, and this Redis wants one"), (":wrong@", "the wrong user name or password")],
)
def test_a_refused_login_is_one_line_and_503_until_it_is_accepted(start_rig: StartRig, login: str, fault: str) -> None:
    """R35. On 15a4f66, 500 after 4.8 s with 2,000 lines a request (RecursionError), and the worker died."""
    rig = start_rig(n_workers=0, api_processes=1, login=login)
    rig.redis.config_set("requirepass", "right")
    rig.redis.client_kill_filter(_type="normal", skipme=True)
    rig.redis.client_kill_filter(_type="pubsub")
    rig.start_worker()
    reason = f"Redis refuses the login: REDIS_URL has {fault}"
    logs = [rig.folder / "worker-0.log", rig.folder / "api.log"]
    for log in logs:
        wait_for(lambda log=log: f"waiting for Redis: {reason}" in log.read_text())
    n_lines = n_lines_about_the_service(logs[1])
    for path in ("/readyz", "/models", "/jobs"):
        started = time.monotonic()
        answer = httpx.get(rig.url + path)
        assert (answer.status_code, answer.json()["detail"]) == (503, reason)
        assert time.monotonic() - started < 2
    time.sleep(2)
    assert len(logs[0].read_text().splitlines()) == 1
    assert n_lines_about_the_service(logs[1]) <= n_lines + 3  # one for each refused request
    rig.redis.config_set("requirepass", "wrong" if login else "")
    wait_for(rig.is_ready)
    wait_for(lambda: "ready for training jobs" in logs[0].read_text())


def test_a_wrong_host_is_one_line_and_the_worker_keeps_trying(start_rig: StartRig) -> None:
    rig = start_rig(n_workers=0, api_processes=0)
    rig.settings["REDIS_URL"] = "redis://no.such.host.invalid:6379/0"
    worker = rig.start_worker()
    log = rig.folder / "worker-0.log"
    wait_for(lambda: "waiting for Redis: Redis cannot be reached" in log.read_text())
    time.sleep(2)
    (line,) = log.read_text().splitlines()
    assert "no.such.host.invalid:6379" in line and worker.poll() is None
    worker.terminate()
    assert worker.wait(5) == 0


def test_the_documentation_lists_the_commands_that_are_checked() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    listed = text.partition("### Commands")[2].split("```")[1].split()
    assert listed == sorted({command[0] for command in NEEDED} | {"MULTI", "EXEC", "DISCARD"})


@pytest.mark.serial
def test_a_server_whose_socket_was_removed_is_started_again(tmp_path: Path) -> None:
    """R35. On 15a4f66 nobody noticed: no new connection was possible, and no job trained."""
    stack = Stack(tmp_path / "data").start()
    try:
        lock = stack.data_dir / "redis" / "server.lock"
        socket = Path(lock.read_text())
        shutil.rmtree(socket.parent)
        removed_at = time.monotonic()
        wait_for(lambda: "must be started again: its socket" in stack.data_dir.with_suffix(".log").read_text(), 5)
        once = {"Idempotency-Key": "k"}  # what was answered with 503 may have been accepted
        wait_for(lambda: stack.http.post("/jobs", json=JOB, headers=once).status_code == 202, 5)
        print(f"socket removed: jobs are accepted again after {time.monotonic() - removed_at:.1f} s")
        wait_for(lambda: stack.http.get("/jobs").status_code == 200, 5)  # the old server may have taken the job
        (job,) = stack.http.get("/jobs").json()["data"]
        wait_for(lambda: stack.http.get(f"/jobs/{job['id']}").json()["status"] == "succeeded")
    finally:
        stack.kill()
