"""`/v1/models`: the REST API of TensorFlow Serving and KServe v1. Labels are aliases."""

from dataclasses import replace
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from service.http.flask_requests import current_caller
from service.http.flask_responses import to_json
from service.http.names import AliasPath, ModelPath, VersionPath
from service.http.openapi import body_problems, json_body, problems
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.tensorflow.payloads import (
    ModelNames,
    ModelStatus,
    TensorFlowAnswer,
    TensorFlowMetadata,
    TensorFlowRequest,
)
from service.predict.routes import answered
from service.settings import Limits
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from storage.tenants import local

_MODEL = "/v1/models/<name:name>"
_VERSION = f"{_MODEL}/versions/<version:version>"
_LABEL = f"{_MODEL}/labels/<name:alias>"

_PREDICT: dict[str, Any] = {
    "responses": {200: TensorFlowAnswer, **body_problems(404)},
    "openapi_extensions": json_body(TensorFlowRequest),
}


def tensorflow_routes(store: ModelStore, models: LoadedModels, limits: Limits) -> APIBlueprint:
    """Build the routes from their parts."""
    tag = Tag(name="TensorFlow Serving and KServe v1", description="Use a trained model as their clients do.")
    routes = APIBlueprint("tensorflow", __name__, abp_tags=[tag])

    @routes.get("/v1/models", summary="List all models", responses={200: ModelNames, **problems()})
    def list_v1_models() -> Response:
        return to_json(ModelNames(models=[local(model.name) for model in store.all(current_caller().tenant)]))

    @routes.get(_MODEL, summary="Is a model ready?", responses={200: ModelStatus, **problems(404)})
    def show_v1_model(path: ModelPath) -> Response:
        return to_json(ModelStatus.of(store.get(current_caller().model(path.name))))

    @routes.get(_VERSION, summary="Is a version ready?", responses={200: ModelStatus, **problems(404)})
    def show_v1_version(path: VersionPath) -> Response:
        return _status(ModelReference(path.name, version=path.version))

    @routes.get(_LABEL, summary="Is an alias's version ready?", responses={200: ModelStatus, **problems(404)})
    def show_v1_label(path: AliasPath) -> Response:
        return _status(ModelReference(path.name, alias=path.alias))

    @routes.get(f"{_MODEL}/metadata", summary="Describe a model", responses={200: TensorFlowMetadata, **problems(404)})
    def describe_v1_model(path: ModelPath) -> Response:
        return _metadata(ModelReference(path.name))

    @routes.get(
        f"{_VERSION}/metadata", summary="Describe a version", responses={200: TensorFlowMetadata, **problems(404)}
    )
    def describe_v1_version(path: VersionPath) -> Response:
        return _metadata(ModelReference(path.name, version=path.version))

    @routes.get(
        f"{_LABEL}/metadata",
        summary="Describe an alias's version",
        responses={200: TensorFlowMetadata, **problems(404)},
    )
    def describe_v1_label(path: AliasPath) -> Response:
        return _metadata(ModelReference(path.name, alias=path.alias))

    @routes.post(f"{_MODEL}:predict", summary="Predict with a model's latest version", **_PREDICT)
    def predict_v1_model(path: ModelPath) -> Response:
        return answered(models, limits)

    @routes.post(f"{_VERSION}:predict", summary="Predict with a version", **_PREDICT)
    def predict_v1_version(path: VersionPath) -> Response:
        return answered(models, limits)

    @routes.post(f"{_LABEL}:predict", summary="Predict with an alias's version", **_PREDICT)
    def predict_v1_label(path: AliasPath) -> Response:
        return answered(models, limits)

    def _status(reference: ModelReference) -> Response:
        model = store.get(current_caller().model(reference.model))
        number = model.number(reference.version, reference.alias)
        if number is None:
            raise model.missing(reference.version, reference.alias)
        return to_json(ModelStatus.of(model, number))

    def _metadata(reference: ModelReference) -> Response:
        model = models.get(replace(reference, model=current_caller().model(reference.model))).model
        name, number = model.trained.name, model.trained.version
        return to_json(TensorFlowMetadata.of(name, number, inputs=model.inputs, n_outputs=model.n_outputs))

    return routes
