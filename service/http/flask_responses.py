"""From payloads, answers and errors to Flask's responses."""

import orjson
from flask import Flask, Response, g
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from service.http.errors import answer_to, problem_answer
from service.http.wire import HttpAnswer
from storage.circuit_breaker import CircuitBreaker

_CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
}


def to_json(payload: BaseModel, status: int = 200) -> Response:
    """Return a response with a payload as JSON; numbers are printed so that they read back exactly."""
    return Response(orjson.dumps(payload.model_dump()), status, mimetype="application/json")


def to_response(answer: HttpAnswer) -> Response:
    """Return the response of Flask for an answer."""
    headers = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in answer.headers]
    response = Response(answer.body, answer.status, headers)
    response.headers["Content-Type"] = answer.media_type.decode("latin-1")
    return response


def to_problem(error: Exception) -> Response:
    """Return the response for an error."""
    return to_response(answer_to(error, request_id=g.get("request_id")))


def register_error_handlers(app: Flask, breaker: CircuitBreaker) -> None:
    """Answer every error of the app, expected or not, as `application/problem+json`.

    Args:
        breaker: takes note of errors that mean that Redis is away.
    """
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, lambda error: to_problem(breaker.note(error) or error))


def _http_problem(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect or a ready response
    code = _CODE_OF_STATUS.get(error.code, "http_error")
    detail = error.description or error.name
    response = to_response(problem_answer(error.code, code, detail, request_id=g.get("request_id")))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
