"""`/jobs`: training jobs."""

import hashlib
import re

import orjson
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.errors import RETRY_AFTER_S, Fault, InvalidRequestError
from service.http.openapi import answer, body_problems, header, problems
from service.http.parsing import refuse
from service.http.rendering import to_json
from service.jobs.payloads import (
    EventList,
    EventPayload,
    EventsHeader,
    EventsQuery,
    JobList,
    JobPath,
    JobPayload,
    JobsQuery,
    TrainingRequest,
)
from service.jobs.training_request import accept
from service.settings import Limits
from storage.blobs import BlobStore
from storage.errors import JobNotFoundError
from storage.jobs.record import Job
from storage.jobs.spec import SPEC, TrainingSpec
from storage.jobs.store import JobStore
from storage.models.store import ModelStore

_IDEMPOTENCY_KEY = re.compile(r"[\x20\x21\x23-\x7e]{1,255}")


def job_routes(jobs: JobStore, models: ModelStore, blobs: BlobStore, limits: Limits) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint("jobs", __name__, abp_tags=[Tag(name="jobs", description="Train models.")])

    @routes.post(
        "/jobs",
        summary="Train a model",
        responses={
            202: answer(JobPayload, "Accepted", Location="where to ask for the job", Retry_After="when, in seconds"),
            **body_problems(404),
        },
        openapi_extensions={
            "parameters": [
                header(
                    "Idempotency-Key",
                    "Makes it safe to send the request again: for 24 hours, the same key and body answer with the "
                    "first job.",
                )
            ]
        },
    )
    def create_job(body: TrainingRequest) -> Response:
        digest = _idempotency_digest()
        spec = accept(body, blobs, models, limits)
        job = jobs.submit(
            body.model,
            spec,
            metadata=body.metadata,
            idempotency_digest=digest,
            fingerprint=_fingerprint(body, spec) if digest else "",
        )
        response = _show(job, 202)
        response.headers["Location"] = f"/jobs/{job.id}"
        return response

    @routes.get("/jobs", summary="List jobs, the newest first", responses={200: JobList, **problems(422)})
    def list_jobs(query: JobsQuery) -> Response:
        try:
            page, has_more = jobs.page(limit=query.limit, after=query.after, status=query.status, model=query.model)
        except JobNotFoundError as error:
            raise InvalidRequestError([Fault("/after", str(error))]) from error
        return to_json(
            JobList(
                data=[JobPayload.of(job, in_list=True) for job in page],
                has_more=has_more,
                last_id=page[-1].id if page else None,
            )
        )

    @routes.get(
        "/jobs/<job_id>",
        summary="Show a job",
        responses={
            200: answer(JobPayload, "The job", ETag="changes with every change of the job"),
            304: {"description": "Unchanged since the ETag in If-None-Match"},
            **problems(404),
        },
        openapi_extensions={
            "parameters": [
                header("If-None-Match", "The ETag of the answer before."),
                header("Prefer", "`wait=N` holds the answer until the job is done, at most N seconds, at most 60."),
            ]
        },
    )
    def show_job(path: JobPath) -> Response:
        return _show(jobs.get(path.job_id))

    @routes.get(
        "/jobs/<job_id>/events",
        summary="Show the states, the learning curve and the log of a job",
        responses={
            200: EventList,
            204: {"description": "To a stream that is resumed: the job is done, and there is nothing after this event"},
            **problems(404, 422),
        },
    )
    def list_events(path: JobPath, query: EventsQuery, header: EventsHeader) -> Response:
        after = header.last_event_id or query.after
        page, has_more = jobs.events(path.job_id, limit=query.limit, after=after)
        data = [EventPayload.of(event) for event in page]
        return to_json(EventList(data=data, has_more=has_more, last_id=page[-1].id if page else after))

    @routes.post("/jobs/<job_id>/cancel", summary="Cancel a job", responses={200: JobPayload, **problems(404, 409)})
    def cancel_job(path: JobPath) -> Response:
        return _show(jobs.cancel(path.job_id))

    return routes


def _show(job: Job, status: int = 200) -> Response:
    response = to_json(JobPayload.of(job), status)
    response.set_etag(str(job.revision))
    if not job.is_done:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 200 and request.method in ("GET", "HEAD"):
        response.make_conditional(request)
    return response


def _idempotency_digest() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    # The draft standard quotes the key; most clients send it bare.
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        refuse("/Idempotency-Key", "must be 1 to 255 printable ASCII characters, quoted on both sides or on none")
    return hashlib.sha256(key.encode()).hexdigest()


def _fingerprint(body: TrainingRequest, spec: TrainingSpec) -> str:
    """Return a digest of all that was asked for; the spec holds the digest of the instances."""
    rest = orjson.dumps([body.model, body.metadata], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(SPEC.dump_json(spec) + rest).hexdigest()
