"""The job record: the truth about every training job. Each transition is one atomic step in Redis."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from redis import Redis, WatchError

from storage import keys
from storage.errors import (
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    NoNetworkError,
    StaleAttemptError,
)
from storage.jobs.events import Event, decode_events
from storage.jobs.record import BestNetwork, Claim, Job, JobStatus, decode_job
from storage.jobs.spec import SPEC, TrainingSpec
from storage.queue import TrainingQueue
from storage.scripts import load_script

_IDEMPOTENCY_S = 24 * 3600
_CHUNK = 200


class JobStore:
    """All training jobs, in Redis.

    Args:
        redis: answers in bytes (`decode_responses=False`), as RQ wants it.
    """

    def __init__(self, redis: Redis, queue: TrainingQueue) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._queue = queue
        self._create = load_script(redis, "create")
        self._claim = load_script(redis, "claim")
        self._heartbeat = load_script(redis, "heartbeat")
        self._checkpoint = load_script(redis, "checkpoint")
        self._drop_checkpoint = load_script(redis, "drop_checkpoint")
        self._progress = load_script(redis, "progress")
        self._record_best = load_script(redis, "record_best")
        self._log = load_script(redis, "log")
        self._fail = load_script(redis, "fail")
        self._hand_back = load_script(redis, "hand_back")
        self._end_dead_attempt = load_script(redis, "end_dead_attempt")
        self._note_ring = load_script(redis, "note_ring")
        self._cancel = load_script(redis, "cancel")
        self._publish = load_script(redis, "publish")

    def submit(
        self,
        model: str,
        spec: TrainingSpec,
        *,
        metadata: Mapping[str, str],
        idempotency_digest: str | None = None,
        fingerprint: str = "",
    ) -> Job:
        """Record a new job and ring for it, in one transaction; or return the job that this request made before.

        Args:
            idempotency_digest: stands for the caller's Idempotency-Key and is remembered for 24 hours.
            fingerprint: digest of the request that the key belongs to.

        Raises:
            IdempotencyKeyReusedError: the key belongs to a request with another fingerprint.
        """
        job_id = f"job_{uuid.uuid4().hex}"
        known_key = keys.idempotency(idempotency_digest) if idempotency_digest else ""
        with self._redis.pipeline() as transaction:
            while True:
                try:
                    if known_key:
                        transaction.watch(known_key)
                        known = transaction.hgetall(known_key)
                        if known:
                            return self._same_request(known, fingerprint)
                        transaction.multi()
                    self._queue.ring(job_id, transaction)
                    self._create(
                        keys=[keys.job(job_id), keys.JOBS, keys.jobs_with_status("queued"), known_key],
                        args=[
                            job_id,
                            model,
                            SPEC.dump_json(spec),
                            orjson.dumps(dict(metadata)),
                            fingerprint,
                            _IDEMPOTENCY_S,
                            spec.data.blob,
                        ],
                        client=transaction,
                    )
                    transaction.execute()
                    return self.get(job_id)
                except WatchError:
                    continue

    def of_request(self, *, idempotency_digest: str, fingerprint: str) -> Job | None:
        """Return the job that an earlier request with this key made; None when there was none.

        Raises:
            IdempotencyKeyReusedError: the key belongs to a request with another fingerprint.
        """
        known = self._redis.hgetall(keys.idempotency(idempotency_digest))
        return self._same_request(known, fingerprint) if known else None

    def _same_request(self, known: Mapping[bytes, bytes], fingerprint: str) -> Job:
        job_id = known[b"job"].decode()
        if known[b"fingerprint"].decode() != fingerprint:
            raise IdempotencyKeyReusedError(job_id)
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """Return the job as it is now.

        Raises:
            JobNotFoundError: there is no such job.
        """
        record = self._redis.hgetall(keys.job(job_id))
        if not record:
            raise JobNotFoundError(job_id)
        return decode_job(job_id, record)

    def page(
        self, *, limit: int, after: str | None = None, status: str | None = None, model: str | None = None
    ) -> tuple[list[Job], bool]:
        """Return up to `limit` jobs, the newest first, and whether there are more.

        Args:
            after: the id of the last job of the page before.

        Raises:
            JobNotFoundError: there is no job with the id `after`.
        """
        after_at_ms = None if after is None else self._redis.zscore(keys.JOBS, after)
        if after is not None and after_at_ms is None:
            raise JobNotFoundError(after)
        # Only with a filter that has no index of its own must more be read than is shown.
        chunk = limit + 1 if model is None else _CHUNK
        page: list[Job] = []
        for job in self._newest_first(after, after_at_ms, status, chunk):
            if model is not None and job.model != model:
                continue
            if len(page) == limit:
                return page, True
            page.append(job)
        return page, False

    def _newest_first(
        self, after: str | None, after_at_ms: float | None, status: str | None, chunk: int
    ) -> Iterator[Job]:
        key = keys.JOBS if status is None else keys.jobs_with_status(status)
        before, n_same = "+inf" if after is None else after_at_ms, 0
        while True:
            # By time and not by rank: jobs that come or change state meanwhile move every rank.
            found = self._redis.zrevrangebyscore(key, before, "-inf", start=n_same, num=chunk, withscores=True)
            # Of equal times the greater id comes first; so what comes up to `after` was on the page before.
            ids = [
                job_id.decode()
                for job_id, created_at_ms in found
                if after is None or created_at_ms < after_at_ms or job_id.decode() < after
            ]
            for job in self._get_many(ids):
                if status is None or job.status == status:
                    yield job
            if len(found) < chunk:
                return
            last = found[-1][1]
            n_same = sum(score == last for _, score in found) + (n_same if last == before else 0)
            before = last

    def _get_many(self, job_ids: list[str]) -> list[Job]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hgetall(keys.job(job_id))
            records = pipeline.execute()
        return [decode_job(job_id, record) for job_id, record in zip(job_ids, records, strict=True) if record]

    def cancel(self, job_id: str) -> Job:
        """Cancel the job, now: whatever its running attempt does afterwards is refused. Repeatable.

        Raises:
            JobNotFoundError: there is no such job.
            JobAlreadyDoneError: it has succeeded or failed.
        """
        status = self._cancel(
            keys=[
                keys.job(job_id),
                keys.jobs_with_status("queued"),
                keys.jobs_with_status("running"),
                keys.jobs_with_status("cancelled"),
            ],
            args=[job_id],
        )
        if status is None:
            raise JobNotFoundError(job_id)
        if status != b"cancelled":
            raise JobAlreadyDoneError(job_id, status.decode())
        return self.get(job_id)

    def claim(self, job_id: str, token: str | None = None) -> Claim | None:
        """Take a queued job; None when there is nothing to do: it is running, done or unknown.

        Args:
            token: a text that only this claim has, for `is_held_by`.
        """
        attempt = self._claim(
            keys=[keys.job(job_id), keys.jobs_with_status("queued"), keys.jobs_with_status("running")],
            args=[job_id, token or uuid.uuid4().hex],
        )
        return None if attempt is None else Claim(self.get(job_id), attempt)

    def is_held_by(self, job_id: str, token: str) -> bool:
        """Say whether the attempt that claimed the job with this token still owns it."""
        status, holder = self._redis.hmget(keys.job(job_id), "status", "claim")
        return bool(status == b"running" and holder == token.encode())

    def heartbeat(self, claim: Claim) -> None:
        """Say that the attempt is alive.

        Raises:
            StaleAttemptError: the attempt no longer owns the job and should stop.
        """
        self._fenced(claim, self._heartbeat(keys=[keys.job(claim.job.id)], args=[claim.attempt]))

    def record_progress(
        self, claim: Claim, progress: Mapping[str, Any], *, point: Mapping[str, Any] | None = None
    ) -> None:
        """Say how far the attempt is, and that it is alive.

        Args:
            point: what becomes an event of the job, a point of its learning curve.

        Raises:
            StaleAttemptError: the attempt no longer owns the job and should stop.
        """
        args: list[Any] = [claim.attempt, orjson.dumps(progress), b"" if point is None else orjson.dumps(point)]
        self._fenced(claim, self._progress(keys=[keys.job(claim.job.id)], args=args))

    def record_best(self, claim: Claim, weights: bytes, figures: Mapping[str, Any]) -> None:
        """Show the best network so far, as safetensors bytes, to whoever wants to predict with it already.

        Args:
            figures: its epoch, cost and validation cost.

        Raises:
            StaleAttemptError: the attempt no longer owns the job and should stop.
        """
        job_id = claim.job.id
        args: list[Any] = [claim.attempt, weights, orjson.dumps(figures)]
        self._fenced(claim, self._record_best(keys=[keys.job(job_id), keys.best_network(job_id)], args=args))

    def best(self, job_id: str) -> BestNetwork:
        """Return the best network so far of a job.

        Raises:
            JobNotFoundError: there is no such job.
            NoNetworkError: it has none: it has just begun, or is done.
        """
        weights, figures = self._redis.hmget(keys.best_network(job_id), "weights", "figures")
        job = self.get(job_id)
        if weights is None or job.is_done:
            raise NoNetworkError(job_id, job.status)
        return BestNetwork(job, weights, orjson.loads(figures))

    def log(self, claim: Claim, message: str) -> None:
        """Add a line to the events of the job, for its owner to read.

        Raises:
            StaleAttemptError: the attempt no longer owns the job and should stop.
        """
        line = orjson.dumps({"attempt": claim.attempt, "message": message})
        self._fenced(claim, self._log(keys=[keys.job(claim.job.id)], args=[claim.attempt, line]))

    def record_checkpoint(self, claim: Claim, *, blob: str, total_epochs: int) -> bool:
        """Say from where the next attempt can go on. An older checkpoint never takes the place of a newer one.

        Args:
            blob: sha256 of the checkpoint in the blob store, where it must be safe by now.

        Returns:
            Whether it is the job's checkpoint now.

        Raises:
            StaleAttemptError: the attempt no longer owns the job; the checkpoint is nobody's.
        """
        answer = self._checkpoint(keys=[keys.job(claim.job.id)], args=[claim.attempt, blob, total_epochs])
        self._fenced(claim, answer)
        return bool(answer == 1)

    def drop_checkpoint(self, claim: Claim) -> None:
        """Forget the job's checkpoint: nobody can go on from it.

        Raises:
            StaleAttemptError: the attempt no longer owns the job.
        """
        self._fenced(claim, self._drop_checkpoint(keys=[keys.job(claim.job.id)], args=[claim.attempt]))

    def events(self, job_id: str, *, limit: int, after: str | None = None) -> tuple[list[Event], bool]:
        """Return up to `limit` events, the oldest first, and whether there are more.

        Args:
            after: the id of the last event of the page before.

        Raises:
            JobNotFoundError: there is no such job.
        """
        if not self._redis.exists(keys.job(job_id)):
            raise JobNotFoundError(job_id)
        start = "-" if after is None else f"({after}"
        page = decode_events(self._redis.xrange(keys.events(job_id), start, "+", count=limit + 1))
        return page[:limit], len(page) > limit

    def publish(
        self,
        claim: Claim,
        *,
        weights: bytes,
        description: Mapping[str, Any],
        result: Mapping[str, Any],
    ) -> int:
        """Make the trained network the model's next version, move the alias asked for and finish the job: one step.

        Returns:
            The new version's number.

        Raises:
            StaleAttemptError: the attempt no longer owns the job; nothing was published.
        """
        job = claim.job
        version = self._publish(
            keys=[
                keys.job(job.id),
                keys.jobs_with_status("running"),
                keys.jobs_with_status("succeeded"),
                keys.VERSION_NUMBERS,
                keys.MODELS,
                keys.versions(job.model),
                keys.aliases(job.model),
                keys.version(job.model, ""),
            ],
            args=[
                job.id,
                claim.attempt,
                job.model,
                weights,
                orjson.dumps(description),
                orjson.dumps(result),
                job.spec.alias or "",
            ],
        )
        self._fenced(claim, version)
        return int(version)

    def fail(self, claim: Claim, error: Mapping[str, Any]) -> None:
        """End the job without a model.

        Raises:
            StaleAttemptError: the attempt no longer owns the job.
        """
        self._fenced(
            claim,
            self._fail(
                keys=[
                    keys.job(claim.job.id),
                    keys.jobs_with_status("running"),
                    keys.jobs_with_status("failed"),
                ],
                args=[claim.job.id, claim.attempt, orjson.dumps(error)],
            ),
        )

    def hand_back(self, claim: Claim) -> None:
        """Let the job wait for another attempt, and ring for it.

        Raises:
            StaleAttemptError: the attempt no longer owns the job.
        """
        job_id = claim.job.id
        self._fenced(
            claim,
            self._hand_back(
                keys=[keys.job(job_id), keys.jobs_with_status("running"), keys.jobs_with_status("queued")],
                args=[job_id, claim.attempt],
            ),
        )
        self._queue.ring(job_id)

    def end_dead_attempt(
        self,
        job_id: str,
        attempt: int,
        last_heartbeat: int,
        *,
        max_deaths: int,
        error: Mapping[str, Any],
        counts: bool = True,
    ) -> JobStatus | None:
        """Queue the job of an attempt that died again, or fail it with the error when too many have died.

        A death counts when the attempt left no checkpoint that is newer than any before it.

        Args:
            counts: false when the attempt could not help it, as in an outage of Redis.

        Returns:
            The job's new state; None when the attempt has gone on since its last heartbeat, or owns the job no more.
        """
        status = self._end_dead_attempt(
            keys=[
                keys.job(job_id),
                keys.jobs_with_status("running"),
                keys.jobs_with_status("queued"),
                keys.jobs_with_status("failed"),
            ],
            args=[job_id, attempt, last_heartbeat, max_deaths, orjson.dumps(error), int(counts)],
        )
        if status == b"queued":
            self._queue.ring(job_id)
            return "queued"
        return "failed" if status == b"failed" else None

    def ring_again(self, job_id: str) -> None:
        """Ring for a job whose ring was lost, if it is still queued."""
        if self._note_ring(keys=[keys.job(job_id)]):
            self._queue.ring(job_id)

    @staticmethod
    def _fenced(claim: Claim, answer: int) -> None:
        if not answer:
            raise StaleAttemptError(claim.job.id, claim.attempt)
