"""Which clients are believed about theirs: whether they speak TLS, and who they are."""

import pytest

from service.server.proxies import Proxies
from service.settings import Settings

TLS = {b"x-forwarded-proto": b"https"}


def proxies(text: str) -> Proxies:
    return Proxies(Settings.from_env({"REDIS_URL": "redis://r", "FORWARDED_ALLOW_IPS": text}).proxies)


@pytest.mark.parametrize(
    ("text", "believed", "others"),
    [
        ("", ["127.0.0.1", "::1"], ["10.0.0.1", None]),
        ("10.0.0.0/8, fd00::/8", ["10.1.2.3", "fd00::1"], ["127.0.0.1", "11.0.0.1", "nonsense"]),
        ("*", ["127.0.0.1", "1.2.3.4", None], []),
    ],
)
def test_only_the_proxies_of_the_setting_are_believed(
    text: str, believed: list[str | None], others: list[str | None]
) -> None:
    assert all(proxies(text).has_tls(host, TLS) for host in believed)
    assert not any(proxies(text).has_tls(host, TLS) for host in others)
    assert not any(proxies(text).has_tls(host, {b"x-forwarded-proto": b"http"}) for host in believed)


def test_what_is_no_address_ends_the_start() -> None:
    with pytest.raises(ValueError, match=r"FORWARDED_ALLOW_IPS must be \* or addresses and networks"):
        proxies("proxy.example")


@pytest.mark.parametrize(
    ("text", "host", "forwarded_for", "client"),
    [
        ("", "203.0.113.9", "", "203.0.113.9"),
        ("", "203.0.113.9", "10.0.0.1", "203.0.113.9"),  # anybody can send that
        ("", "127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("", "127.0.0.1", "10.0.0.1, 203.0.113.9", "203.0.113.9"),  # what the proxy saw, not what its client sent
        ("", "127.0.0.1", "", None),
        ("", "127.0.0.1", "203.0.113.9, unknown", None),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, 10.0.0.2", None),  # a proxy behind a proxy
        ("", "", "203.0.113.9", None),  # a unix socket
        ("*", "198.51.100.1", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_a_proxy_that_is_believed_tells_who_its_client_is(
    text: str, host: str, forwarded_for: str, client: str | None
) -> None:
    assert proxies(text).client_of(host, {b"x-forwarded-for": forwarded_for.encode()}) == client
