"""From headers to a caller: pure, with keys and times chosen by hand."""

import hashlib
import hmac

import pytest

from service.access.authenticate import authenticate, by_name
from service.access.ring import Keys
from service.http.caller import Caller
from service.http.errors import UnauthenticatedError
from storage.access.record import AccessKey

SECRET = "s" * 43
TEXT = f"psk_{'1' * 16}_{SECRET}".encode()
KEY = AccessKey(
    id="1" * 16,
    digest=hashlib.sha256(SECRET.encode()).hexdigest(),
    scopes=frozenset({"predict"}),
    tenant="acme",
    name="",
    created_at_ms=1_000,
    expires_at_ms=5_000,
)
KEYS = Keys({KEY.id: KEY}, is_any=True)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + TEXT},
        {b"authorization": b"bearer   " + TEXT + b" "},
        {b"x-api-key": TEXT},
        {b"authorization": b"Bearer " + TEXT, b"x-api-key": TEXT},
        {b"authorization": b"Basic dTpw", b"x-api-key": TEXT},
    ],
)
def test_a_key_in_force_names_its_caller(headers: dict[bytes, bytes]) -> None:
    assert authenticate(headers, KEYS, 4_999) == (Caller("1" * 16, "acme", frozenset({"predict"})), 5_000, KEYS)


@pytest.mark.parametrize(
    ("headers", "now_ms", "reason"),
    [
        ({}, 0, "missing"),
        ({b"authorization": b"Bearer"}, 0, "missing"),
        ({b"authorization": b"Basic " + TEXT}, 0, "missing"),
        ({b"authorization": TEXT}, 0, "missing"),
        ({b"authorization": b"Bearer psk_1"}, 0, "malformed"),
        ({b"authorization": b"Bearer \xff"}, 0, "malformed"),
        ({b"x-api-key": TEXT + b"0"}, 0, "malformed"),
        ({b"x-api-key": TEXT[:-1] + b"t"}, 0, "wrong secret"),
        ({b"x-api-key": TEXT.replace(b"1", b"2")}, 0, "unknown"),
        ({b"x-api-key": TEXT}, 5_000, "expired"),
        ({b"authorization": b"Bearer " + TEXT, b"x-api-key": b"psk_1"}, 0, "two keys that differ"),
    ],
)
def test_anything_else_is_refused_in_the_same_words(headers: dict[bytes, bytes], now_ms: float, reason: str) -> None:
    with pytest.raises(UnauthenticatedError) as refused:
        authenticate(headers, KEYS, now_ms)
    assert refused.value.reason == reason
    assert str(refused.value) == str(UnauthenticatedError(""))


def test_an_unknown_id_costs_the_same_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append([len(each) for each in both]))
    for text in (TEXT, TEXT.replace(b"1", b"2")):
        with pytest.raises(UnauthenticatedError):
            authenticate({b"x-api-key": text}, KEYS, 0)
    assert compared == [[64, 64], [64, 64]]


def test_a_header_that_came_twice_holds_no_key() -> None:
    headers = by_name([(b"x-api-key", TEXT), (b"host", b"h"), (b"x-api-key", TEXT)])
    with pytest.raises(UnauthenticatedError):
        authenticate(headers, KEYS, 0)
