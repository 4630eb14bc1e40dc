"""A Redis that lost our data is not taken for a new one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import ConnectionError, Redis

from standalone import EmbeddedServer
from storage import keys
from storage.availability import ReplacedRedisError, is_unavailable
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.errors import JobNotFoundError
from storage.identity import StoreIdentity, accept_loss
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import training_spec


@pytest.fixture
def process(server: EmbeddedServer, redis: Redis, blobs: BlobStore) -> Callable[[], tuple[StoreIdentity, Redis]]:
    """What one process has: its own memory of the store identity and its own connections."""

    def start() -> tuple[StoreIdentity, Redis]:
        identity = StoreIdentity(blobs)
        return identity, connect(server.url, timeout_s=2, n_retries=0, identity=identity)

    return start


Start = Callable[[], tuple[StoreIdentity, Redis]]


def test_the_first_connection_marks_an_empty_redis_and_the_blob_store(process: Start, blobs: BlobStore) -> None:
    _, redis = process()
    redis.ping()
    identity = redis.get(keys.STORE_IDENTITY)
    assert identity == blobs.read_mark(keys.STORE_IDENTITY_MARK)
    _, other = process()
    assert other.get(keys.STORE_IDENTITY) == identity


def test_a_redis_with_data_from_before_this_check_is_taken_as_it_is(redis: Redis, process: Start) -> None:
    redis.set(keys.STORE_IDENTITY, "older")
    _, connection = process()
    assert connection.get(keys.STORE_IDENTITY) == b"older"


def test_an_emptied_redis_refuses_new_connections(redis: Redis, process: Start) -> None:
    process()[1].ping()
    redis.flushall()
    _, connection = process()
    with pytest.raises(ReplacedRedisError, match="has no data of this service"):
        JobStore(connection, TrainingQueue(connection)).get(f"job_{1:032x}")  # and not: there is no such job
    assert redis.keys() == []


def test_a_process_that_stays_connected_notices_an_emptied_redis(
    redis: Redis, process: Start, blobs: BlobStore
) -> None:
    identity, connection = process()
    jobs = JobStore(connection, TrainingQueue(connection))
    with pytest.raises(JobNotFoundError):
        jobs.get(f"job_{1:032x}")
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(connection)
    with pytest.raises(ReplacedRedisError):
        jobs.submit("or", training_spec(blobs), metadata={})
    assert redis.keys() == []


def test_another_redis_is_refused_with_both_identities_named(redis: Redis, process: Start, blobs: BlobStore) -> None:
    blobs.write_mark(keys.STORE_IDENTITY_MARK, b"ours")
    redis.set(keys.STORE_IDENTITY, "theirs")
    with pytest.raises(
        ReplacedRedisError, match=r"identity theirs, .* identity ours\. .*perceptron init --accept-loss"
    ):
        process()[1].ping()


def test_a_replaced_redis_is_as_good_as_none(redis: Redis, process: Start, blobs: BlobStore) -> None:
    blobs.write_mark(keys.STORE_IDENTITY_MARK, b"ours")
    with pytest.raises(ConnectionError) as caught:
        process()[1].ping()
    assert is_unavailable(caught.value)


def test_once_the_loss_is_accepted_every_process_continues(redis: Redis, process: Start, blobs: BlobStore) -> None:
    identity, connection = process()
    connection.ping()
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(connection)
    accept_loss(redis, blobs)
    identity.check(connection)
    assert connection.get(keys.STORE_IDENTITY) == blobs.read_mark(keys.STORE_IDENTITY_MARK)


def test_when_the_data_is_back_every_process_continues(redis: Redis, process: Start, blobs: BlobStore) -> None:
    identity, connection = process()
    ours = connection.get(keys.STORE_IDENTITY)
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(connection)
    redis.set(keys.STORE_IDENTITY, ours)  # type: ignore[arg-type]
    identity.check(connection)
    connection.ping()


def test_a_known_identity_needs_no_blob_store(process: Start, blobs: BlobStore, tmp_path: Path) -> None:
    identity, connection = process()
    connection.ping()
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    connection.connection_pool.disconnect()
    connection.ping()
    identity.check(connection)


def test_connections_of_an_event_loop_are_checked_too(server: EmbeddedServer, redis: Redis, blobs: BlobStore) -> None:
    async def ping() -> None:
        connection = connect_on_loop(server.url, timeout_s=2, max_connections=2, identity=StoreIdentity(blobs))
        try:
            await connection.ping()
        finally:
            await connection.aclose()

    asyncio.run(ping())
    assert redis.get(keys.STORE_IDENTITY) == blobs.read_mark(keys.STORE_IDENTITY_MARK)
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        asyncio.run(ping())


def test_a_process_that_knows_the_identity_needs_no_mark_to_notice_another(
    redis: Redis, process: Start, tmp_path: Path
) -> None:
    identity, connection = process()
    connection.ping()
    (tmp_path / "blobs" / keys.STORE_IDENTITY_MARK).unlink()
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(connection)


def test_on_loss_is_called_once_after_a_loss_is_accepted(redis: Redis, blobs: BlobStore) -> None:
    told: list[str] = []
    identity = StoreIdentity(blobs, on_loss=lambda: told.append("loss"))
    identity.check(redis)
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(redis)
    assert told == []
    accept_loss(redis, blobs)
    identity.check(redis)
    identity.check(redis)
    assert told == ["loss"]
