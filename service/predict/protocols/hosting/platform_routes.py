"""The paths that Vertex AI names in environment variables, as other names of our own routes."""

from collections.abc import Mapping

from service.predict.protocols.table import find
from service.settings import Settings

HEALTH = "/ping"
PREDICT = "/invocations"


def platform_routes(settings: Settings) -> Mapping[tuple[str, str], str]:
    """Return our path for each method and path of the platform's.

    A path of ours that names a model, such as `/v1/models/churn:predict`, keeps its meaning.
    """
    paths: dict[tuple[str, str], str] = {}
    if settings.health_route is not None:
        paths |= {("GET", settings.health_route): HEALTH, ("HEAD", settings.health_route): HEALTH}
    if settings.predict_route is not None:
        match = find("POST", settings.predict_route)
        if match is None or not match.values:
            paths["POST", settings.predict_route] = PREDICT
    return paths
