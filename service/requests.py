"""What holds for every request: its id, its size, its media types."""

import re
import uuid
from typing import Any

from flask import Flask, Request, Response, g, request

from service.errors import (
    BodyTooLargeError,
    LengthRequiredError,
    NotAcceptableError,
    UnsupportedMediaTypeError,
)
from service.parsing import parse_object
from service.settings import Limits

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_JSON_ANSWERS = ("application/json", "application/problem+json")


class JsonRequest(Request):
    """A request whose JSON is parsed strictly, whoever asks for it."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as an object.

        flask-openapi3 asks for it silently and would take what is no JSON for an empty body.

        Raises:
            UnsupportedMediaTypeError: the body has another media type than JSON.
            MalformedJsonError: the body is no JSON object.
        """
        require_json(self)
        return parse_object(self.get_data(cache=False))


def require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; saying nothing is taken for JSON.

    Raises:
        UnsupportedMediaTypeError: the Content-Type is another one, or there is a Content-Encoding.
    """
    if request.mimetype not in ("", "application/json") and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaTypeError(f"the body must be application/json, not {request.mimetype}")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise UnsupportedMediaTypeError(f"the body must not be encoded, and this one is in {encoding}")


def register_request_checks(app: Flask, limits: Limits) -> None:
    """Give each request an id, and refuse it before its body is read when its headers say enough."""

    @app.before_request
    def check() -> None:
        given_id = request.headers.get("X-Request-Id", "")
        g.request_id = given_id if _REQUEST_ID.fullmatch(given_id) else uuid.uuid4().hex
        if "Transfer-Encoding" in request.headers:
            raise LengthRequiredError("send the body whole, with a Content-Length, not in chunks")
        length = request.content_length or 0
        if length > limits.max_body_bytes:
            raise BodyTooLargeError(
                f"the body may have {limits.max_body_bytes} bytes (MAX_BODY_BYTES), and this one has {length}"
            )
        accepted = request.accept_mimetypes
        if accepted and request.blueprint != "docs" and not accepted.best_match(_JSON_ANSWERS):
            raise NotAcceptableError(f"the answer can only be {' or '.join(_JSON_ANSWERS)}")

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-cache")
        return response
