"""`/v2`: the Open Inference Protocol."""

from typing import Any

import orjson
from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from redis import Redis

from service.http.content_coding import decoded
from service.http.errors import BadRequestError
from service.http.flask_requests import current_caller, http_request
from service.http.flask_responses import to_json
from service.http.names import ModelPath, VersionPath
from service.http.openapi import body_problems, header, json_body, problems, schema_of
from service.http.parsing import parse_payload
from service.predict.memory.loaded_models import LoadedModels
from service.predict.protocols.open_inference.infer import OCTETS
from service.predict.protocols.open_inference.payloads import (
    IndexEntry,
    IndexRequest,
    InferRequest,
    InferResponse,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    ModelStatistics,
    ServerLive,
    ServerMetadata,
    ServerReady,
    VersionStatistics,
    configured,
    tensors_of,
)
from service.predict.protocols.open_inference.read_inputs import HEADER_LENGTH
from service.predict.routes import answered
from service.settings import Limits
from storage.models.store import ModelStore
from storage.models.versions import ModelReference
from storage.tenants import local

_MODEL = "/v2/models/<name:name>"
_VERSION = f"{_MODEL}/versions/<version:version>"

_UNSUPPORTED = {
    "loading and unloading models": [f"/v2/repository/models/<name:name>/{verb}" for verb in ("load", "unload")],
    "shared memory": [
        f"/v2/{kind}sharedmemory{rest}"
        for kind in ("system", "cuda")
        for rest in ("/status", "/unregister", *(f"/region/<region>/{v}" for v in ("status", "register", "unregister")))
    ],
    "tracing": ["/v2/trace/setting", f"{_MODEL}/trace/setting"],
    "setting the log": ["/v2/logging"],
}
"""What Triton's clients can request, and its routes."""


