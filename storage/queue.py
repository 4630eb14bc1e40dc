"""The doorbell: RQ, reduced to ringing for a job id. The job record, not RQ, says what became of a job."""

import uuid
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Worker
from rq.job import Job as RqJob

from storage.scripts import load_script

QUEUE_NAME = "training"

TRAIN_TASK = "worker.tasks.train_model"
"""The task's dotted name, so that the service need not import the worker. A test resolves it."""

_KEEP_S = 24 * 3600
_LONGEST_TASK_S = 7 * 24 * 3600


class TrainingQueue:
    """Rings for jobs."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._take = load_script(redis, "take_ring")
        self.rq_queue = Queue(QUEUE_NAME, connection=redis, serializer="json")

    def ring(self, job_id: str, pipeline: Pipeline | None = None) -> None:
        """Ask some worker to train this job. Ringing twice is harmless: the second claim is refused.

        Each ring is an RQ job of its own. RQ may still write the end of an earlier ring when the job has been
        handed back and rung for again; under one id, the late write would delete the new ring.

        Args:
            pipeline: a transaction that the ring becomes part of; it must be in MULTI mode or without a WATCH.
        """
        self.rq_queue.enqueue_call(
            TRAIN_TASK,
            args=(job_id,),
            job_id=f"{job_id}-{uuid.uuid4().hex[:8]}",
            timeout=_LONGEST_TASK_S,
            ttl=None,
            result_ttl=0,
            failure_ttl=_KEEP_S,
            description=job_id,
            pipeline=pipeline,
        )

    def take(self) -> str | None:
        """Take the ring that waits longest, past RQ, and return its job's id; None when no ring waits.

        Who takes it and dies has lost it: then the reconciler rings again.
        """
        ring = self._take(keys=[self.rq_queue.key], args=[RqJob.key_for("")])
        return None if ring is None else self.job_id_of(ring.decode())

    def waiting_job_ids(self) -> set[str]:
        """Return the ids of the jobs whose ring no worker has taken yet."""
        rings: list[bytes] = self._redis.lrange(self.rq_queue.key, 0, -1)
        return {self.job_id_of(ring.decode()) for ring in rings}

    @staticmethod
    def job_id_of(ring_id: str) -> str:
        """Return the id of the job that a ring is for."""
        return ring_id.partition("-")[0]

    def n_workers(self) -> int:
        """Return how many training workers are registered; one killed hard stays so for about a minute."""
        return Worker.count(queue=self.rq_queue)
