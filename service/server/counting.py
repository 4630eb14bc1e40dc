"""Counts and logs every answer of the shell by its route, except those that the one predict has counted."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter_ns

from werkzeug.routing import Map

from service.observe.metrics.traffic import METHODS, OTHER, Traffic
from service.observe.payloads import ALIVE, READINESS_PATHS
from service.predict.predict import SERVER_TIMING
from service.predict.protocols.table import PREDICT
from service.server.messages import App, Message, Receive, Scope, Send, header, remote_of, with_request_id
from service.server.routing import ROUTE, route_finder
from storage.log import traces
from storage.log.form import doing

_HEALTH = READINESS_PATHS | ALIVE.keys()


def counted(app: App, traffic: Traffic, rules: Map, is_starting: Callable[[], bool] = lambda: False) -> App:
    """Return an app that answers as `app` does, counts, and logs. It finds the route of each request.

    Every line that is logged meanwhile has the id of the request.

    Args:
        rules: of the Flask app, which tell the route of a path.
        is_starting: whether the process is not ready yet, as whoever waits for it asks again and again.
    """
    find_route = route_finder(rules)

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        answered = _Answered(is_starting())

        async def noting(message: Message) -> None:
            answered.note(message)
            await send(message)

        async def reading() -> Message:
            message = await receive()
            answered.read(message)
            return message

        route = find_route(scope["method"], scope["path"])
        scope = {**with_request_id(scope), ROUTE: route}
        with doing(request_id=header(scope, b"x-request-id").decode("latin-1")), _span_of(scope, route.shown):
            try:
                await app(scope, reading, noting)
            except Exception:
                answered.fail()
                raise
            finally:
                traces.describe(http_response_status_code=answered.status)
                if answered.status and not answered.is_predict:  # else it is counted, or the client has gone
                    _count_and_log(scope, answered, traffic, route.shown)

    return count


def _span_of(scope: Scope, rule: str) -> AbstractContextManager[None]:
    """Return the span of a request. A predict has one only when its client asks for it."""
    if not traces.is_on():
        return nullcontext()
    method = scope["method"]
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
        self._complete_ns = self.started_ns
        self.status = 0
        self.ns_to_begin = 0
        """From when the request was complete."""
        self.n_bytes = 0
        self.is_predict = False
        self.is_held = False
        """Whether the client wanted the answer to wait for something, or to go on."""

    def read(self, message: Message) -> None:
        """Note a message of the request."""
        if message["type"] == "http.request" and not message.get("more_body"):
            self._complete_ns = perf_counter_ns()

    def note(self, message: Message) -> None:
        """Note a message of the answer."""
        if message["type"] == "http.response.start":
            self.ns_to_begin = perf_counter_ns() - self._complete_ns
            self.status = message["status"]
            headers = {name.lower(): value for name, value in message["headers"]}
            self.is_predict = SERVER_TIMING in headers
            is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
            self.is_held = is_stream or b"preference-applied" in headers
        else:
            self.n_bytes += len(message.get("body", b""))

    def fail(self) -> None:
        """Note that there is no answer, or no whole one."""
        self.status, self.is_predict = 500, False
        self.ns_to_begin = perf_counter_ns() - self._complete_ns


def _count_and_log(scope: Scope, answered: _Answered, traffic: Traffic, rule: str) -> None:
    method, status, log = scope["method"], answered.status, traffic.access_log
    own_ns = 0 if answered.is_held else answered.ns_to_begin
    traffic.answered(rule, method, status, None if answered.is_held else own_ns)
    if (is_sample := rule in PREDICT) and not log.is_due(status, own_ns):
        return  # a predict that was refused at the door: a client may send thousands of them
    log.write(
        method=method if method in METHODS else OTHER,
        route=rule,
        status=status,
        n_bytes=answered.n_bytes,
        ns=perf_counter_ns() - answered.started_ns,
        own_ns=own_ns,
        remote=remote_of(scope),
        is_sample=is_sample,
        is_probe=rule in _HEALTH and (status < 500 or answered.was_starting),
    )
