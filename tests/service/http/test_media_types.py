"""Which media type is answered: the Accept headers that clients really send."""

import pytest
from flask.testing import FlaskClient

from service.http.errors import NotAcceptableError
from service.http.media_types import answer_type

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("application/json; charset=utf-8", JSON),
        ("APPLICATION/JSON;CHARSET=UTF-8", JSON),
        ("text/csv; charset=utf-8", CSV),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),  # java.net.HttpURLConnection
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", JSON),
        ("application/*", JSON),
        ("text/*;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.2, */*;q=0.1", CSV),
        ("*/*;q=0.5, text/csv", CSV),
        ("*/*, application/json;q=0", CSV),  # the more specific range decides (RFC 9110)
        ("text/csv, application/json", JSON),  # a tie
        ('application/json; profile="a,b;q=0"; q=0.7, text/csv;q=0.5', JSON),
        ("application/problem+json", JSON),
        ("json", JSON),  # no media range
        ("application/json;q=high, text/csv", CSV),
        ("application/json;q=2, text/csv", JSON),
    ],
)
def test_the_preferred_type_is_answered(accept: str, expected: str) -> None:
    assert answer_type(accept.encode(), [JSON, CSV]) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "*/*;q=0", "application/json;q=0", "application/json;q=0.000, text/xml"]
)
def test_a_client_that_takes_no_json_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match=r"application/json or application/problem\+json"):
        answer_type(accept.encode(), [JSON])


def test_several_accept_headers_are_one(http: FlaskClient) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/json; charset=utf-8")]
    assert http.get("/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/ping", "/v2/health/live"])
def test_health_is_answered_whatever_a_probe_accepts(http: FlaskClient, path: str) -> None:
    answer = http.get(path, headers={"Accept": "text/csv; charset=utf-8"})
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
