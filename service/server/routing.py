"""Which rule of the Flask app a request is for: found once, for the gate, the metrics, the log and the traces."""

from collections.abc import Callable
from typing import NamedTuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map

from service.observe.metrics.traffic import UNKNOWN_ROUTE

ROUTE = "perceptron.route"
"""The member of an ASGI scope that has its `Route`."""


class Route(NamedTuple):
    """What Flask's router says about a method and a path."""

    rule: str | None
    """The rule that Flask will find; None: there is none for this method."""
    shown: str
    """The rule of the path, be it for another method; never the path itself."""


def route_finder(rules: Map) -> Callable[[str, str], Route]:
    """Return a function that finds the route of a method and a path."""
    adapter = rules.bind("")

    def find(method: str, path: str) -> Route:
        try:
            rule = adapter.match(path, method, return_rule=True)[0].rule
        except MethodNotAllowed as error:
            allowed = next(iter(error.valid_methods or ()), None)
            return Route(None, UNKNOWN_ROUTE if allowed is None else find(allowed, path).shown)
        except HTTPException:
            return Route(None, UNKNOWN_ROUTE)
        return Route(rule, rule)

    return find
