"""`/predict`: forward propagation, now."""

from typing import Any

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.errors import LengthRequiredError
from service.http.flask_responses import to_response
from service.http.names import NAME_PATTERN
from service.http.openapi import body_problems, json_body
from service.http.wire import HttpRequest
from service.predict.formats.table import openapi_content
from service.predict.memory.loaded_models import LoadedModels
from service.predict.payloads import PredictionPayload, PredictionRequest
from service.predict.predict import predict
from service.predict.ways import PREDICT
from service.settings import Limits
from storage.models.record import MAX_VERSION


def predict_routes(models: LoadedModels, limits: Limits) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint("predict", __name__, abp_tags=[Tag(name="Predict", description="Use a trained model.")])

    @routes.post(
        "/predict",
        summary="Predict with a model",
        responses={200: PredictionPayload, **body_problems(404)},
        openapi_extensions=_request_document(),
    )
    def predict_now() -> Response:
        return answered(models, limits)

    return routes


def answered(models: LoadedModels, limits: Limits) -> Response:
    """Predict with the reader that the table names for the rule of the current request."""
    assert request.url_rule is not None  # Flask has matched it
    return to_response(predict(PREDICT[request.url_rule.rule], _http_request(), models, limits))


def _http_request() -> HttpRequest:
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


def _request_document() -> dict[str, Any]:
    """Describe the body in each format, and the query that goes with all of them but JSON."""
    document = json_body(PredictionRequest)
    document["requestBody"]["content"] |= openapi_content(with_examples=True)
    described: dict[str, tuple[str, dict[str, Any]]] = {
        "model": ("If the body is not JSON: the model.", {"type": "string", "pattern": NAME_PATTERN}),
        "version": ("If the body is not JSON: the version.", {"type": "integer", "minimum": 1, "maximum": MAX_VERSION}),
        "alias": ("If the body is not JSON: the alias.", {"type": "string", "pattern": NAME_PATTERN}),
    }
    parameters = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        for name, (text, schema) in described.items()
    ]
    return document | {"parameters": parameters}
