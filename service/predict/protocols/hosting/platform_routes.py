"""The routes that Vertex AI names in environment variables: other names of our own."""

from collections.abc import Mapping

from service.predict.ways import find
from service.settings import Settings

HEALTH = "/ping"
PREDICT = "/invocations"


def platform_routes(settings: Settings) -> Mapping[tuple[str, str], str]:
    """Return which of our paths is meant by a method and a path of the platform's.

    A way to predict with a model that the path names, as `/v1/models/churn:predict`, is what it is.
    """
    meant: dict[tuple[str, str], str] = {}
    if settings.health_route is not None:
        meant |= {("GET", settings.health_route): HEALTH, ("HEAD", settings.health_route): HEALTH}
    if settings.predict_route is not None:
        match = find("POST", settings.predict_route)
        if match is None or not match.values:
            meant["POST", settings.predict_route] = PREDICT
    return meant
