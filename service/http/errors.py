"""What can be wrong with a request, and the one table that turns every error into an answer (RFC 9457).

RequestError
|-- MalformedJsonError
|-- BadRequestError
|-- UnsupportedMediaTypeError
|-- NotAcceptableError
|-- LengthRequiredError
|-- BodyTooLargeError
|-- RedisHangsError
`-- InvalidRequestError
    |-- WrongDimensionError
    `-- OutputTooLargeError
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

import perceptron
from service.http.wire import PROBLEM, HttpAnswer
from storage.availability import ReplacedRedisError, is_unavailable
from storage.errors import (
    AliasNotFoundError,
    CorruptDataError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    ModelNotFoundError,
    NoNetworkError,
    VersionInUseError,
    VersionNotFoundError,
)

RETRY_AFTER_S = 1

_log = logging.getLogger(__name__)


class RequestError(Exception):
    """Base of what is wrong with a request itself."""


class MalformedJsonError(RequestError):
    """The body is no JSON object as RFC 8259 has it."""


class BadRequestError(RequestError):
    """The request is none that this service can understand, in what its protocol calls a bad request."""


class UnsupportedMediaTypeError(RequestError):
    """The body has a media type that the route does not take."""


class NotAcceptableError(RequestError):
    """The route cannot answer in any media type of the Accept header."""


class LengthRequiredError(RequestError):
    """The body comes in chunks, so nobody can say in advance whether it is too large."""


class BodyTooLargeError(RequestError):
    """The body is longer than the limit."""


class RedisHangsError(RequestError):
    """Nothing is wrong with the request, but Redis let others wait in vain just now."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the body; for the query and the headers their name after a `/`."""
    detail: str


class InvalidRequestError(RequestError):
    """The request is well formed, but not one that can be carried out."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = f"{faults[0].pointer or 'the body'}: {faults[0].detail}"
        super().__init__(first if len(faults) == 1 else f"{first} (and {len(faults) - 1} more)")
        self.faults = faults


class WrongDimensionError(InvalidRequestError):
    """An instance has another number of features than the model."""


class OutputTooLargeError(InvalidRequestError):
    """The output for an instance is infinite or not a number, and the body says where the instance stands."""


STATUS_AND_CODE: dict[type[Exception], tuple[int, str]] = {
    MalformedJsonError: (400, "malformed_json"),
    BadRequestError: (400, "bad_request"),
    NotAcceptableError: (406, "not_acceptable"),
    LengthRequiredError: (411, "length_required"),
    BodyTooLargeError: (413, "too_large"),
    UnsupportedMediaTypeError: (415, "unsupported_media_type"),
    WrongDimensionError: (422, "wrong_dimension"),
    OutputTooLargeError: (422, "output_not_finite"),
    InvalidRequestError: (422, "invalid_request"),
    perceptron.TargetsOutOfRangeError: (422, "targets_out_of_range"),
    perceptron.DimensionError: (422, "wrong_dimension"),
    perceptron.OutputNotFiniteError: (422, "output_not_finite"),
    perceptron.PerceptronError: (422, "invalid_request"),
    JobNotFoundError: (404, "job_not_found"),
    ModelNotFoundError: (404, "model_not_found"),
    VersionNotFoundError: (404, "version_not_found"),
    AliasNotFoundError: (404, "alias_not_found"),
    NoNetworkError: (409, "no_network"),
    JobAlreadyDoneError: (409, "job_already_done"),
    VersionInUseError: (409, "version_in_use"),
    IdempotencyKeyReusedError: (422, "idempotency_key_reused"),
}

_CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
}


def problem_body(status: int, code: str, detail: str, *, request_id: str | None) -> dict[str, Any]:
    """Make the members that every error answer has."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        "error": detail,
    }


def problem_answer(
    status: int, code: str, detail: str, *, request_id: str | None, faults: Sequence[Fault] = ()
) -> HttpAnswer:
    """Make an error answer.

    Args:
        detail: what is wrong with this request, in a sentence. Open Inference Protocol clients read it as `error`.
    """
    body = problem_body(status, code, detail, request_id=request_id)
    if faults:
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    retry_after = ((b"retry-after", b"%d" % RETRY_AFTER_S),) if status in (429, 503) else ()
    return HttpAnswer(status, PROBLEM, orjson.dumps(body), retry_after)


def answer_to(error: Exception, *, request_id: str | None) -> HttpAnswer:
    """Answer with what the table says of the error; what it does not know is our own fault."""
    if is_unavailable(error) or isinstance(error, RedisHangsError):
        _log.warning("request %s: %s", request_id, error)
        detail = "the store of jobs and models cannot be reached or takes no writes now"
        if isinstance(error, ReplacedRedisError):
            detail = str(error)
        return problem_answer(503, "unavailable", detail, request_id=request_id)
    if isinstance(error, CorruptDataError):
        # Nothing that a client sends is the cause, and a restored store mends it.
        _log.critical("ALARM: what is stored is damaged. request %s: %s", request_id, error)
        detail = "what is stored is not what was written there; the service's log has the details under the request_id"
        return problem_answer(503, "unavailable", detail, request_id=request_id)
    for kind in type(error).__mro__:
        if kind in STATUS_AND_CODE:
            status, code = STATUS_AND_CODE[kind]
            return problem_answer(status, code, str(error), request_id=request_id, faults=_faults(error))
    _log.error("request %s met an unexpected error", request_id, exc_info=error)
    detail = "an unexpected error; the service's log has the details under the request_id"
    return problem_answer(500, "internal", detail, request_id=request_id)


def to_response(answer: HttpAnswer) -> Response:
    """Answer through Flask."""
    headers = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in answer.headers]
    response = Response(answer.body, answer.status, headers)
    response.headers["Content-Type"] = answer.media_type.decode("latin-1")
    return response


def register_error_handlers(app: Flask) -> None:
    """Answer every error of the application, foreseen or not, as `application/problem+json`."""
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, known_problem)


def _http_problem(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect or a ready answer
    code = _CODE_OF_STATUS.get(error.code, "http_error")
    detail = error.description or error.name
    answer = to_response(problem_answer(error.code, code, detail, request_id=g.get("request_id")))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def known_problem(error: Exception) -> Response:
    """Answer through Flask with what the table says of the error."""
    return to_response(answer_to(error, request_id=g.get("request_id")))


def _faults(error: Exception) -> Sequence[Fault]:
    match error:
        case InvalidRequestError():
            return error.faults
        case perceptron.InvalidConfigError():
            return [Fault("/" + error.field, str(error))]
        case perceptron.TargetsOutOfRangeError():
            return [Fault(f"/data/targets/{error.index}", str(error))]
        case perceptron.InvalidDatasetError():
            return [Fault("/data", str(error))]
        case perceptron.OutputNotFiniteError():
            return [Fault(f"/instances/{error.index}", str(error))]
    return ()
