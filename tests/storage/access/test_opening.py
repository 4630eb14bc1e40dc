"""When the API may start without access keys."""

from pathlib import Path

import pytest
from redis import Redis

from storage.access.opening import check_may_listen, is_of_this_machine
from storage.access.store import AccessKeyStore
from storage.connection import connect
from storage.errors import OpenToAllError
from storage.store_settings import is_insecure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "/run/api.sock"])
def test_these_hosts_are_of_this_machine(host: str) -> None:
    assert is_of_this_machine(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "169.254.1.1", "no-such-host.invalid"])
def test_these_hosts_are_not(host: str) -> None:
    assert not is_of_this_machine(host)


def test_without_a_key_nothing_listens_for_other_machines(redis: Redis) -> None:
    check_may_listen(["127.0.0.1", "::1"], redis, is_insecure=False)
    check_may_listen(["0.0.0.0"], redis, is_insecure=True)
    with pytest.raises(OpenToAllError, match=r"reach 0\.0\.0\.0, .*perceptron keys create --scope admin.*--insecure"):
        check_may_listen(["127.0.0.1", "0.0.0.0"], redis, is_insecure=False)


def test_a_revoked_key_is_a_key(redis: Redis) -> None:
    access = AccessKeyStore(redis)
    access.revoke(access.create(["admin"])[0].id)
    check_may_listen(["0.0.0.0"], redis, is_insecure=False)


def test_while_redis_is_away_the_api_may_start(tmp_path: Path) -> None:
    nobody = connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, n_retries=0)
    check_may_listen(["0.0.0.0"], nobody, is_insecure=False)


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_insecure_is_true_or_false(text: str, expected: bool) -> None:
    assert is_insecure({"INSECURE": text}) is expected


def test_any_other_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="INSECURE must be true or false, not 'maybe'"):
        is_insecure({"INSECURE": "maybe"})
