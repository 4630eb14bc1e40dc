"""Counts and logs every answer of the shell by its route, except those that the one predict has counted."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map

from service.observe.metrics.traffic import METHODS, OTHER, UNKNOWN_ROUTE, Traffic
from service.observe.payloads import ALIVE, READINESS_PATHS
from service.predict.predict import SERVER_TIMING
from service.predict.protocols.table import PREDICT
from service.server.messages import App, Message, Receive, Scope, Send, header, remote_of, with_request_id
from storage.log import traces
from storage.log.form import doing

_HEALTH = READINESS_PATHS | ALIVE.keys()


def counted(app: App, traffic: Traffic, rules: Map, is_starting: Callable[[], bool] = lambda: False) -> App:
    """Return an app that answers as `app` does, counts, and logs.

    Every line that is logged meanwhile has the id of the request.

    Args:
        rules: of the Flask app, which tell the route of a path.
        is_starting: whether the process is not ready yet, as whoever waits for it asks again and again.
    """
    rule_of = rule_finder(rules)

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        answered = _Answered(is_starting())

        async def noting(message: Message) -> None:
            answered.note(message)
            await send(message)

        scope = with_request_id(scope)
        with doing(request_id=header(scope, b"x-request-id").decode("latin-1")), _span_of(scope, rule_of):
            try:
                await app(scope, receive, noting)
            except Exception:
                answered.fail()
                raise
            finally:
                traces.describe(http_response_status_code=answered.status)
                if answered.status and not answered.is_predict:  # else it is counted, or the client has gone
                    _count_and_log(scope, answered, traffic, rule_of)

    return count


def _span_of(scope: Scope, rule_of: Callable[[str, str], str]) -> AbstractContextManager[None]:
    """Return the span of a request. A predict has one only when its client asks for it."""
    if not traces.is_on():
        return nullcontext()
    method, rule = scope["method"], rule_of(scope["method"], scope["path"])
    parent = {name: header(scope, name.encode()).decode("latin-1") for name in ("traceparent", "tracestate")}
    if rule in PREDICT and not traces.is_sampled(parent["traceparent"].encode()):
        return nullcontext()
    parent = {name: value for name, value in parent.items() if value}
    return traces.span(f"{method} {rule}", kind="server", parent=parent, http_request_method=method, http_route=rule)


class _Answered:
    """What of an answer is counted and logged."""

    def __init__(self, was_starting: bool) -> None:
        self.was_starting = was_starting
        self.started_ns = perf_counter_ns()
        self.status = 0
        self.ns_to_begin = 0
        self.n_bytes = 0
        self.is_predict = False

    def note(self, message: Message) -> None:
        """Note a message of the answer."""
        if message["type"] == "http.response.start":
            self.ns_to_begin = perf_counter_ns() - self.started_ns
            self.status = message["status"]
            self.is_predict = any(name.lower() == SERVER_TIMING for name, _ in message["headers"])
        else:
            self.n_bytes += len(message.get("body", b""))

    def fail(self) -> None:
        """Note that there is no answer, or no whole one."""
        self.status, self.is_predict = 500, False
        self.ns_to_begin = perf_counter_ns() - self.started_ns


def _count_and_log(scope: Scope, answered: _Answered, traffic: Traffic, rule_of: Callable[[str, str], str]) -> None:
    method, is_held = scope["method"], b"wait" in header(scope, b"prefer")
    rule = rule_of(method, scope["path"])
    traffic.answered(rule, method, answered.status, None if is_held else answered.ns_to_begin)
    traffic.access_log.write(
        method=method if method in METHODS else OTHER,
        route=rule,
        status=answered.status,
        n_bytes=answered.n_bytes,
        ns=perf_counter_ns() - answered.started_ns,
        remote=remote_of(scope),
        is_probe=rule in _HEALTH and (answered.status < 500 or answered.was_starting),
    )


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
