"""`/models`: the registry of trained networks."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from perceptron import Architecture, Layer, without_centre
from service.http.flask_requests import current_caller
from service.http.flask_responses import to_json
from service.http.names import AliasPath, ModelPath, VersionPath
from service.http.openapi import body_problems, problems
from service.models.payloads import (
    AliasRequest,
    ColumnPayload,
    ModelList,
    ModelPayload,
    ModelsQuery,
    ModelSummary,
    VersionPayload,
    VersionSummary,
)
from storage.codec import decode_columns
from storage.jobs.description import DESCRIPTION
from storage.models.store import ModelStore
from storage.models.versions import Version
from storage.tenants import local
from storage.times import rfc3339

MAX_SHOWN_PARAMETERS = 10_000


def model_routes(models: ModelStore) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint(
        "models",
        __name__,
        abp_tags=[Tag(name="Models", description="The registry of trained networks: versions and aliases.")],
    )

    @routes.get("/models", summary="List models by name", responses={200: ModelList, **problems(422)})
    def list_models(query: ModelsQuery) -> Response:
        page, has_more = models.page(limit=query.limit, tenant=current_caller().tenant, after=query.after)
        return to_json(
            ModelList(
                data=[ModelSummary.of(model) for model in page],
                has_more=has_more,
                last_id=local(page[-1].name) if page else None,
            )
        )

    @routes.get("/models/<name>", summary="Show a model", responses={200: ModelPayload, **problems(404)})
    def show_model(path: ModelPath) -> Response:
        return to_json(_describe(current_caller().model(path.name)))

    def _describe(name: str) -> ModelPayload:
        model, versions = models.with_versions(name)
        return ModelPayload(
            name=local(name),
            latest_version=model.latest,
            versions=[
                VersionSummary(
                    version=version.number,
                    created_at=rfc3339(version.created_at_ms) or "",
                    job=version.description.job,
                    metrics=dict(version.description.metrics),
                )
                for version in versions
            ],
            aliases=dict(model.aliases),
        )

    @routes.delete(
        "/models/<name>",
        summary="Delete a model with all its versions",
        responses={204: None, **problems(404)},
    )
    def delete_model(path: ModelPath) -> Response:
        models.delete(current_caller().model(path.name))
        return Response(status=204)

    @routes.get(
        "/models/<name>/versions/<version:version>",
        summary="Show a version",
        responses={200: VersionPayload, **problems(404)},
    )
    def show_version(path: VersionPath) -> Response:
        name = current_caller().model(path.name)
        version = models.get_version(name, path.version)
        layers: tuple[Layer, ...] = ()
        encoder = target = None
        is_shown = _n_parameters(version) <= MAX_SHOWN_PARAMETERS
        if is_shown:
            trained = models.load(name, path.version)
            layers, encoder, target = without_centre(trained.network).layers, trained.encoder, trained.target
        elif version.description.has_columns:
            encoder, target = decode_columns(models.load_bytes(name, path.version)[1])
        aliases = models.get(name).aliases
        return to_json(
            VersionPayload(
                model=local(version.model),
                version=version.number,
                created_at=rfc3339(version.created_at_ms) or "",
                aliases=[alias for alias, number in aliases.items() if number == version.number],
                weights=[layer.weights.tolist() for layer in layers] if is_shown else None,
                bias=[layer.bias.tolist() for layer in layers] if is_shown else None,
                columns=None if encoder is None else [ColumnPayload.of(column) for column in encoder.columns],
                target=target,
                **DESCRIPTION.dump_python(
                    version.description, exclude={"digests": {"feature_names"}, "has_columns": True}
                ),
            )
        )

    @routes.delete(
        "/models/<name>/versions/<version:version>",
        summary="Delete a version, unless an alias points at it",
        responses={204: None, **problems(404, 409)},
    )
    def delete_version(path: VersionPath) -> Response:
        models.delete_version(current_caller().model(path.name), path.version)
        return Response(status=204)

    @routes.put(
        "/models/<name>/aliases/<alias>",
        summary="Point an alias at a version",
        responses={200: ModelPayload, **body_problems(404)},
    )
    def put_alias(path: AliasPath, body: AliasRequest) -> Response:
        name = current_caller().model(path.name)
        models.set_alias(name, path.alias, body.version)
        return to_json(_describe(name))

    @routes.delete(
        "/models/<name>/aliases/<alias>",
        summary="Delete an alias",
        responses={204: None, **problems(404, 422)},
    )
    def delete_alias(path: AliasPath) -> Response:
        models.delete_alias(current_caller().model(path.name), path.alias)
        return Response(status=204)

    return routes


def _n_parameters(version: Version) -> int:
    """Count the weights and biases of a version without decoding them."""
    about = version.description
    shape = Architecture.of(about.network, n_inputs=len(about.feature_names), n_outputs=about.task.n_outputs)
    return shape.n_parameters
