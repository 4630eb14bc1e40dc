"""`/livez` and `/readyz`: for orchestrators."""

from flask import Response, g
from flask_openapi3 import APIBlueprint, Tag
from redis import Redis

from service.http.errors import problem_answer, to_response
from service.http.openapi import problems
from service.http.rendering import to_json
from service.observe.payloads import Liveness, Readiness
from service.predict.memory.loaded_models import LoadedModels
from storage.queue import TrainingQueue


def health_routes(redis: Redis, queue: TrainingQueue, models: LoadedModels) -> APIBlueprint:
    """Build the routes from their parts."""
    routes = APIBlueprint("health", __name__, abp_tags=[Tag(name="operations", description="Is it up?")])

    @routes.get("/livez", summary="Is the process alive? Asks nobody else", responses={200: Liveness, **problems()})
    def livez() -> Response:
        return to_json(Liveness(status="alive"))

    @routes.get("/readyz", summary="Can the service do its work?", responses={200: Readiness, **problems()})
    def readyz() -> Response:
        redis.ping()
        if not models.is_ready:
            detail = "the models that aliases name are being loaded"
            return to_response(problem_answer(503, "unavailable", detail, request_id=g.request_id))
        return to_json(Readiness(status="ready", redis="ok", workers=queue.n_workers()))

    return routes
