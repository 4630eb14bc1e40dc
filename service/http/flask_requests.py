"""What the Flask app does with every request: its id, its size, its media types, and whether the store can be used."""

import time
from collections.abc import Callable, Collection
from typing import Any

from flask import Flask, Request, Response, current_app, g, request

from service.http.caller import ANYONE, Caller
from service.http.content_coding import decoded
from service.http.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    UnsupportedMediaTypeError,
)
from service.http.flask_responses import to_problem
from service.http.media_types import JSON, answer_type, body_type
from service.http.parsing import parse_object
from service.http.wire import SAFE, HttpRequest, request_id
from service.settings import Limits
from storage.circuit_breaker import CircuitBreaker
from storage.errors import JobNotFoundError, ModelNotFoundError
from storage.waiting_time import begin_request, end_request

_CHECK_STORE_EVERY_S = 1.0

_SAFE = {name.decode().title(): value.decode() for name, value in SAFE}

COMPLETE_NS = "perceptron.complete_ns"
"""The member of an ASGI scope that says when all of the request was here, if a thread has to be waited for."""

ROOM = "perceptron-room"
"""The app's `Room`, among its extensions."""


class JsonRequest(Request):
    """A request whose JSON is always parsed strictly."""

    limits: Limits

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as an object. `silent`, which flask-openapi3 sets, would turn invalid JSON into no body.

        Raises:
            LengthRequiredError, UnsupportedMediaTypeError: there is no body, or it is not JSON.
            BadRequestError, BodyTooLargeError: the body is not in its Content-Encoding, or too long without it.
            MalformedJsonError, InvalidRequestError: the body is not a JSON object, or has too many parts.
        """
        sent = decoded(http_request(self), self.limits)
        if (given := body_type(sent)[0]) != JSON:
            raise UnsupportedMediaTypeError(f"the body must be {JSON}, not {given}")
        return parse_object(sent.body, self.limits)


def json_request(limits: Limits) -> type[JsonRequest]:
    """Return the class of an app's requests."""
    return type("LimitedJsonRequest", (JsonRequest,), {"limits": limits})


def http_request(request: Request) -> HttpRequest:
    """Return a request of Flask as the value that framework-free code reads.

    Raises:
        LengthRequiredError: there is no body.
    """
    if request.content_length is None:
        raise LengthRequiredError("send a body, with a Content-Length")

    def header(name: str) -> bytes:
        return request.headers.get(name, "").encode("latin-1")

    return HttpRequest(
        body=request.get_data(cache=False),
        request_id=g.request_id,
        content_type=header("Content-Type"),
        content_encoding=header("Content-Encoding"),
        accept=header("Accept"),
        query=request.query_string,
        headers={name.lower().encode("latin-1"): value.encode("latin-1") for name, value in request.headers},
        path_values=request.view_args or {},
        room=current_app.extensions[ROOM],
        caller=current_caller(),
        rule=request.url_rule.rule if request.url_rule is not None else "",
        remote=request.remote_addr or "",
        complete_ns=request.environ.get("asgi.scope", {}).get(COMPLETE_NS) or time.perf_counter_ns(),
    )


def current_caller() -> Caller:
    """Return who sends the request that Flask answers now."""
    caller: Caller = g.get("caller", ANYONE)
    return caller


def register_request_checks(
    app: Flask, limits: Limits, find_caller: Callable[[], Caller], *, free_rules: Collection[str]
) -> None:
    """Give each request an id, and refuse it before its body is read when its headers are reason enough.

    Args:
        find_caller: returns who sends the current request; raises if he may not.
        free_rules: rules of routes that choose the media type of their answer themselves.
    """

    @app.before_request
    def check() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        g.caller = find_caller()
        if "Transfer-Encoding" in request.headers:
            raise LengthRequiredError("send the body whole, with a Content-Length, not in chunks")
        length = request.content_length or 0
        if length > limits.max_body_bytes:
            raise BodyTooLargeError(f"the body may have {limits.max_body_bytes} bytes (MAX_BODY_BYTES), not {length}")
        if not _is_for(free_rules):
            # Clients that predict in CSV name it for every request: here it gets them JSON, as it is all there is.
            answer_type(request.headers.get("Accept", "").encode("latin-1"), [JSON, "text/csv"])

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        response.headers.update(_SAFE)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response


def register_store_checks(
    app: Flask, breaker: CircuitBreaker, check_store: Callable[[], object], *, free_rules: Collection[str]
) -> None:
    """Answer 503 at once to every request that needs Redis while Redis is away, or is not the one with our data.

    New connections check the identity of the store by themselves. This check is for connections that outlive a
    FLUSHALL: it comes before every write, before every 404 and once a second.

    Args:
        check_store: asks Redis, and raises if it is away or was replaced.
        free_rules: rules of routes that need no Redis. Predictions are among them: versions in memory stay right.
    """
    checked_at_s = float("-inf")

    @app.before_request
    def check() -> None:
        nonlocal checked_at_s
        begin_request()
        if _is_for(free_rules) or request.method == "OPTIONS":  # which needs no access key either
            return
        now_s = time.monotonic()
        is_due = now_s - checked_at_s >= _CHECK_STORE_EVERY_S
        if is_due or breaker.is_away or request.method not in ("GET", "HEAD"):
            with breaker.calling():
                check_store()
            checked_at_s = now_s

    @app.teardown_request
    def finish(_: BaseException | None) -> None:
        end_request()

    @app.errorhandler(JobNotFoundError)
    @app.errorhandler(ModelNotFoundError)
    def check_before_404(error: Exception) -> Response:
        try:
            with breaker.calling():
                check_store()
        except Exception as reason:
            return to_problem(reason)
        return to_problem(error)


def _is_for(rules: Collection[str]) -> bool:
    return request.url_rule is not None and request.url_rule.rule in rules
