"""Sending one event: to the address that was checked, by https, and to nobody else."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress

import pytest

from storage.webhooks.receivers import AllowedHost, ReceiverRefusedError, receiver_of
from tests.receiver import Receiver, trusting
from worker.webhooks import sending
from worker.webhooks.sending import DeliveryError, Sender

NAME = "hooks.example.com"


def send(
    url: str,
    allowed: Sequence[str],
    addresses: Sequence[str] = ("127.0.0.1",),
    *,
    allow_private: bool = True,
    certificates: ssl.SSLContext | None = None,
    asked: list[str] | None = None,
) -> None:
    """Send an event; every name has these addresses when it is first asked for, and then another one."""
    names = [] if asked is None else asked

    async def resolve(host: str, _: int) -> Sequence[str]:
        names.append(host)
        return addresses if len(names) == 1 else ["127.9.9.9"]

    sender = Sender(certificates or trusting(), allow_private=allow_private, resolve=resolve)
    receiver = receiver_of(url, tuple(map(AllowedHost.parse, allowed)))
    asyncio.run(sender.post(receiver, b"{}", {"webhook-id": "evt_1"}))


def test_an_event_goes_to_the_checked_address_with_the_name_in_the_greeting_and_in_the_host_header() -> None:
    asked: list[str] = []
    with Receiver(NAME) as receiver:
        send(f"https://{NAME}:{receiver.port}/a?b=c", [f"{NAME}:{receiver.port}"], asked=asked)
    (received,) = receiver.received
    assert asked == [NAME], "a second answer of the name server could be another one"
    assert (received.path, received.body, received.server_name) == ("/a?b=c", b"{}", NAME)
    assert received.headers["host"] == f"{NAME}:{receiver.port}"
    assert received.headers["content-type"] == "application/json" and received.headers["webhook-id"] == "evt_1"


def test_the_next_address_has_its_turn_where_the_first_one_takes_no_connection() -> None:
    with Receiver(NAME) as receiver:
        send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"], ["127.0.0.2", "127.0.0.1"])
    assert len(receiver.received) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_and_a_name_of_this_machine_can_be_allowed(host: str) -> None:
    with Receiver(host) as receiver:
        send(f"https://{host}:{receiver.port}/", [f"{host}:{receiver.port}"])
    assert len(receiver.received) == 1


PUBLIC = "93.184.216.34"
ADDRESSES = [
    *(["127.0.0.1"], ["127.1.2.3"], ["::1"], ["0.0.0.0"], ["::"], ["10.0.0.1"], ["172.31.255.255"], ["192.168.0.1"]),
    *(["169.254.169.254"], ["168.63.129.16"], ["100.100.100.200"], ["192.0.0.192"], ["fd00:ec2::254"], ["fe80::1%lo"]),
    *(["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["224.0.0.1"], ["255.255.255.255"], ["fc00::1"]),
    *([PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"], []),
]
SPELLINGS = [
    *("127.0.0.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.0.0.1"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "0", "0.0.0.0", "localhost"),
    *("127.0.0.1.", "u@hooks.example.com", "hooks.example.com@127.0.0.1", "127.0.0.1#@hooks.example.com"),
    *("hooks.example.com.", "127.0.0.1\\@hooks.example.com", "hooks.example.com.localhost"),
    *("localhost.hooks.example.com", "ip6-localhost"),
]


def test_48_ways_to_this_machine_and_its_network_make_no_connection() -> None:
    n_refused = 0
    with Receiver(NAME) as receiver:
        allowed = [f"{NAME}:{receiver.port}"]
        for addresses in ADDRESSES:
            with pytest.raises(DeliveryError) as raised:
                send(f"https://{NAME}:{receiver.port}/", allowed, addresses, allow_private=False)
            assert not raised.value.was_sent, addresses
            n_refused += 1
        for host in SPELLINGS:
            with suppress(ReceiverRefusedError):
                send(f"https://{host}:{receiver.port}/", allowed)
                pytest.fail(f"delivered to {host}")
            n_refused += 1
        assert (n_refused, receiver.n_connections) == (48, 0)
        send(f"https://{NAME}:{receiver.port}/", allowed)  # the socket does listen
        assert receiver.n_connections == 1


def test_proxies_and_certificates_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist")
    with Receiver(NAME) as receiver:
        send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"])
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with Receiver(NAME) as elsewhere, Receiver(NAME, answers=(status,)) as receiver:
        receiver.headers = {"Location": f"https://{NAME}:{elsewhere.port}/"}
        with pytest.raises(DeliveryError, match=f"^it answered with status {status}$"):
            send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{each.port}" for each in (receiver, elsewhere)])
    assert elsewhere.n_connections == 0 and len(receiver.received) == 1


def test_a_certificate_of_another_name_or_of_nobody_whom_we_trust_gets_no_event() -> None:
    with Receiver("other.example.com") as receiver:
        url, allowed = f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"]
        with pytest.raises(DeliveryError, match="its certificate is not accepted: Hostname mismatch"):
            send(url, allowed)
        with pytest.raises(DeliveryError, match="its certificate is not accepted: unable to get local issuer"):
            send(url, allowed, certificates=ssl.create_default_context())
        assert receiver.received == []


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with Receiver(NAME, answers=(200,)) as receiver:
        receiver.answer_body = b"x" * 50_000_000
        send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"])
        assert receiver.was_cut_off.wait(5), "all 50 MB were read"


def test_a_receiver_that_does_not_answer_holds_an_event_for_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.3)
    with Receiver(NAME) as receiver:
        receiver.hold_s = 5.0
        with pytest.raises(DeliveryError, match=r"^it did not answer within 0.3 s \(\w+\)$"):
            send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"])


def test_nothing_that_the_receiver_wrote_is_in_the_error() -> None:
    with Receiver(NAME, answers=(500,)) as receiver:
        receiver.answer_body, receiver.headers = b"hunter2", {"X-Secret": "hunter2"}
        with pytest.raises(DeliveryError) as raised:
            send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"])
    assert str(raised.value) == "it answered with status 500"
    assert raised.value.was_sent and not raised.value.is_final
    with Receiver(NAME, answers=(410,)) as receiver, pytest.raises(DeliveryError) as raised:
        send(f"https://{NAME}:{receiver.port}/", [f"{NAME}:{receiver.port}"])
    assert raised.value.is_final
