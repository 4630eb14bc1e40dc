"""Which URLs and addresses may receive events."""

from contextlib import suppress
from ipaddress import ip_address

import pytest

from storage.webhooks.addresses import may_receive
from storage.webhooks.receivers import AllowedHost, ReceiverRefusedError, receiver_of
from storage.webhooks.settings import WebhookSettings
from tests.receiver import SECRET
from tests.storage.webhooks.hostile_urls import ALLOWED, HOSTILE_URLS

HOSTS = tuple(map(AllowedHost.parse, ALLOWED))


def test_a_url_that_leads_elsewhere_is_refused() -> None:
    assert len(set(HOSTILE_URLS)) > 90
    taken = []
    for url in HOSTILE_URLS:
        with suppress(ReceiverRefusedError):
            taken.append(receiver_of(url, HOSTS))
    assert taken == []


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443, "/", "hooks.example.com"),
        ("https://hooks.example.com:443/a?b=c@d", "hooks.example.com", 443, "/a?b=c@d", "hooks.example.com"),
        ("HTTPS://Hooks.Example.COM/A", "hooks.example.com", 443, "/A", "hooks.example.com"),
        ("https://a.b.wild.example/%2e", "a.b.wild.example", 443, "/%2e", "a.b.wild.example"),
        ("https://ports.example:8443?x", "ports.example", 8443, "/?x", "ports.example:8443"),
        ("https://10.1.2.3/", "10.1.2.3", 443, "/", "10.1.2.3"),
        ("https://[2001:DB8:0::7]:8443/", "2001:db8::7", 8443, "/", "[2001:db8::7]:8443"),
    ],
)
def test_a_url_whose_host_and_port_are_listed_is_taken(
    url: str, host: str, port: int, target: str, authority: str
) -> None:
    receiver = receiver_of(url, HOSTS)
    assert (receiver.host, receiver.port, receiver.target, receiver.authority) == (host, port, target, authority)


@pytest.mark.parametrize(
    "text", ["*", "https://a.example", "a.example/", "a..b", "127.1", "0x7f.1", "*.1.2.3.4", "\u017f.de"]
)
def test_an_entry_that_is_neither_a_name_nor_an_address_is_refused_by_the_name_of_its_setting(text: str) -> None:
    with pytest.raises(ValueError, match="WEBHOOK_HOSTS must be names like"):
        WebhookSettings.from_env({"WEBHOOK_HOSTS": f"ok.example, {text}"})


PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "::1", "fd12::1", "::ffff:10.0.0.1"]
PRIVATE += ["64:ff9b::10.0.0.1", "2002:0a00:0001::1", "fec0::1"]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "224.0.0.1",
    "ff02::1",
]
NEVER += ["255.255.255.255", "240.0.0.1", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"]
NEVER += ["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::", "::ffff:0.0.0.0", "100.64.0.1"]
NEVER += ["ff02::1"]


def test_events_go_to_public_addresses_and_if_allowed_to_private_ones() -> None:
    def allowed(*, allow_private: bool) -> list[str]:
        return [text for text in PUBLIC + PRIVATE + NEVER if may_receive(ip_address(text), allow_private=allow_private)]

    assert allowed(allow_private=False) == PUBLIC
    assert allowed(allow_private=True) == PUBLIC + PRIVATE


def test_there_may_be_two_secrets_and_none_is_shown() -> None:
    settings = WebhookSettings.from_env({"WEBHOOK_SECRET": f"{SECRET} whsec_{'A' * 32}"})
    assert settings.secrets == (b"no secret, only for tests", bytes(24))
    assert "no secret" not in repr(settings)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"WEBHOOK_SECRET": "hunter2hunter2hunter2hunter2"}, "WEBHOOK_SECRET must be whsec_ and 24 to 64"),
        ({"WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "WEBHOOK_SECRET must be whsec_ and 24 to 64"),
        ({"WEBHOOK_ALLOW_PRIVATE": "maybe"}, "WEBHOOK_ALLOW_PRIVATE must be true or false"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_no_secret_is_quoted(env: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        WebhookSettings.from_env(env)
    assert "hunter2" not in str(raised.value) and "c2hvcnQ" not in str(raised.value)


@pytest.mark.parametrize(("env", "missing"), [({}, "WEBHOOK_SECRET"), ({"WEBHOOK_SECRET": SECRET}, "WEBHOOK_HOSTS")])
def test_without_a_secret_or_hosts_every_url_is_refused_and_the_setting_is_named(
    env: dict[str, str], missing: str
) -> None:
    with pytest.raises(ReceiverRefusedError, match=f"the setting {missing}"):
        WebhookSettings.from_env(env).receiver("https://hooks.example.com/")
