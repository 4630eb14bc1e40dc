"""All training jobs. The record of a job in Redis is the truth about it, and each transition is one atomic step."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from redis import Redis, WatchError

from storage import keys
from storage.codec import decode_names
from storage.damage import each_answer, names, reported
from storage.errors import (
    CorruptDataError,
    DatasetNotFoundError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    NoNetworkError,
    QueueFullError,
    UnavailableError,
)
from storage.jobs.attempt import Attempt
from storage.jobs.events import Event, decode_events
from storage.jobs.record import (
    LISTED_FIELDS,
    METADATA,
    BestNetwork,
    Job,
    JobStatus,
    SilentAttempt,
    decode_job,
    ids_in,
)
from storage.jobs.reports import ERROR, FIGURES, JobError
from storage.jobs.spec import SPEC, TrainingSpec, encode_spec
from storage.log.faults import describe
from storage.queue import TrainingQueue
from storage.scripts import load_script
from storage.store_settings import UNLIMITED
from storage.tenants import local, owned, tenant_of

_IDEMPOTENCY_S = 24 * 3600
_CHUNK = 200


class _Place(NamedTuple):
    """Where a job stands in its tenant's list."""

    member: bytes
    created_at_ms: float


class JobStore:
    """All training jobs, in Redis.

    Args:
        redis: answers in bytes (`decode_responses=False`), as RQ wants it.
    """

    def __init__(self, redis: Redis, queue: TrainingQueue) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._queue = queue

    def submit(
        self,
        model: str,
        spec: TrainingSpec,
        *,
        metadata: Mapping[str, str],
        idempotency_digest: str | None = None,
        fingerprint: str = "",
        max_queued: int = UNLIMITED,
        webhook: str | None = None,
        trace: Mapping[str, str] = MappingProxyType({}),
    ) -> Job:
        """Record a new job and enqueue it, in one transaction; or return the job that this request made before.

        Args:
            idempotency_digest: stands for the caller's Idempotency-Key and is remembered for 24 hours.
            fingerprint: digest of the request that the key belongs to.
            max_queued: how many jobs of one tenant may wait.
            webhook: the URL that is told the end of the job.
            trace: what the spans of the job belong to, as `storage.log.traces` carries it.

        Raises:
            QueueFullError: as many wait already.
            IdempotencyKeyReusedError: the key belongs to a request with another fingerprint.
            UnavailableError: the blob of the instances is being deleted; store it again some seconds later.
            DatasetNotFoundError: the data set has been deleted.
        """
        tenant = tenant_of(model)
        job_id = owned(tenant, f"job_{uuid.uuid4().hex}")
        short, dataset = spec.shortened(), spec.data.dataset
        known_key = keys.idempotency(idempotency_digest, tenant) if idempotency_digest else ""
        with self._redis.pipeline() as transaction:
            while True:
                try:
                    if known_key:
                        transaction.watch(known_key)
                        known = transaction.hgetall(known_key)
                        if known:
                            return self._same_request(known, fingerprint, tenant)
                        transaction.multi()
                    entry = self._queue.enqueue(job_id, transaction)
                    load_script(transaction, "create")(
                        keys=[
                            keys.job(job_id),
                            keys.jobs(tenant),
                            keys.jobs_with_status("queued", tenant),
                            known_key,
                            keys.being_deleted(spec.data.blob),
                            *([keys.dataset(owned(tenant, dataset))] if dataset else []),
                        ],
                        args=[
                            local(model),
                            encode_spec(spec),
                            METADATA.dump_json(dict(metadata)),
                            spec.data.blob,
                            fingerprint,
                            _IDEMPOTENCY_S,
                            # A worker of before 0.1.0 knows only `spec`, and no names that are with the instances.
                            encode_spec(short) if short else b"",
                            max_queued,
                            webhook or "",
                            METADATA.dump_json(dict(trace)) if trace else b"",
                        ],
                    )
                    outcome = transaction.execute()[-1]
                    if outcome is None or outcome < 0:
                        self._queue.withdraw(entry)
                    if outcome is None:
                        raise UnavailableError("old instances with the same content are being deleted")
                    if outcome == -2:
                        raise QueueFullError(max_queued)
                    if outcome == -1:
                        raise DatasetNotFoundError(dataset or "")
                    return self.get(job_id)
                except WatchError:
                    continue

    def check_queue(self, tenant: str, max_queued: int) -> None:
        """Check that one more job of a tenant may wait, before anything is stored for it. `submit` checks it again.

        Raises:
            QueueFullError: as many wait already.
        """
        if self._redis.zcard(keys.jobs_with_status("queued", tenant)) >= max_queued:
            raise QueueFullError(max_queued)

    def of_request(self, *, idempotency_digest: str, fingerprint: str, tenant: str = "") -> Job | None:
        """Return the job that an earlier request of the tenant with this key made; None when there was none.

        Raises:
            IdempotencyKeyReusedError: the key belongs to a request with another fingerprint.
        """
        known = self._redis.hgetall(keys.idempotency(idempotency_digest, tenant))
        return self._same_request(known, fingerprint, tenant) if known else None

    def _same_request(self, known: Mapping[bytes, bytes], fingerprint: str, tenant: str) -> Job:
        try:
            job_id, its_fingerprint = owned(tenant, known[b"job"].decode()), known[b"fingerprint"].decode()
        except (KeyError, ValueError) as error:
            raise CorruptDataError(f"what is known of an Idempotency-Key cannot be read: {describe(error)}") from error
        if its_fingerprint != fingerprint:
            raise IdempotencyKeyReusedError(job_id)
        return self.get(job_id)

    @names("job")
    def get(self, job_id: str) -> Job:
        """Return the job as it is now.

        Raises:
            JobNotFoundError: there is no such job.
        """
        record = self._redis.hgetall(keys.job(job_id))
        if not record:
            raise JobNotFoundError(job_id)
        return decode_job(job_id, {name.decode("ascii", "replace"): value for name, value in record.items()})

    def page(
        self,
        *,
        limit: int,
        tenant: str = "",
        after: str | None = None,
        status: str | None = None,
        model: str | None = None,
    ) -> tuple[list[Job], bool]:
        """Return up to `limit` jobs of a tenant, the newest first, and whether there are more.

        Args:
            after: the id of the last job of the page before.

        Raises:
            JobNotFoundError: the tenant has no job with the id `after`.
        """
        before = None
        if after is not None:
            created_at_ms = self._redis.zscore(keys.jobs(tenant), local(after)) if tenant_of(after) == tenant else None
            if created_at_ms is None:
                raise JobNotFoundError(after)
            before = _Place(local(after).encode(), created_at_ms)
        ids = self._newest_first(tenant, before, status, model, limit + 1)
        page: list[Job] = []
        while wanted := list(islice(ids, limit + 1 - len(page))):
            for job in self.get_many(wanted):
                if status is not None and job.status != status:
                    continue  # it has changed its state meanwhile
                if len(page) == limit:
                    return page, True
                page.append(job)
        return page, False

    def _newest_first(
        self, tenant: str, after: "_Place | None", status: str | None, model: str | None, n_wanted: int
    ) -> Iterator[str]:
        key = keys.jobs(tenant) if status is None else keys.jobs_with_status(status, tenant)
        # Only with a filter that has no index of its own must more be looked at than is shown.
        chunk = n_wanted if model is None else _CHUNK
        before, n_same = "+inf" if after is None else after.created_at_ms, 0
        while True:
            # By time and not by rank: jobs that come or change state meanwhile move every rank.
            found = self._redis.zrevrangebyscore(key, before, "-inf", start=n_same, num=chunk, withscores=True)
            # Of equal times the greater id comes first; so what comes up to `after` was on the page before.
            members = [
                member
                for member, created_at_ms in found
                if after is None or created_at_ms < after.created_at_ms or member < after.member
            ]
            ids = ids_in(key, members, tenant)
            yield from ids if model is None else self._of_model(ids, model)
            if len(found) < chunk:
                return
            last = found[-1][1]
            n_same = sum(score == last for _, score in found) + (n_same if last == before else 0)
            before = last

    def _of_model(self, job_ids: list[str], model: str) -> list[str]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hget(keys.job(job_id), "model")
            models = each_answer(pipeline)
        # A record of the wrong type may be of this model: reading it tells what is wrong with it.
        return [
            job_id
            for job_id, its in zip(job_ids, models, strict=True)
            if its == local(model).encode() or isinstance(its, Exception)
        ]

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Return those of the jobs that exist and can be read, without leaderboards; what is damaged is reported."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), LISTED_FIELDS)
            records = each_answer(pipeline)
            has_spec = LISTED_FIELDS.index("short_spec")
            others = [k for k, values in enumerate(records) if isinstance(values, list) and values[has_spec] is None]
            for k in others:
                pipeline.hget(keys.job(job_ids[k]), "spec")
            for k, spec in zip(others, each_answer(pipeline), strict=True):
                records[k][has_spec] = spec
        jobs = []
        for job_id, values in zip(job_ids, records, strict=True):
            with reported(f"job {job_id}"):
                if isinstance(values, Exception):
                    raise values
                record = {name: value for name, value in zip(LISTED_FIELDS, values, strict=True) if value is not None}
                if record:
                    jobs.append(decode_job(job_id, record))
        return jobs

    @names("job")
    def cancel(self, job_id: str) -> Job:
        """Cancel the job at once: whatever its running attempt does afterwards is refused. Repeatable.

        Raises:
            JobNotFoundError: there is no such job.
            JobAlreadyDoneError: it has succeeded or failed.
        """
        indexes = _indexes(job_id, "queued", "running", "cancelled")
        status = load_script(self._redis, "cancel")(keys=[keys.job(job_id), *indexes])
        if status is None:
            raise JobNotFoundError(job_id)
        if status != b"cancelled":
            raise JobAlreadyDoneError(job_id, status.decode())
        return self.get(job_id)

    @names("job")
    def claim(self, job_id: str, token: str | None = None) -> Attempt | None:
        """Begin the next attempt of a queued job; None when there is nothing to do: it is running, done or unknown.

        Args:
            token: a text that only this claim has, for `is_held_by`.
        """
        number = load_script(self._redis, "claim")(
            keys=[keys.job(job_id), *_indexes(job_id, "queued", "running")],
            args=[token or uuid.uuid4().hex, self._queue.max_running],
        )
        if number == 0:
            self._queue.give_back(job_id)  # another worker took one of its tenant's jobs in the same moment
        if not number:
            return None
        return Attempt(self._redis, self._queue, self.get(job_id), number)

    def current_attempt(self, job_id: str) -> Attempt:
        """Return the newest attempt of a job. If it no longer owns the job, its steps are refused.

        Raises:
            JobNotFoundError: there is no such job.
        """
        job = self.get(job_id)
        return Attempt(self._redis, self._queue, job, job.attempt)

    @names("job")
    def is_held_by(self, job_id: str, token: str) -> bool:
        """Return whether the attempt that claimed the job with this token still owns it."""
        status, holder = self._redis.hmget(keys.job(job_id), "status", "claim")
        return bool(status == b"running" and holder == token.encode())

    @names("job")
    def best(self, job_id: str) -> BestNetwork:
        """Return the best network so far of a job.

        Raises:
            JobNotFoundError: there is no such job.
            NoNetworkError: it has none: it has just begun, or is done.
            CorruptDataError: its figures cannot be read.
        """
        weights, figures, feature_names = self._redis.hmget(
            keys.best_network(job_id), "weights", "figures", "feature_names"
        )
        job = self.get(job_id)
        if weights is None or job.is_done:
            raise NoNetworkError(job_id, job.status)
        if feature_names is not None:
            job = replace(job, spec=replace(job.spec, feature_names=decode_names(feature_names)))
        try:
            if not job.spec.feature_names:  # a worker of before 0.1.0 trains the job
                job = replace(job, spec=SPEC.validate_json(self._redis.hget(keys.job(job_id), "spec")))
            return BestNetwork(job, weights, FIGURES.validate_json(figures))
        except ValueError as error:
            raise CorruptDataError(f"the best network of job {job_id!r} cannot be read: {describe(error)}") from error

    @names("job")
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
        entries = self._redis.xrange(keys.events(job_id), start, "+", count=limit + 1)
        return decode_events(job_id, entries[:limit]), len(entries) > limit

    def end_dead_attempt(self, dead: SilentAttempt, *, max_attempts: int, counts: bool) -> JobStatus | None:
        """Queue the job of a dead attempt again, or fail it when too many of its attempts have died.

        A death counts only when the attempt left no checkpoint newer than all before it.

        Args:
            max_attempts: how many deaths end the job.
            counts: false when the attempt was not to blame, as in an outage of Redis.

        Returns:
            The job's new state; None when the attempt is alive after all or no longer owns the job.
        """
        detail = (
            f"{max_attempts} attempts died without getting further than those before, the last one was attempt "
            f"{dead.number}; does the job fit in memory?"
        )
        status = load_script(self._redis, "end_dead_attempt")(
            keys=[keys.job(dead.job_id), *_indexes(dead.job_id, "running", "queued", "failed")],
            args=[
                dead.number,
                dead.heartbeat_at_ms,
                max_attempts,
                ERROR.dump_json(JobError("attempts_exhausted", detail)),
                int(counts),
            ],
        )
        if status == b"queued":
            self._queue.enqueue(dead.job_id)
            return "queued"
        return "failed" if status == b"failed" else None

    @names("job")
    def enqueue_again(self, job_id: str) -> None:
        """Enqueue a job whose queue entry was lost, if it is still queued."""
        if load_script(self._redis, "note_enqueued")(keys=[keys.job(job_id)]):
            self._queue.enqueue(job_id)


def _indexes(job_id: str, *statuses: JobStatus) -> list[str]:
    return [keys.jobs_with_status(status, tenant_of(job_id)) for status in statuses]
