"""Takes what is due from the outbox and delivers it, many receivers at a time."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeGuard

import orjson

from storage.availability import is_unavailable, is_wrong_type
from storage.jobs.record import Job
from storage.jobs.shown import JobEndedPayload
from storage.jobs.store import JobStore
from storage.log.form import members_of
from storage.log.unexpected import log_unexpected
from storage.tenants import tenant_of
from storage.webhooks.outbox import WebhookOutbox
from storage.webhooks.receivers import Receiver, ReceiverRefusedError
from storage.webhooks.record import Webhook
from storage.webhooks.settings import WebhookSettings
from worker.webhooks.sending import DeliveryError, Sender
from worker.webhooks.signing import signed_headers

WAITS_S = (1, 5, 30, 120, 600, 3_600, 7_200, 14_400, 28_800, 28_800)
"""Between two attempts. The last one comes about 23 hours after the first."""

JITTER = 0.2
"""By so much of itself a wait differs, so that the events of one outage do not all come back at once."""

MAX_AT_ONCE = 64
MAX_OF_TENANT = 24
MAX_OF_HOST = 4
"""Of the deliveries at a time. A receiver that does not answer holds each for 10 s; the others need some meanwhile."""

TAKEN_AT_ONCE = 100
LOOK_EVERY_S = 0.5
PUT_OFF_S = 1.0
"""At least this long a job waits if there are too many deliveries to its host or of its tenant."""

AWAY_S = 1.0
_SAY_EVERY_S = 30.0

_log = logging.getLogger(__name__)


class Deliverer:
    """Delivers events until it is told to stop.

    Several may work on the same outbox: a job that was taken is theirs who took it, for the time of a lease.

    Args:
        clock: seconds since 1970.
        draw: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        outbox: WebhookOutbox,
        jobs: JobStore,
        settings: WebhookSettings,
        sender: Sender,
        *,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._jobs = jobs
        self._settings = settings
        self._sender = sender
        self._clock = clock
        self._draw = draw
        self._under_way: set[asyncio.Task[None]] = set()
        self._n_of: Counter[str] = Counter()
        """Deliveries under way by host, and by tenant with a slash behind it."""
        self._say_again_at_s = float("-inf")

    async def run(self, must_stop: Callable[[], bool]) -> None:
        """Deliver what is due, whenever something is."""
        while not must_stop():
            try:
                n_taken = await self._start_due()
            except Exception as error:
                self._tell(error)
                await asyncio.sleep(AWAY_S)
                continue
            if n_taken < TAKEN_AT_ONCE or len(self._under_way) >= MAX_AT_ONCE:
                await asyncio.sleep(LOOK_EVERY_S)

    async def finish(self, timeout_s: float) -> None:
        """Wait for the deliveries under way; after the time they are left to whoever takes them next."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout_s)

    async def _start_due(self) -> int:
        """Begin to deliver what is due. Return how many jobs were taken."""
        n_free = MAX_AT_ONCE - len(self._under_way)
        if n_free == 0:
            return 0
        # Store calls block, so they have threads: what is under way keeps its time limits.
        await asyncio.to_thread(self._outbox.share_alarms)
        job_ids = await asyncio.to_thread(self._outbox.take, TAKEN_AT_ONCE)
        if not job_ids:
            return 0
        jobs = await asyncio.to_thread(self._jobs.get_many, job_ids)
        due = [(job, job.webhook) for job in jobs if job.is_done and _is_due(job.webhook)]
        put_off = [job.id for job, webhook in due if not self._start(job, webhook)]
        if put_off:
            await asyncio.to_thread(self._outbox.postpone, put_off, PUT_OFF_S)
        if others := set(job_ids) - {job.id for job, _ in due}:
            await asyncio.to_thread(self._outbox.drop_unless_due, sorted(others))
        return len(job_ids)

    def _start(self, job: Job, webhook: Webhook) -> bool:
        """Begin to deliver the end of a job, unless there are too many under way."""
        receiver: Receiver | None = None
        refusal = ""
        try:
            receiver = self._settings.receiver(webhook.url)  # once more: the settings may be others now
        except ReceiverRefusedError as error:
            refusal = str(error)
        limits = [(f"{tenant_of(job.id)}/", MAX_OF_TENANT)]
        if receiver is not None:
            limits.append((receiver.authority, MAX_OF_HOST))
        if len(self._under_way) >= MAX_AT_ONCE or any(self._n_of[name] >= most for name, most in limits):
            return False
        names = [name for name, _ in limits]
        self._n_of.update(names)
        task = asyncio.create_task(self._deliver(job, webhook.attempts + 1, receiver, refusal))
        self._under_way.add(task)
        task.add_done_callback(lambda done: self._forget(done, job.id, names))
        return True

    def _forget(self, done: asyncio.Task[None], job_id: str, names: Sequence[str]) -> None:
        self._under_way.discard(done)
        self._n_of.subtract(names)
        self._n_of += Counter()  # drops what is 0
        if not done.cancelled() and (error := done.exception()) is not None:
            self._tell(error, **members_of(job_id))

    async def _deliver(self, job: Job, attempts: int, receiver: Receiver | None, refusal: str) -> None:
        extra = members_of(job.id)
        try:
            if receiver is None:
                raise DeliveryError(f"its URL {refusal}", was_sent=False)
            await self._send(job, receiver)
        except DeliveryError as error:
            wait_s = None if error.is_final or attempts > len(WAITS_S) else self._wait_s(attempts)
            what = "given up" if wait_s is None else f"again in {wait_s:.0f} s"
            _log.warning("webhook of job %s: attempt %d: %s; %s", job.id, attempts, error, what, extra=extra)
            await asyncio.to_thread(
                self._outbox.note_failed,
                job.id,
                attempts=attempts,
                error=str(error),
                wait_s=wait_s,
                was_sent=error.was_sent,
            )
        else:
            await asyncio.to_thread(self._outbox.note_delivered, job.id, attempts=attempts)
            _log.info("webhook of job %s: delivered", job.id, extra=extra)

    async def _send(self, job: Job, receiver: Receiver) -> None:
        """Write the event of a job, sign it and send it.

        Raises:
            DeliveryError: it was not accepted, or cannot be written: the other attempts come as with any failure.
        """
        try:
            event = JobEndedPayload.of(job)
            body = orjson.dumps(event.model_dump())
            secrets = self._settings.secrets_of(tenant_of(job.id))
            headers = signed_headers(event.id, body, secrets=secrets, timestamp_s=int(self._clock()))
        except Exception as error:
            log_unexpected(_log, error, "webhook of job %s: no event could be written", job.id, **members_of(job.id))
            raise DeliveryError("the event could not be written (internal error)") from error
        await self._sender.post(receiver, body, headers)

    def _wait_s(self, attempts: int) -> float:
        return WAITS_S[attempts - 1] * (1 + JITTER * (2 * self._draw() - 1))

    def _tell(self, error: BaseException, **members: str) -> None:
        if not is_unavailable(error) and not is_wrong_type(error):
            log_unexpected(_log, error, "unexpected error while delivering to webhooks", **members)
        elif (now := time.monotonic()) >= self._say_again_at_s:
            _log.warning("webhooks wait for Redis: %s", error)
            self._say_again_at_s = now + _SAY_EVERY_S


def _is_due(webhook: Webhook | None) -> TypeGuard[Webhook]:
    return webhook is not None and webhook.delivered_at_ms is None
