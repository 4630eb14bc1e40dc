"""`/predict`: forward propagation, now."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.flask_requests import http_request
from service.http.flask_responses import to_response
from service.http.names import NAME_PATTERN
from service.http.openapi import body_problems, json_body
from service.predict.formats.table import openapi_content
from service.predict.memory.loaded_models import LoadedModels
from service.predict.payloads import PredictionPayload, PredictionRequest
from service.predict.predict import predict
from service.predict.protocols.table import PREDICT
from service.settings import Limits
from storage.models.versions import MAX_VERSION


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
    return to_response(predict(PREDICT[request.url_rule.rule], http_request(request), models, limits))


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
