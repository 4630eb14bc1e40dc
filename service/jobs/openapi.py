"""The section `webhooks` of the OpenAPI document: what the service sends, where all else is what it is asked."""

from typing import Any

from storage.jobs.shown import JobEndedPayload

_SCHEMAS = "#/components/schemas/"

_HEADERS = {
    "webhook-id": "The id of the event. It stays the same when the event is sent again.",
    "webhook-timestamp": "When it was sent, in seconds since 1970. Refuse what is older than five minutes.",
    "webhook-signature": "By the Standard Webhooks specification: `v1,` and the base64 of the HMAC-SHA256 of id, "
    "timestamp and body with dots between them; several with spaces between them while a secret is replaced.",
}


def add_webhooks(document: dict[str, Any]) -> dict[str, Any]:
    """Add the section, and the schema of an event; return the document."""
    schema = JobEndedPayload.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, part in {**schema.pop("$defs"), JobEndedPayload.__name__: schema}.items():
        schemas.setdefault(name, part)
    document["webhooks"] = {
        "job.ended": {
            "post": {
                "operationId": "job_ended",
                "tags": ["Jobs"],
                "summary": "A job has succeeded, failed or was cancelled",
                "description": "Sent to the `webhook` of the job, at least once, until it is answered with 2xx or 410.",
                "security": [],
                "parameters": [
                    {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
                    for name, text in _HEADERS.items()
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{JobEndedPayload.__name__}"}}},
                },
                "responses": {
                    "2XX": {"description": "Taken. The body is not read."},
                    "410": {"description": "Nobody is there any more: the event is not sent again."},
                },
            }
        }
    }
    return document
