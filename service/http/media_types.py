"""The media types in the headers of a request: the type of its body, and the types it accepts."""

from collections.abc import Sequence

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from service.http.errors import NotAcceptableError, UnsupportedMediaTypeError
from service.http.wire import HttpRequest

PROBLEM = "application/problem+json"
JSON = "application/json"


def body_type(request: HttpRequest) -> str:
    """Return the media type of the body; JSON when there is no Content-Type.

    Raises:
        UnsupportedMediaTypeError: there is a Content-Encoding.
    """
    encoding = request.content_encoding.decode("latin-1").strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"the body must not be encoded, but its Content-Encoding is {encoding}")
    name = parse_options_header(request.content_type.decode("latin-1"))[0].lower()
    return JSON if name == "" or name.endswith("+json") else name


def answer_type(request: HttpRequest, possible: Sequence[str]) -> str:
    """Return the media type that the client prefers, the first one on a tie.

    Raises:
        NotAcceptableError: the client accepts none of them.
    """
    accepted = parse_accept_header(request.accept.decode("latin-1"), MIMEAccept)
    if not accepted:
        return possible[0]
    best = accepted.best_match(possible)
    if best is not None:
        return best
    if accepted.best_match([PROBLEM]):
        return possible[0]  # the client wants errors alone, and gets them
    raise NotAcceptableError(f"the answer can only be {' or '.join((*possible, PROBLEM))}")
