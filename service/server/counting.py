"""Counts every answer of the shell by its route, except those that the one predict has counted."""

from collections.abc import Callable
from time import perf_counter_ns

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map

from service.observe.metrics.traffic import UNKNOWN_ROUTE, Traffic
from service.predict.predict import SERVER_TIMING
from service.server.messages import App, Message, Receive, Scope, Send, header


def counted(app: App, traffic: Traffic, rules: Map) -> App:
    """Return an app that answers as `app` does, and counts.

    Args:
        rules: of the Flask app, which tell the route of a path.
    """
    rule_of = rule_finder(rules)

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        started_ns = perf_counter_ns()
        status = ns = 0

        async def noting(message: Message) -> None:
            nonlocal status, ns
            if message["type"] == "http.response.start":
                ns = perf_counter_ns() - started_ns
                is_counted = any(name.lower() == SERVER_TIMING for name, _ in message["headers"])
                status = 0 if is_counted else message["status"]
            await send(message)

        try:
            await app(scope, receive, noting)
        except Exception:
            status, ns = 500, perf_counter_ns() - started_ns
            raise
        finally:
            if status:  # else the client has gone
                method, is_held = scope["method"], b"wait" in header(scope, b"prefer")
                traffic.answered(rule_of(method, scope["path"]), method, status, None if is_held else ns)

    return count


def rule_finder(rules: Map) -> Callable[[str, str], str]:
    """Return a function that gives the rule of a method and a path, never the path itself."""
    adapter = rules.bind("")

    def rule_of(method: str, path: str) -> str:
        try:
            return adapter.match(path, method, return_rule=True)[0].rule
        except MethodNotAllowed as error:
            allowed = next(iter(error.valid_methods or ()), None)
            return UNKNOWN_ROUTE if allowed is None else rule_of(allowed, path)
        except HTTPException:
            return UNKNOWN_ROUTE

    return rule_of
