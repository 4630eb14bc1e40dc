"""`/jobs`: training jobs."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.errors import RETRY_AFTER_S, Fault, InvalidRequestError
from service.http.flask_requests import current_caller
from service.http.flask_responses import to_json
from service.http.openapi import answer, body_problems, header, problems
from service.http.parsing import refuse
from service.jobs.acceptance import prepare
from service.jobs.dry_run import DryRunPayload, dry_run
from service.jobs.payloads import (
    EventList,
    EventPayload,
    EventsHeader,
    EventsQuery,
    JobList,
    JobPath,
    JobsQuery,
    NewJobQuery,
    TrainingRequest,
)
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.store import DatasetStore
from storage.errors import JobNotFoundError
from storage.jobs.record import Job
from storage.jobs.shown import JobPayload
from storage.jobs.spec import MAX_NAMES_IN_RECORD
from storage.jobs.store import JobStore
from storage.log.traces import carried
from storage.models.store import ModelStore
from storage.tenants import local
from storage.webhooks.receivers import ReceiverRefusedError
from storage.webhooks.settings import WebhookSettings

_IDEMPOTENCY_KEY = re.compile(r"[\x20\x21\x23-\x7e]{1,255}")


def job_routes(
    jobs: JobStore,
    models: ModelStore,
    datasets: DatasetStore,
    blobs: BlobStore,
    limits: Limits,
    check_blobs: Callable[[], None],
    webhooks: WebhookSettings,
) -> APIBlueprint:
    """Build the routes from their parts.

    Args:
        check_blobs: raises if the blob store cannot be used, or is not the one that the workers read.
        webhooks: who may be told the end of a job.
    """
    routes = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="Jobs", description="Train models.")])

    @routes.post(
        "/jobs",
        summary="Train a model",
        responses={
            200: DryRunPayload,
            202: answer(
                JobPayload, "Accepted", Location="The job's URL", Retry_After="Seconds to wait before asking again"
            ),
            **body_problems(404, 429),
        },
        openapi_extensions={
            "parameters": [
                header(
                    "Idempotency-Key",
                    "Makes it safe to send the request again: for 24 hours, the same key and body are answered with "
                    "the first job.",
                )
            ]
        },
    )
    def create_job(body: TrainingRequest, query: NewJobQuery) -> Response:
        caller = current_caller()
        webhook = _webhook_url(body, webhooks)
        if query.dry_run:
            prepared = prepare(body, caller, blobs, models, datasets, limits)
            return to_json(dry_run(prepared, MAX_NAMES_IN_RECORD))
        digest = _idempotency_digest()
        fingerprint = _fingerprint(body) if digest else ""
        job = None
        if digest is not None:
            job = jobs.of_request(idempotency_digest=digest, fingerprint=fingerprint, tenant=caller.tenant)
        if job is None:
            check_blobs()
            jobs.check_queue(caller.tenant, limits.max_tenant_queued_jobs)
            prepared = prepare(body, caller, blobs, models, datasets, limits)
            job = jobs.submit(
                caller.model(body.model),
                prepared.stored(),  # a refused request leaves nothing behind
                metadata=body.metadata,
                idempotency_digest=digest,
                fingerprint=fingerprint,
                max_queued=limits.max_tenant_queued_jobs,
                webhook=webhook,
                trace=carried(),
            )
        response = _show(job, 202)
        response.headers["Location"] = f"/jobs/{local(job.id)}"
        return response

    @routes.get("/jobs", summary="List jobs, newest first", responses={200: JobList, **problems(422)})
    def list_jobs(query: JobsQuery) -> Response:
        caller = current_caller()
        try:
            page, has_more = jobs.page(
                limit=query.limit,
                tenant=caller.tenant,
                after=None if query.after is None else caller.job(query.after),
                status=query.status,
                model=query.model,
            )
        except JobNotFoundError as error:
            raise InvalidRequestError([Fault("/after", str(error))]) from error
        return to_json(
            JobList(
                data=[JobPayload.of(job, in_list=True) for job in page],
                has_more=has_more,
                last_id=local(page[-1].id) if page else None,
            )
        )

    @routes.get(
        "/jobs/<job_id>",
        summary="Show a job",
        responses={
            200: answer(JobPayload, "The job", ETag="Changes with every change of the job"),
            304: {"description": "The job still has the ETag in If-None-Match"},
            **problems(404),
        },
        openapi_extensions={
            "parameters": [
                header("If-None-Match", "The ETag of an earlier answer."),
                header("Prefer", "`wait=N`: hold the answer until the job is done, for at most N (up to 60) seconds."),
            ]
        },
    )
    def show_job(path: JobPath) -> Response:
        return _show(jobs.get(current_caller().job(path.job_id)))

    @routes.get(
        "/jobs/<job_id>/events",
        summary="Show the events of a job: states, learning curve, log",
        responses={
            200: EventList,
            204: {"description": "To a resumed stream: the job is done, and nothing follows this event"},
            **problems(404, 422),
        },
    )
    def list_events(path: JobPath, query: EventsQuery, header: EventsHeader) -> Response:
        after = header.last_event_id or query.after
        page, has_more = jobs.events(current_caller().job(path.job_id), limit=query.limit, after=after)
        data = [EventPayload.of(event) for event in page]
        return to_json(EventList(data=data, has_more=has_more, last_id=page[-1].id if page else after))

    @routes.post("/jobs/<job_id>/cancel", summary="Cancel a job", responses={200: JobPayload, **problems(404, 409)})
    def cancel_job(path: JobPath) -> Response:
        return _show(jobs.cancel(current_caller().job(path.job_id)))

    return routes


def _show(job: Job, status: int = 200) -> Response:
    response = to_json(JobPayload.of(job), status)
    response.set_etag(str(job.revision))
    if not job.is_done:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 200 and request.method in ("GET", "HEAD"):
        response.make_conditional(request)
    return response


def _webhook_url(body: TrainingRequest, webhooks: WebhookSettings) -> str | None:
    """Return the URL that is told the end of the job. Its name is resolved when that happens."""
    if body.webhook is None:
        return None
    try:
        webhooks.receiver(body.webhook.url)
    except ReceiverRefusedError as error:
        refuse("/webhook/url", str(error))
    return body.webhook.url


def _idempotency_digest() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    # The IETF draft of the header quotes the key; most clients send it bare.
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        refuse("/Idempotency-Key", "must be 1 to 255 printable ASCII characters, with quotes on both sides or none")
    return hashlib.sha256(key.encode()).hexdigest()


def _fingerprint(body: TrainingRequest) -> str:
    """Return a digest of the members that the client sent, whatever their order."""

    def sent(payload: Any) -> dict[str, Any]:
        return {name: getattr(payload, name) for name in payload.model_fields_set}

    return hashlib.sha256(orjson.dumps(body, default=sent, option=orjson.OPT_SORT_KEYS)).hexdigest()
