"""`/predict`: forward propagation, now."""

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from service.answers import PredictionPayload
from service.errors import LengthRequiredError, to_response
from service.loaded_models import LoadedModels
from service.openapi import body_problems, json_body
from service.payloads import PredictionRequest
from service.predict import predict
from service.settings import Limits
from service.wire import HttpRequest


def predict_routes(models: LoadedModels, limits: Limits) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint("predict", __name__, abp_tags=[Tag(name="predict", description="Use a trained model.")])

    @routes.post(
        "/predict",
        summary="Predict with a model",
        responses={200: PredictionPayload, **body_problems(404)},
        openapi_extensions=json_body(PredictionRequest),
    )
    def predict_now() -> Response:
        answer = predict(_as_sent(), models, limits)
        assert answer is not None  # it may wait
        return to_response(answer)

    return routes


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
    )
