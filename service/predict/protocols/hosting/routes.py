"""The routes that hosting platforms call: SageMaker, MLflow and Vertex AI."""

from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from service.http.flask_responses import to_json
from service.http.media_types import JSON
from service.http.openapi import body_problems, header, problems
from service.observe.payloads import Ready
from service.predict.formats.table import openapi_content
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.hosting.invocations import TARGET_MODEL
from service.predict.routes import answered
from service.settings import Limits

_TEXT = {"type": "string"}
_ROWS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_FORMS = "one of `instances`, `inputs`, `dataframe_split`, `dataframe_records` and `features`; others are ignored"
_BODIES = {
    JSON: {"schema": {"type": "object", "description": _FORMS}, "example": {"instances": [[0, 1], [0, 0]]}},
    **openapi_content(with_examples=True),
}
_ANSWERS = {
    JSON: {"schema": {"type": "object", "properties": {"predictions": _ROWS}, "required": ["predictions"]}},
    **openapi_content(with_examples=False),
}
_WHICH_MODEL = "`churn`, `churn@production` or `churn/3`"
_INVOKE: dict[str, Any] = {
    "responses": {
        200: {"description": "y_hat, one row for each instance", "content": _ANSWERS},
        **body_problems(404),
    },
    "openapi_extensions": {
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "required": False,
                "description": f"{_WHICH_MODEL}. Without it the header names the model, then DEFAULT_MODEL.",
                "schema": _TEXT,
            },
            header(TARGET_MODEL, f"{_WHICH_MODEL}, if the query names none."),
        ],
        "requestBody": {"required": True, "content": _BODIES},
    },
}
_READY: dict[str, Any] = {"responses": {200: Ready, **problems(404)}}
_VERSION: dict[str | int, Any] = {
    200: {"description": "The version of this service", "content": {"text/plain": {"schema": _TEXT}}}
}


def hosting_routes(models: LoadedModels, limits: Limits, *, version: str) -> APIBlueprint:
    """Build the routes from their parts.

    Args:
        version: the version of this service.
    """
    tag = Tag(name="SageMaker, MLflow and Vertex AI", description="The routes that hosting platforms call.")
    routes = APIBlueprint("hosting", __name__, abp_tags=[tag])

    @routes.get("/ping", summary="Is the service ready? For SageMaker", **_READY)
    def ping() -> Response:
        return _ready()

    @routes.get("/health", summary="Is the service ready? For MLflow", **_READY)
    def health() -> Response:
        return _ready()

    @routes.get("/version", summary="The version of this service", responses={**_VERSION, **problems()})
    def show_version() -> Response:
        return Response(version, mimetype="text/plain")

    @routes.post("/invocations", summary="Predict, for SageMaker and MLflow", **_INVOKE)
    def invoke_model() -> Response:
        return answered(models, limits)

    def _ready() -> Response:
        models.check_ready()
        if models.default is not None:
            models.get(models.default)
        return to_json(Ready(status="ready"))

    return routes
