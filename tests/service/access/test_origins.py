"""Which pages may send requests while there is no access key, by the headers that browsers send."""

import pytest

from service.access.origins import check_origin
from service.http.errors import OtherOriginError


def headers(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


@pytest.mark.parametrize(
    "sent",
    [
        headers(),  # no browser
        headers(host="localhost:8000"),
        headers(sec_fetch_site="same-origin", origin="http://localhost:8000", host="localhost:8000"),
        headers(sec_fetch_site="same-origin", origin="https://api.example", host="upstream:8000"),  # a proxy changed it
        headers(sec_fetch_site="none"),
        headers(origin="http://10.0.0.7:8000", host="10.0.0.7:8000"),  # browsers send the relation to secure hosts only
        headers(origin="http://api", host="API"),
        headers(origin="http://[::1]:8000", host="[::1]:8000"),
        headers(origin="https://app.example", host="localhost:8000", sec_fetch_site="cross-site"),  # allowed
    ],
)
def test_the_own_pages_and_those_of_the_list_may_send(sent: dict[bytes, bytes]) -> None:
    check_origin(sent, ["https://app.example"])


OTHERS = [
    headers(sec_fetch_site="cross-site"),
    headers(sec_fetch_site="same-site", origin="http://localhost:3000", host="localhost:8000"),
    headers(sec_fetch_site="cross-site", origin="null", host="localhost:8000"),
    headers(sec_fetch_site="same-origin, cross-site"),
    headers(sec_fetch_site=""),
    headers(origin="https://evil.example", host="localhost:8000"),
    headers(origin="http://localhost:8001", host="localhost:8000"),
    headers(origin="null", host="localhost:8000"),
    headers(origin="null", host="null"),
    headers(origin="null"),
    headers(origin="https://app.example.evil.example", host="localhost"),
    headers(origin="http://localhost:8000, http://localhost:8000", host="localhost:8000"),
]


@pytest.mark.parametrize("sent", OTHERS)
def test_other_pages_may_not_unless_all_may(sent: dict[bytes, bytes]) -> None:
    with pytest.raises(OtherOriginError, match="CORS_ORIGINS, or make a key"):
        check_origin(sent, ["https://app.example"])
    check_origin(sent, ["*"])
