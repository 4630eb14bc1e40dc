"""`perceptron doctor`: what it finds with nothing running, with a service, and with a Redis that is set up badly."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from cli.doctor.access import openness
from standalone import EmbeddedServer
from storage import keys
from storage.access.store import AccessKeyStore
from tests.free_port import free_port
from tests.stack import Stack

from .conftest import Command

Findings = dict[tuple[str, str], dict[str, Any]]


def findings(command: Command, *arguments: str | Path, status: int, **env: str) -> Findings:
    """Give all findings by area and name."""
    ran = command("doctor", "--json", "--port", str(free_port()), *arguments, **env)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return {(each["area"], each["name"]): each for each in json.loads(ran.stdout)["findings"]}


def test_nothing_runs_and_all_is_well(alone: Command) -> None:
    found = findings(alone, status=0)
    assert {each["state"] for each in found.values()} <= {"ok", "warning"}
    assert found["service", "process"]["detail"] == "none runs here; 'perceptron up' starts one"
    assert found["machine", "port"]["state"] == found["machine", "server to embed"]["state"] == "ok"
    assert not (alone.folder / "data").exists()


def test_a_running_service_is_found_by_its_data_directory(alone: Command, stack: Stack) -> None:
    found = findings(alone, "--data-dir", stack.data_dir, status=0)
    assert [each for each in found.values() if each["state"] == "problem"] == []
    details = {name: each["detail"] for name, each in found.items()}
    assert details["redis", "persistence"] == "append-only file, appendfsync always"
    assert details["redis", "maxmemory-policy"] == "noeviction"
    assert details["blob store", "identity"] == "belongs to this Redis"
    assert details["service", "answers"] == f"{stack.url} (the data directory {stack.data_dir})"
    assert details["service", "version"] == "0.1.0"
    assert details["service", "access"] == "off: only this machine reaches it, and may do everything"
    assert any(area == "workers" and "heard" in each["detail"] for (area, _), each in found.items())


def test_only_an_address_is_enough(perceptron: Command, stack: Stack) -> None:
    found = findings(perceptron, "--url", stack.url, status=0)
    assert found["service", "ready"]["detail"] == "yes; workers: 1"
    assert ("redis", "version") not in found


def test_a_redis_that_would_lose_data_has_problems_with_remedies(
    alone: Command, server: EmbeddedServer, redis: Redis
) -> None:
    redis.set(keys.STORE_IDENTITY, "ours")
    (alone.folder / "data" / "blobs").mkdir(parents=True)
    (alone.folder / "data" / "blobs" / keys.STORE_IDENTITY_MARK).write_text("theirs")
    redis.config_set("appendfsync", "everysec")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = findings(alone, status=1, REDIS_URL=server.url)
    finally:
        redis.config_set("appendfsync", "always")
        redis.config_set("maxmemory-policy", "noeviction")
    assert found["redis", "persistence"]["state"] == "warning"
    assert "CONFIG SET appendfsync always" in found["redis", "persistence"]["remedy"]
    assert found["redis", "maxmemory-policy"]["state"] == "problem"
    assert found["blob store", "identity"]["detail"] == "belongs to another Redis"
    assert found["workers", "workers"]["state"] == "problem"
    assert redis.keys("*") == [keys.STORE_IDENTITY.encode()]  # nothing was written


def test_the_state_of_access_and_keys_that_expire_soon_are_told(
    alone: Command, server: EmbeddedServer, redis: Redis
) -> None:
    access = AccessKeyStore(redis)

    def details() -> dict[str, str]:
        found = findings(alone, status=1, REDIS_URL=server.url)  # no worker is registered
        return {each["name"]: f"{each['state']}: {each['detail']}" for each in found.values()}

    off = "ok: off: no key was ever made, so whoever reaches the API may do everything"
    assert details()["access keys"] == off
    access.create(["admin"], lifetime_s=0.0)
    assert details()["access keys"] == "problem: on, and nobody comes in: none in force, 1 ended"
    access.create(["admin"])
    access.create(["read"], lifetime_s=15 * 86_400)
    access.rotate(access.create(["read"])[0].id, overlap_s=3_600)  # its holders have another key
    told = details()
    assert (told["access keys"], "keys that expire" in told) == ("ok: on: 4 in force, 1 ended", False)
    access.create(["read"], lifetime_s=13 * 86_400)
    first, _ = access.create(["read"], lifetime_s=86_400)
    assert details()["keys that expire"].startswith(
        f"warning: 2 within 14 days, not rotated yet; the first one is {first.id} on "
    )


def test_an_api_that_asks_for_no_key_is_worth_a_warning_where_other_machines_reach_it(
    own_stack: Callable[..., Stack], alone: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = own_stack("--host", "0.0.0.0", "--insecure")
    monkeypatch.setattr("cli.doctor.access.own_addresses", lambda: ["127.0.0.2"])  # stands for one of a network
    with httpx.Client(base_url=stack.url) as http:
        (found,) = openness("service", http)
        assert (found.state, found.remedy) == ("warning", "perceptron keys create --scope admin")
        assert found.detail == "off, though other machines reach it at 127.0.0.2 (--insecure): they may do everything"
        alone.good("keys", "create", "--scope", "admin", DATA_DIR=str(stack.data_dir))
        time.sleep(0.5)
        (found,) = openness("service", http)
        assert (found.state, found.detail) == ("ok", "on: nobody comes in without a key")


def test_no_redis_answers_and_no_password_is_shown(alone: Command) -> None:
    found = findings(alone, status=1, REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}")
    assert found["redis", "answers"]["state"] == "problem"
    assert "secret" not in json.dumps(list(found.values()))
    found = findings(alone, status=1, REDIS_URL="nonsense://x")
    assert found["redis", "address"]["state"] == "problem"


def test_a_wrong_address_and_a_full_data_directory_are_problems(alone: Command) -> None:
    (alone.folder / "file").write_text("")
    url = f"http://127.0.0.1:{free_port()}"
    found = findings(alone, "--url", url, "--data-dir", "file", status=1)
    assert found["service", "answers"]["detail"].startswith(f"{url} (--url): ")
    assert found["machine", "data directory"]["detail"].endswith("file is no folder")
