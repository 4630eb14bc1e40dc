"""The queue of training jobs, on RQ. This module is where RQ ends and ours begins.

RQ carries a job's id to a worker process and nothing else. The job record decides what became of the job, because RQ's
own status is not final: an RQ job whose worker died can show failed and then finished, or run twice. An entry may be
lost or doubled without harm: the reconciler enqueues again what was lost, and the second claim of a job is refused.

Entries arrive in RQ's list, which wakes a worker, and releases before this one know no other place. Whoever looks for a
job moves them into a queue for each tenant: thousands of jobs of a tenant at its limit are in nobody's way there.

RQ also writes a record of each entry: a function, arguments, callbacks, webhooks, and so on. Nothing here reads it,
because whoever can write to Redis could name any function in it.

`worker/process.py` has the other side, RQ's worker with our settings.
"""

import logging
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Worker
from rq.job import Job as RqJob
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage import keys
from storage.damage import each_answer, reported
from storage.jobs.known_tenants import every_tenant
from storage.scripts import load_script
from storage.tenants import TENANT_PATTERN, owned, tenant_of

QUEUE_NAME = "training"

TRAIN_TASK = "worker.tasks.train_model"
"""What RQ's record of an entry names as its function, for RQ's own tools; the worker knows what to run."""

_log = logging.getLogger(__name__)

OLDEST_SERVER = (6, 2, 0)
"""The oldest version of Redis that has every command that is used here."""

NO_TIME_LIMIT = -1
"""RQ's word for an entry that it lets run for ever: the time limit of a job is ours, and a job without one has none."""

_KEEP_S = 24 * 3600

_MORE = 1
"""The script's answer when more entries have to be moved first."""

_BEFORE_ALL = -1
"""A place in a tenant's queue before all that `take_entry.lua` gives."""

_AT_LIMIT_S = 0.2
"""How soon a worker looks again when all that wait are of tenants that may run no more."""

_LOOK_EVERY_S = 1.0
"""How soon it looks again otherwise: another worker may have moved an entry just before this one began to wait."""

_SHORTEST_WAIT_S = 0.01
"""Older servers round a shorter one to 0, which is for ever."""


@dataclass(frozen=True)
class RegisteredWorker:
    """What a training worker tells about itself in Redis."""

    name: str
    hostname: str
    pid: int
    state: str
    last_heartbeat_at: datetime
    rq_version: str
    python_version: str

    @classmethod
    def of(cls, key: bytes, fields: Mapping[bytes, bytes]) -> "RegisteredWorker":
        """Read what RQ wrote.

        Raises:
            KeyError, ValueError: it is not what RQ writes.
        """
        text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
        return cls(
            name=key.decode(errors="replace").rpartition(":")[2],
            hostname=text["hostname"],
            pid=int(text["pid"]),
            state=text.get("state", "starting"),
            last_heartbeat_at=datetime.fromisoformat(text["last_heartbeat"]),
            rq_version=text["version"],
            python_version=text["python_version"].partition(" ")[0],
        )


