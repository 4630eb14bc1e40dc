"""The heads that are answered without uvicorn, and those that are not."""

import pytest

from service.server.request_head import PlainHead, parse_plain_head

HEAD = b"POST /predict?model=or HTTP/1.1\r\nHost: test\r\nContent-Length: 12\r\n\r\n"


def test_a_plain_head_gives_path_query_headers_and_length():
    headers = {b"host": b"test", b"content-length": b"12"}
    assert parse_plain_head(HEAD) == PlainHead("/predict", b"model=or", headers, 12)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"POST", b"GET"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"HTTP/9"),
        (b"/predict", b"http://test/predict"),
        (b"/predict", b"/pr%65dict"),
        (b"model=or", b"model=or#part"),
        (b"Host: test", b"Host: test\r\nHost: test"),
        (b"Host: test", b"Expect: 100-continue"),
        (b"Host: test", b"Connection: close"),
        (b"Host: test", b"Connection: Upgrade\r\nUpgrade: h2c"),
        (b"12\r\n\r\n", b"12\r\n\r\nabc\r\n\r\n"),  # the head ends before
        (b"Content-Length: 12", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 12", b"Content-Length: 12\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 12", b"Content-Length: 12\r\nContent-Length: 12"),
        (b"Content-Length: 12", b"Content-Length: 0"),
        (b"Content-Length: 12", b"Content-Length: 1x"),
        (b"Content-Length: 12", b"Content-Type: text/csv"),
        (HEAD, b"\r\n\r\n"),
        (HEAD, HEAD[:-2]),
    ],
)
def test_an_unusual_head_is_left_to_uvicorn(part, instead):
    assert parse_plain_head(HEAD.replace(part, instead)) is None
