"""`client.jobs`: train models."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Unpack

import httpx

from perceptron_client._async.http import AsyncHttp
from perceptron_client.answers.jobs import DryRun, Event, Job
from perceptron_client.bars import job_bar
from perceptron_client.bodies.json_text import to_json
from perceptron_client.bodies.training import TrainingMembers, training_request
from perceptron_client.errors import JobAlreadyDone, JobCancelled, JobFailed, JobNotDone
from perceptron_client.interrupts import wants_cancel
from perceptron_client.requests import JSON, Call, objects_of, path_of, query_of
from perceptron_client.retries import Tries
from perceptron_client.server_sent import EventReader
from perceptron_client.waiting import sleep_on_loop

HOLD_S = 20
"""How long one request waits for a job."""

STREAM_TIMEOUT_S = 45.0
"""A stream shows every 15 s that it is alive."""

PAUSE_S = 0.5
"""Before the next request, where the service did not wait: it is about to end."""


class AsyncJobs:
    """Training jobs."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, *, idempotency_key: str | None = None, **members: Unpack[TrainingMembers]) -> Job:
        """Train a model: `model`, and `data` or `dataset`; the rest as in the body of `POST /jobs`.

        Args:
            idempotency_key: a text that only this job has, so that it starts once; None: a random one.
            members: see TrainingMembers.

        Raises:
            Invalid: a member is not valid; `errors` says which and why.
        """
        headers = {"Content-Type": JSON, "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        call = Call("POST", "/jobs", content=to_json(training_request(members)), headers=headers)
        return self._read(await self._http.json(call))

    async def dry_run(self, **members: Unpack[TrainingMembers]) -> DryRun:
        """Say what `create` with the same arguments would do. Nothing is stored or started."""
        content = to_json(training_request(members))
        call = Call("POST", "/jobs", params={"dry_run": "true"}, content=content, headers={"Content-Type": JSON})
        return DryRun.of(await self._http.json(call))

    async def get(self, job_id: str) -> Job:
        """Return a job as it is now.

        Raises:
            JobNotFound: there is none.
        """
        return self._read(await self._http.json(Call("GET", path_of("jobs", job_id))))

    async def list(self, *, status: str | None = None, model: str | None = None) -> AsyncIterator[Job]:
        """Yield all jobs, newest first; they have no leaderboards."""
        async for raw in self._http.pages("/jobs", status=status, model=model):
            yield self._read(raw)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; nothing is published afterwards. It may be repeated.

        Raises:
            JobAlreadyDone: it has succeeded or failed.
        """
        return self._read(await self._http.json(Call("POST", path_of("jobs", job_id, "cancel"))))

    async def events(self, job_id: str, *, follow: bool = True, after: str | None = None) -> AsyncIterator[Event]:
        """Yield what has happened to a job and, with `follow`, what happens until it is done.

        A stream that is cut is resumed: no event is lost or comes twice.

        Args:
            after: the id of the last event that you have seen.
        """
        path = path_of("jobs", job_id, "events")
        if not follow:
            while True:
                page = await self._http.json(Call("GET", path, params=query_of(after=after)))
                for raw in objects_of(page):
                    yield Event.of(raw)
                before, after = after, page.get("last_id")
                if not page.get("has_more") or after in (before, None):
                    return
        tries = Tries(f"GET {path}", self._http.settings.retry_for_s, is_repeatable=True)
        while True:
            resumed = {} if after is None else {"Last-Event-ID": after}
            response = await self._http.send(
                Call("GET", path, headers={"Accept": "text/event-stream", **resumed}, extra_timeout_s=STREAM_TIMEOUT_S),
                is_stream=True,
            )
            delay_s = PAUSE_S
            try:
                if response.status_code == 204:
                    return  # the job is done, and nothing follows
                reader = EventReader()
                async for text in response.aiter_text():
                    for raw in reader.feed(text):
                        event = Event.of(raw)
                        after = event.id
                        yield event
                        if event.ends_the_job:
                            return
                        tries = Tries(tries.what, tries.retry_for_s, is_repeatable=True)
            except httpx.TransportError as error:
                delay_s = tries.after_error(error)
            finally:
                await response.aclose()
            await sleep_on_loop(delay_s)

    async def wait(self, job: Job | str, *, timeout_s: float | None = None, progress: bool = False) -> Job:
        """Wait until a job is done, also while the service restarts, and return it.

        Ctrl-C asks whether the job shall be cancelled, where somebody can answer. The job knows nothing of it.

        Args:
            timeout_s: None: as long as it takes.
            progress: show epoch, cost and time left: a bar if tqdm is installed, else a line now and then.

        Raises:
            JobFailed, JobCancelled: it did not succeed.
            JobNotDone: `timeout_s` passed. The job goes on.
        """
        job_id = job if isinstance(job, str) else job.id
        began_at = time.monotonic()
        bar = job_bar(progress=progress)
        try:
            while True:
                left_s = math.inf if timeout_s is None else timeout_s - (time.monotonic() - began_at)
                hold_s = max(1, min(1 if progress else HOLD_S, math.ceil(left_s) if left_s < HOLD_S else HOLD_S))
                asked_at = time.monotonic()
                shown = await self._held(job_id, hold_s, left_s)
                bar.show(shown)
                if shown.done:
                    break
                if timeout_s is not None and time.monotonic() - began_at >= timeout_s:
                    raise JobNotDone(shown, timeout_s)
                if time.monotonic() - asked_at < PAUSE_S:
                    await sleep_on_loop(PAUSE_S)
        except KeyboardInterrupt:
            bar.close()
            if not wants_cancel(job_id):
                raise
            try:
                shown = await self.cancel(job_id)
            except JobAlreadyDone:
                shown = await self.get(job_id)
        finally:
            bar.close()
        if shown.status == "failed":
            raise JobFailed(shown)
        if shown.status == "cancelled":
            raise JobCancelled(shown)
        return shown

    async def _held(self, job_id: str, hold_s: int, left_s: float) -> Job:
        call = Call(
            "GET",
            path_of("jobs", job_id),
            headers={"Prefer": f"wait={hold_s}"},
            extra_timeout_s=hold_s,
            retry_for_s=min(self._http.settings.retry_for_s, max(left_s, 0.0)),
        )
        return self._read(await self._http.json(call))

    def _read(self, raw: Mapping[str, Any]) -> Job:
        return Job.of(raw).with_curve(self._curve)

    async def _curve(self, job_id: str) -> Sequence[Event]:
        return [event async for event in self.events(job_id, follow=False)]