class TrainingQueue:
    """The ids of the jobs that wait for a worker.

    Args:
        max_running: how many jobs of one tenant may run at once; 0: as many as there are workers.
    """

    def __init__(self, redis: Redis, *, max_running: int = 0) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self.max_running = max_running
        # Where RQ keeps the version that it reads from INFO when it enqueues, a command that managed Redis may deny.
        setattr(redis, "__rq_redis_server_version", OLDEST_SERVER)
        self.rq_queue = Queue(QUEUE_NAME, connection=redis, serializer="json")

    def enqueue(self, job_id: str, pipeline: Pipeline | None = None) -> str:
        """Ask some worker to train this job. Enqueueing twice is harmless: the second claim is refused.

        Each entry is an RQ job of its own. RQ may still be writing the end of one entry when the job was handed back
        and enqueued again; if both had one id, that late write would delete the new entry.

        Args:
            pipeline: a transaction that the entry becomes part of; it must be in MULTI mode or without a WATCH.

        Returns:
            The entry, for `withdraw`.
        """
        entry = _entry(job_id)
        self.rq_queue.enqueue_call(
            TRAIN_TASK,
            args=(job_id,),
            job_id=entry,
            timeout=NO_TIME_LIMIT,
            ttl=None,
            result_ttl=0,
            failure_ttl=_KEEP_S,
            description=job_id,
            pipeline=pipeline,
        )
        return entry

    def withdraw(self, entry: str) -> None:
        """Take an entry out again whose job was refused. One that was moved meanwhile is refused at its claim."""
        self._redis.lrem(self.rq_queue.key, 1, entry)
        self._redis.unlink(RqJob.key_for(entry))

    def give_back(self, job_id: str) -> None:
        """Put a job that was taken back before all others of its tenant."""
        self._redis.zadd(keys.queue(tenant_of(job_id)), {job_id: _BEFORE_ALL}, nx=True)

    def take(self, *, wait_s: float = 0.0) -> str | None:
        """Take an entry, without RQ, and return its job's id; None if there is none, or if it names no job.

        The oldest one, unless jobs of several tenants wait: `take_entry.lua` says whose turn it is then.

        If the caller dies before it claims the job, the entry is lost and the reconciler enqueues the job again.

        Args:
            wait_s: how long to wait for an entry, less than the time limit of the connection.
        """
        until = time.monotonic() + wait_s
        found = self._take(b"")
        while not found and (left_s := until - time.monotonic()) > 0:
            most_s = _LOOK_EVERY_S if found is None else _AT_LIMIT_S
            timeout_s = max(min(left_s, most_s), _SHORTEST_WAIT_S)
            _, first = self._redis.blpop([self.rq_queue.key], timeout=timeout_s) or (None, b"")
            found = self._take(first)
        if not found:
            return None
        job_id = found.decode("ascii", "replace")
        if not keys.is_job_id(job_id):
            _log.warning("the queue entry %.100r is none of ours and was dropped", found)
            return None
        return job_id

    def _take(self, given_back: bytes) -> bytes | None:
        """Return what the script found. It moves a part of the entries at a time, so that Redis can answer others."""
        run = load_script(self._redis, "take_entry")
        found: bytes | int | None = _MORE
        while found == _MORE:
            found = run(keys=[self.rq_queue.key, keys.TURNS], args=[RqJob.key_for(""), self.max_running, given_back])
            given_back = b""
        assert not isinstance(found, int), "as the script says"
        return found

    def waiting_job_ids(self) -> set[str]:
        """Return the ids of the jobs in the queue, which no worker has taken yet.

        Raises:
            redis.ResponseError: RQ's list is damaged. A damaged queue of a tenant is reported.
        """
        queues = [keys.queue(tenant) for tenant in every_tenant(self._redis)]
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.lrange(self.rq_queue.key, 0, -1)  # first, so that an entry which is moved now is seen in one place
            for queue in queues:
                pipeline.zrange(queue, 0, -1)
            entries, *found = each_answer(pipeline)
        if isinstance(entries, Exception):
            raise entries
        job_ids = {job_id for entry in entries if (job_id := _job_id(entry)) is not None}
        for queue, members in zip(queues, found, strict=True):
            with reported(queue):
                if isinstance(members, Exception):
                    raise members
                job_ids.update(member.decode("ascii", "replace") for member in members)
        return job_ids

    def n_workers(self) -> int:
        """Return how many training workers are registered. One that was killed stays so for about a minute."""
        return Worker.count(queue=self.rq_queue)

    def workers(self) -> list[RegisteredWorker]:
        """Return the registered training workers, in the order of their names."""
        found = []
        for key in sorted(self._redis.smembers(WORKERS_BY_QUEUE_KEY % QUEUE_NAME)):
            fields = self._redis.hgetall(key)
            with suppress(KeyError, ValueError):  # it expired just now, or nobody of ours wrote it
                found.append(RegisteredWorker.of(key, fields))
        return found


_read_entry = re.compile(rf"(?:({TENANT_PATTERN})-)?({keys.JOB_ID_PATTERN})-[0-9a-f]{{8}}").fullmatch


def _entry(job_id: str) -> str:
    """Return the id of an entry in the queue: RQ takes letters, digits, `_` and `-`."""
    return f"{job_id.replace('/', '-')}-{uuid.uuid4().hex[:8]}"


def _job_id(entry: bytes) -> str | None:
    match = _read_entry(entry.decode("ascii", "replace"))
    return None if match is None else owned(match[1] or "", match[2])
