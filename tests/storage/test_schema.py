"""The schema in Redis: written by this release, and a newer one is refused in one clear line."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from standalone import EmbeddedServer
from storage import keys
from storage.availability import NewerSchemaError, as_unavailable
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.identity import StoreIdentity
from storage.schema import must_be_written, raising
from tests.api_process import running_api
from tests.faults.rig import wait_for

NEWER = (
    "the data in Redis needs release 9.0.0 or newer: perceptron:schema is '2 9.0.0', and this release knows schema 1. "
    "Run the newer release, or restore the backup from before it"
)


@pytest.fixture
def process(
    server: EmbeddedServer, redis: Redis, blobs: BlobStore
) -> Iterator[Callable[[], tuple[StoreIdentity, Redis]]]:
    """What one process has: its own memory of the store identity and its own connections."""
    with ExitStack() as on_exit:

        def start() -> tuple[StoreIdentity, Redis]:
            identity = StoreIdentity(blobs)
            return identity, on_exit.enter_context(connect(server.url, timeout_s=2, n_retries=0, identity=identity))

        yield start


Start = Callable[[], tuple[StoreIdentity, Redis]]


def ask_on_loop(server: EmbeddedServer, blobs: BlobStore) -> bytes | None:
    async def ask() -> Any:
        connection = connect_on_loop(server.url, timeout_s=2, max_connections=2, identity=StoreIdentity(blobs))
        try:
            return await connection.get(keys.SCHEMA)
        finally:
            await connection.aclose()

    found: bytes | None = asyncio.run(ask())
    return found


def test_a_store_without_a_schema_gets_that_of_this_release(
    process: Start, redis: Redis, server: EmbeddedServer, blobs: BlobStore
) -> None:
    assert process()[1].get(keys.SCHEMA) == b"1 0.1.0"
    redis.delete(keys.SCHEMA)
    assert ask_on_loop(server, blobs) == b"1 0.1.0"


def test_a_lower_schema_is_raised_and_the_same_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert must_be_written(None) and not must_be_written(b"1 0.1.0")
    monkeypatch.setattr("storage.schema.SCHEMA", 3)
    assert must_be_written(b"2 0.2.0") and not must_be_written(b"3 0.3.0")


@pytest.mark.parametrize("is_on_loop", [False, True])
def test_of_two_releases_that_start_together_the_older_one_does_not_write_last(
    process: Start,
    redis: Redis,
    server: EmbeddedServer,
    blobs: BlobStore,
    monkeypatch: pytest.MonkeyPatch,
    is_on_loop: bool,
) -> None:
    def newer_one_writes(found: bytes | None) -> bool:
        must_write = must_be_written(found)
        if must_write:
            redis.set(keys.SCHEMA, "2 9.0.0")  # between the look of the older one and its own write
        return must_write

    monkeypatch.setattr("storage.identity.must_be_written", newer_one_writes)
    with pytest.raises(Exception, match=re.escape(NEWER)):
        ask_on_loop(server, blobs) if is_on_loop else process()[1].ping()
    assert redis.get(keys.SCHEMA) == b"2 9.0.0"


@pytest.mark.parametrize(
    ("found", "left"), [(None, "3 0.1.0"), ("2 0.2.0", "3 0.1.0"), ("3 0.3.0", "3 0.3.0"), ("10 9.0.0", "10 9.0.0")]
)
def test_only_a_lower_schema_is_written_over(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, found: str | None, left: str
) -> None:
    monkeypatch.setattr("storage.schema.SCHEMA", 3)
    if found is not None:
        redis.set(keys.SCHEMA, found)
    assert redis.execute_command(*raising()) == redis.get(keys.SCHEMA) == left.encode()


@pytest.mark.parametrize("found", ["2 9.0.0", "10 9.0.0", "x", "", "-1 0.1.0"])
def test_a_newer_or_unknown_schema_is_refused_before_anything_is_read(
    process: Start, redis: Redis, server: EmbeddedServer, blobs: BlobStore, found: str
) -> None:
    redis.set(keys.SCHEMA, found)
    for ask in (process()[1].ping, lambda: ask_on_loop(server, blobs)):
        with pytest.raises(Exception, match=rf"perceptron:schema is '{found}', and this release knows schema 1"):
            ask()
    assert redis.keys() == [keys.SCHEMA.encode()]


def test_a_process_that_stays_connected_notices_a_newer_release(
    process: Start, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    identity, connection = process()
    identity.check(connection)
    redis.set(keys.SCHEMA, "2 9.0.0")
    with pytest.raises(NewerSchemaError) as caught, caplog.at_level(logging.CRITICAL):
        identity.check(connection)
    assert (str(caught.value), caplog.messages) == (NEWER, [f"ALARM: {NEWER}"])
    assert str(as_unavailable(caught.value)) == NEWER
    redis.set(keys.SCHEMA, "1 0.1.0")  # a backup from before it was restored
    identity.check(connection)


def test_a_full_redis_goes_without_a_schema(process: Start, redis: Redis) -> None:
    identity, connection = process()
    identity.check(connection)
    redis.delete(keys.SCHEMA)
    maxmemory = redis.config_get("maxmemory")["maxmemory"]
    redis.config_set("maxmemory", 1)
    try:
        identity.check(connection)
        assert connection.get(keys.SCHEMA) is None
    finally:
        redis.config_set("maxmemory", maxmemory)
    identity.check(connection)
    assert connection.get(keys.SCHEMA) == b"1 0.1.0"


def test_the_api_answers_503_with_the_release_that_is_needed(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        assert redis.get(keys.SCHEMA) == b"1 0.1.0"
        redis.set(keys.SCHEMA, "2 9.0.0")
        wait_for(lambda: api.http.get("/readyz").status_code == 503, 5)  # each process asks once a second
        for path in ("/readyz", "/jobs", "/models/none"):
            answer = api.http.get(path)
            assert answer.status_code == 503 and NEWER in answer.text, path
        body = {"model": "or", "data": {"features": [[0], [1]], "targets": [0, 1]}}
        answer = api.http.post("/jobs", json=body)
        assert answer.status_code == 503 and answer.json()["detail"].startswith(NEWER)
        assert redis.exists("perceptron:jobs") == 0
