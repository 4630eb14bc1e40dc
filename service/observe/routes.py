"""`/livez` and `/readyz`: for orchestrators."""

from collections.abc import Callable

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from redis import Redis

from service.http.flask_responses import to_json
from service.http.openapi import problems
from service.observe.payloads import Liveness, Readiness
from storage.queue import TrainingQueue


def health_routes(redis: Redis, queue: TrainingQueue, check_loaded: Callable[[], None]) -> APIBlueprint:
    """Build the routes from their parts.

    Args:
        check_loaded: raises UnavailableError until the versions that aliases point at are in memory.
    """
    routes = APIBlueprint("health", __name__, abp_tags=[Tag(name="Operations", description="Is the service up?")])

    @routes.get("/livez", summary="Is the process alive?", responses={200: Liveness, **problems()})
    def livez() -> Response:
        return to_json(Liveness(status="alive"))

    @routes.get("/readyz", summary="Can the service do its work?", responses={200: Readiness, **problems()})
    def readyz() -> Response:
        redis.ping()
        check_loaded()
        return to_json(Readiness(status="ready", redis="ok", workers=queue.n_workers()))

    return routes
