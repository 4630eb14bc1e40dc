"""`/predict`: forward propagation, now."""

from typing import Any

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.errors import LengthRequiredError, to_response
from service.http.names import NAME_PATTERN
from service.http.openapi import body_problems, json_body
from service.http.wire import HttpRequest
from service.predict.formats.arrow import ARROW
from service.predict.formats.tables import CSV, NPY
from service.predict.memory.loaded_models import LoadedModels
from service.predict.payloads import PredictionPayload, PredictionRequest
from service.predict.ways import PREDICT
from service.settings import Limits


def predict_routes(models: LoadedModels, limits: Limits) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint("predict", __name__, abp_tags=[Tag(name="predict", description="Use a trained model.")])

    @routes.post(
        "/predict",
        summary="Predict with a model",
        responses={200: PredictionPayload, **body_problems(404)},
        openapi_extensions=_request(),
    )
    def predict_now() -> Response:
        return answered(models, limits)

    return routes


def answered(models: LoadedModels, limits: Limits) -> Response:
    """Answer the request under way by the function that the table names for its rule."""
    assert request.url_rule is not None  # Flask has found it
    answer = PREDICT[request.url_rule.rule](_as_sent(), models, limits)
    assert answer is not None  # it may wait
    return to_response(answer)


def _as_sent() -> HttpRequest:
    if request.content_length is None:
        raise LengthRequiredError("send a body, with a Content-Length")

    def header(name: str) -> bytes:
        return request.headers.get(name, "").encode("latin-1")

    return HttpRequest(
        body=request.get_data(cache=False),
        request_id=g.request_id,
        content_type=header("Content-Type"),
        content_encoding=header("Content-Encoding"),
        accept=header("Accept"),
        query=request.query_string,
        headers={name.lower().encode("latin-1"): value.encode("latin-1") for name, value in request.headers},
        path_values=request.view_args or {},
    )


def _request() -> dict[str, Any]:
    """Declare the body in its four forms, and the query that goes with three of them."""
    document = json_body(PredictionRequest)
    document["requestBody"]["content"] |= {
        NPY: {"schema": {"type": "string", "format": "binary"}},
        CSV: {"schema": {"type": "string"}, "example": "x0,x1\n0,1\n0,0\n"},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    }
    described: dict[str, tuple[str, dict[str, Any]]] = {
        "model": ("With npy, CSV and Arrow bodies: the model.", {"type": "string", "pattern": NAME_PATTERN}),
        "version": (
            "With npy, CSV and Arrow bodies: the version.",
            {"type": "integer", "minimum": 1, "maximum": 10**16 - 1},
        ),
        "alias": ("With npy, CSV and Arrow bodies: the alias.", {"type": "string", "pattern": NAME_PATTERN}),
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        for name, (text, schema) in described.items()
    ]
    return document | {"parameters": parameters}
