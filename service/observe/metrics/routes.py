"""`/metrics`: for Prometheus."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.http.openapi import problems
from service.observe.metrics.metrics import Metrics

PATH = "/metrics"

_TEXT = {"schema": {"type": "string"}}


def metrics_routes(metrics: Metrics) -> APIBlueprint:
    """Build the route from its parts."""
    routes = APIBlueprint("metrics", __name__, abp_tags=[Tag(name="Operations", description="Is the service up?")])
    scraped = {
        "description": "Every metric, as docs/operations.md lists them. OpenMetrics if the Accept header names it.",
        "content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
    }

    @routes.get(PATH, summary="Metrics for Prometheus", responses={200: scraped, **problems()})
    def metrics_now() -> Response:
        body, media_type = metrics.scrape(request.headers.get("Accept", ""))
        return Response(body, content_type=media_type)

    return routes
