"""`/predict`: forward propagation, now."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.answers import PredictionPayload
from service.loaded_models import LoadedModels
from service.openapi import body_problems, json_body
from service.payloads import PredictionRequest
from service.predict import predict
from service.requests import require_json
from service.settings import Limits


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
        require_json(request)
        return Response(predict(request.get_data(cache=False), models, limits), mimetype="application/json")

    return routes