def open_inference_routes(
    redis: Redis, models: ModelStore, loaded: LoadedModels, limits: Limits, *, version: str
) -> APIBlueprint:
    """Build the routes from their parts.

    Args:
        version: the version of this service.
    """
    tag = Tag(name="Open Inference Protocol", description="Version 2, with the binary tensor extension.")
    routes = APIBlueprint("open_inference", __name__, abp_tags=[tag])

    @routes.get("/v2", summary="Describe the server", responses={200: ServerMetadata, **problems()})
    def server_metadata() -> Response:
        return to_json(ServerMetadata(version=version))

    @routes.get("/v2/health/live", summary="Is the process alive?", responses={200: ServerLive, **problems()})
    def server_live() -> Response:
        return to_json(ServerLive())

    @routes.get("/v2/health/ready", summary="Can the server infer?", responses={200: ServerReady, **problems()})
    def server_ready() -> Response:
        redis.ping()
        loaded.check_ready()
        return to_json(ServerReady())

    def metadata(name: str, number: int | None) -> Response:
        model = loaded.get(ModelReference(name, number)).model
        inputs, outputs = tensors_of(model.trained.task, model.inputs)
        versions = [str(number) for number in models.get(name).versions]
        return to_json(ModelMetadata(name=local(name), versions=versions, inputs=inputs, outputs=outputs))

    def ready(name: str, number: int | None) -> Response:
        loaded.get(ModelReference(name, number))
        return to_json(ModelReady(name=local(name)))

    def config(name: str, number: int | None) -> Response:
        model = loaded.get(ModelReference(name, number)).model
        inputs, outputs = tensors_of(model.trained.task, model.inputs)
        return to_json(ModelConfig(name=local(name), input=configured(inputs), output=configured(outputs)))

    def statistics(name: str, number: int | None) -> Response:
        numbers = models.get(name).versions if number is None else [models.resolve(name, version=number)]
        shown = [VersionStatistics.of(name, number, loaded.statistics.of(name, number)) for number in numbers]
        return to_json(ModelStatistics(model_stats=shown))

    for suffix, show, payload, what in (
        ("", metadata, ModelMetadata, "Describe the input and outputs of a model"),
        ("/ready", ready, ModelReady, "Can a model infer?"),
        ("/config", config, ModelConfig, "Triton's configuration of a model"),
        ("/stats", statistics, ModelStatistics, "Count the inferences of a model in this process"),
    ):
        # New functions in each turn of the loop, since flask-openapi3 reads their annotations.
        def of_model(path: ModelPath, show: Any = show) -> Response:
            return show(current_caller().model(path.name), None)  # type: ignore[no-any-return]

        def of_version(path: VersionPath, show: Any = show) -> Response:
            return show(current_caller().model(path.name), path.version)  # type: ignore[no-any-return]

        of_model.__name__, of_version.__name__ = f"model_{show.__name__}", f"version_{show.__name__}"
        responses = {200: payload, **problems(404)}
        routes.get(_MODEL + suffix, summary=what, responses=responses)(of_model)
        routes.get(_VERSION + suffix, summary=f"{what}, for one version", responses=responses)(of_version)

    @routes.get(
        "/v2/models/stats",
        summary="Count the inferences of all models in this process",
        responses={200: ModelStatistics, **problems()},
    )
    def all_statistics() -> Response:
        shown = [
            VersionStatistics.of(model.name, number, loaded.statistics.of(model.name, number))
            for model in models.all(current_caller().tenant)
            for number in model.versions
        ]
        return to_json(ModelStatistics(model_stats=shown))

    @routes.post(
        "/v2/repository/index",
        summary="List all versions of all models",
        responses={200: _list_of(IndexEntry), **body_problems()},
        openapi_extensions=json_body(IndexRequest, required=False),
    )
    def index() -> Response:
        if request.content_length:  # the body is optional
            parse_payload(IndexRequest, decoded(http_request(request), limits).body, limits)
        entries = [
            IndexEntry(name=local(model.name), version=str(number)).model_dump()
            for model in models.all(current_caller().tenant)
            for number in model.versions
        ]
        return Response(orjson.dumps(entries), mimetype="application/json")

    _add_infer(routes, loaded, limits)
    for what, rules in _UNSUPPORTED.items():
        for rule in rules:
            routes.add_url_rule(rule, f"unsupported {rule}", _refusal(what), methods=["GET", "POST"])
    return routes


def _add_infer(routes: APIBlueprint, loaded: LoadedModels, limits: Limits) -> None:
    """Declare the routes whose reader is in `protocols.table.PREDICT`."""
    document = json_body(InferRequest)
    document["requestBody"]["content"][OCTETS] = {"schema": {"type": "string", "format": "binary"}}
    document["parameters"] = [
        header(HEADER_LENGTH, "With binary tensors: how many bytes of the body are JSON, before the values."),
        header("Accept-Encoding", "gzip or deflate, for large answers."),
    ]
    schema = {"schema": schema_of(InferResponse)}
    octets = {"schema": {"type": "string", "format": "binary"}}
    in_binary = {HEADER_LENGTH: {"description": "as in the request", "schema": {"type": "string"}}}
    success = {
        "description": "The outputs",
        "headers": in_binary,
        "content": {"application/json": schema, OCTETS: octets},
    }
    responses: dict[str | int, Any] = {200: success, **body_problems(404)}

    @routes.post(f"{_MODEL}/infer", summary="Infer", responses=responses, openapi_extensions=document)
    def model_infer(path: ModelPath) -> Response:
        return answered(loaded, limits)

    @routes.post(
        f"{_VERSION}/infer", summary="Infer with one version", responses=responses, openapi_extensions=document
    )
    def version_infer(path: VersionPath) -> Response:
        return answered(loaded, limits)


def _refusal(what: str) -> Any:
    def refuse(**values: str) -> Response:
        raise BadRequestError(f"{what} is not supported")

    return refuse


def _list_of(entry: Any) -> dict[str, Any]:
    schema = {"type": "array", "items": schema_of(entry)}
    return {"description": "The versions", "content": {"application/json": {"schema": schema}}}
