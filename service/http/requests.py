"""What holds for every request: its id, its size, its media types."""

import os
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import redis
from flask import Flask, Request, Response, g, request

from service.http.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    NotAcceptableError,
    RedisHangsError,
    UnsupportedMediaTypeError,
    known_problem,
)
from service.http.parsing import parse_object
from service.predict.ways import PREDICT
from service.settings import Limits
from storage.errors import JobNotFoundError, ModelNotFoundError
from storage.identity import Epoch

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_INDEPENDENT = ("docs", "hosting")
"""Blueprints whose answers are not all JSON, and do not all need Redis."""
_JSON_ANSWERS = ("application/json", "application/problem+json")
ALIVE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"/livez": {"status": "alive"}, "/v2/health/live": {"live": True}}
)
"""What is answered without asking anybody."""

_GIVE_UP_FOR_S = 1.0
_CHECK_EPOCH_EVERY_S = 1.0


class JsonRequest(Request):
    """A request whose JSON is parsed strictly, whoever asks for it."""

    limits: Limits

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as an object.

        flask-openapi3 asks for it silently and would take what is no JSON for an empty body.

        Raises:
            LengthRequiredError, UnsupportedMediaTypeError: there is no body, or one of another media type than JSON.
            MalformedJsonError, InvalidRequestError: the body is no JSON object, or has too many parts.
        """
        require_json(self)
        return parse_object(self.get_data(cache=False), self.limits)


def json_request(limits: Limits) -> type[JsonRequest]:
    """Make the class of an app's requests."""
    return type("LimitedJsonRequest", (JsonRequest,), {"limits": limits})


def require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; saying nothing is taken for JSON.

    Raises:
        LengthRequiredError: there is no body.
        UnsupportedMediaTypeError: the Content-Type is another one, or there is a Content-Encoding.
    """
    if request.content_length is None:
        raise LengthRequiredError("send a JSON object, with a Content-Length")
    if request.mimetype not in ("", "application/json") and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaTypeError(f"the body must be application/json, not {request.mimetype}")
    encoding = request.headers.get("Content-Encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"the body must not be encoded, and this one is in {encoding}")


def request_id(given: str) -> str:
    """Return the id that a client gave its request, if it is fit for a header and a log, or a new one."""
    return given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def register_request_checks(app: Flask, limits: Limits) -> None:
    """Give each request an id, and refuse it before its body is read when its headers say enough."""

    @app.before_request
    def check() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        if "Transfer-Encoding" in request.headers:
            raise LengthRequiredError("send the body whole, with a Content-Length, not in chunks")
        length = request.content_length or 0
        if length > limits.max_body_bytes:
            raise BodyTooLargeError(
                f"the body may have {limits.max_body_bytes} bytes (MAX_BODY_BYTES), and this one has {length}"
            )
        accepted = request.accept_mimetypes
        is_json = request.blueprint not in _INDEPENDENT and not _is_to_predict()
        if accepted and is_json and not accepted.best_match(_JSON_ANSWERS):
            raise NotAcceptableError(f"the answer can only be {' or '.join(_JSON_ANSWERS)}")

    register_short_way_out(app)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-cache")
        return response


def register_epoch_check(app: Flask, epoch: Epoch, store: redis.Redis) -> None:
    """Refuse whatever needs Redis while it is one that was emptied or replaced.

    New connections are checked by themselves; this is for those that outlive a FLUSHALL. It comes before every write
    and before every 404, and once a second besides. Predictions go on: what is in memory stays right.
    """
    checked_at = float("-inf")

    @app.before_request
    def check_epoch() -> None:
        nonlocal checked_at
        if _needs_no_redis():
            return
        now = time.monotonic()
        if request.method not in ("GET", "HEAD") or now - checked_at >= _CHECK_EPOCH_EVERY_S:
            epoch.check(store)
            checked_at = now

    @app.errorhandler(JobNotFoundError)
    @app.errorhandler(ModelNotFoundError)
    def check_epoch_first(error: Exception) -> Response:
        try:
            epoch.check(store)
        except Exception as reason:
            return known_problem(reason)
        return known_problem(error)


def _is_to_predict() -> bool:
    return request.url_rule is not None and request.url_rule.rule in PREDICT


def _needs_no_redis() -> bool:
    return request.blueprint in _INDEPENDENT or request.path in ALIVE or _is_to_predict()


def register_short_way_out(app: Flask) -> None:
    """For a second after Redis let one request wait in vain, refuse the others at once.

    Else each would hold a thread for the full time limit, one after the other, with a queue behind them.
    """
    hangs_until = 0.0

    @app.before_request
    def refuse_while_redis_hangs() -> None:
        if time.monotonic() < hangs_until and not _needs_no_redis():
            raise RedisHangsError("Redis did not answer another request just now")

    @app.errorhandler(redis.TimeoutError)
    def note(error: redis.TimeoutError) -> Response:
        nonlocal hangs_until
        hangs_until = time.monotonic() + _GIVE_UP_FOR_S
        return known_problem(error)
