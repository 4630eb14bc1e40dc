"""The table of formats: add one here, and the native route and `/invocations` take and give it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.http.errors import UnsupportedMediaTypeError
from service.http.media_types import JSON, answer_type, body_type
from service.http.wire import HttpRequest
from service.predict.formats.arrow import ARROW
from service.predict.formats.csv import CSV
from service.predict.formats.format import Format
from service.predict.formats.json_lines import JSON_LINES
from service.predict.formats.npy import NPY

FORMATS = {each.media_type: each for each in (NPY, CSV, ARROW, JSON_LINES)}
"""The formats by media type. JSON is not among them: its members differ between the protocols."""


class Negotiated(NamedTuple):
    """The formats of one request; None stands for JSON."""

    body: Format | None
    parameters: Mapping[str, str]
    """Of the media type of the body, such as charset."""
    answer: Format | None
    is_slow: bool
    """Whether reading the body or writing the answer would hold up the event loop."""


def negotiate(http: HttpRequest) -> Negotiated:
    """Return the formats that the Content-Type and Accept headers name.

    Raises:
        NotAcceptableError: no format is acceptable to the client.
        UnsupportedMediaTypeError: the body has another media type.
    """
    possible = (JSON, *FORMATS)
    answer = FORMATS.get(answer_type(http.accept, possible))
    given, parameters = body_type(http)
    if given not in possible:
        raise UnsupportedMediaTypeError(f"the body must be {' or '.join(possible)}, not {given}")
    body = FORMATS.get(given)
    is_slow = any(len(http.body) > each.max_bytes_on_loop for each in (body, answer) if each is not None)
    return Negotiated(body, parameters, answer, is_slow)


def openapi_content(*, with_examples: bool) -> dict[str, Any]:
    """Describe a body, or without examples an answer, in each format for the OpenAPI document."""
    content: dict[str, Any] = {}
    for name, each in FORMATS.items():
        is_text = each.example is not None
        content[name] = {"schema": {"type": "string"} if is_text else {"type": "string", "format": "binary"}}
        if is_text and with_examples:
            content[name]["example"] = each.example
    return content
