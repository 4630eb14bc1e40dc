"""Which Host headers are answered."""

from functools import partial

import pytest

from service.access.hosts import check_allowed, check_no_page_can_have
from service.http.errors import MisdirectedError
from service.settings import Settings


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.5.6.7", "[::1]:8000", "[::1]", "10.0.0.7", "api", "x:80", "",
     "app.localhost:80", "localhost."],
)  # fmt: skip
def test_no_page_of_the_web_can_have_these_names(host: str) -> None:
    check_no_page_can_have(host.encode())


@pytest.mark.parametrize(
    "host",
    ["example.com", "example.com:8000", "127.0.0.1.nip.io", "localhost.example.com", "a.b.", "notlocalhost.com:1",
     "127.0.0.1@evil.com", "1.2.3.4.5", "localhost:80:evil.com", "evil.com/localhost", "[::1].evil.com"],
)  # fmt: skip
def test_a_page_of_the_web_could_have_these(host: str) -> None:
    with pytest.raises(MisdirectedError, match="ALLOWED_HOSTS"):
        check_no_page_can_have(host.encode())


def test_a_list_of_hosts_holds_for_names_and_those_below() -> None:
    allowed = ("api.example.com", "*.internal", "::1")
    for host in (b"api.example.com", b"API.example.com:443", b"a.internal", b"a.b.internal:80", b"[::1]:8000"):
        check_allowed(host, allowed)
    for host in (b"example.com", b"internal", b"xinternal", b"api.example.com.evil.org", b"", b"localhost"):
        with pytest.raises(MisdirectedError, match="ALLOWED_HOSTS"):
            check_allowed(host, allowed)


def test_a_star_stands_for_every_host() -> None:
    assert Settings.from_env({"REDIS_URL": "redis://r", "ALLOWED_HOSTS": "*, api"}).allowed_hosts == ("*", "api")
    for host in (b"example.com", b"", b"a:b:c"):
        check_allowed(host, ("*", "api"))


def test_a_name_that_is_too_long_is_refused_before_its_parts_are_looked_at() -> None:
    longest = "a." * 126 + "a"
    assert len(longest) == 253
    check_allowed(longest.encode() + b":8000", ("*.a",))
    for host in (b"a." + longest.encode(), b"." * 60_000):
        for check in (partial(check_allowed, allowed=("api",)), check_no_page_can_have):
            with pytest.raises(MisdirectedError, match="may have 253"):
                check(host)
