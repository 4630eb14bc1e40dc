"""A Redis that lost our data is not taken for a new one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis import ConnectionError, Redis

from standalone import EmbeddedServer
from storage import keys
from storage.availability import ReplacedRedisError, is_unavailable
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.errors import BlobStoreUnavailableError, JobNotFoundError, WrongBlobStoreError
from storage.identity import StoreIdentity, accept_loss
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import publish, training_spec


@pytest.fixture
def process(server: EmbeddedServer, redis: Redis, blobs: BlobStore) -> Callable[..., tuple[StoreIdentity, Redis]]:
    """What one process has: its own memory of the store identity and its own connections.

    It has checked the blob store, if it could connect.
    """

    def start(blobs: BlobStore = blobs) -> tuple[StoreIdentity, Redis]:
        identity = StoreIdentity(blobs)
        connection = connect(server.url, timeout_s=2, n_retries=0, identity=identity)
        with suppress(ReplacedRedisError, BlobStoreUnavailableError):
            identity.check_blobs(connection)
        return identity, connection

    return start


Start = Callable[..., tuple[StoreIdentity, Redis]]


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
    StoreIdentity(blobs).check_blobs(redis)
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


@pytest.mark.parametrize("look_first", ["check", "check_blobs"])
def test_on_loss_is_called_once_after_a_loss_is_accepted(
    redis: Redis, blobs: BlobStore, caplog: pytest.LogCaptureFixture, look_first: str
) -> None:
    """Whichever looks first: the thread that asks for the state of Redis, or the one that looks at the blob store."""
    told: list[str] = []
    identity = StoreIdentity(blobs, on_loss=lambda: told.append("loss"))
    identity.check_blobs(redis)
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(redis)
    assert told == []
    accept_loss(redis, blobs)
    caplog.clear()
    getattr(identity, look_first)(redis)
    identity.check(redis)
    identity.check_blobs(redis)
    assert told == ["loss"]
    assert caplog.text == ""


def test_what_is_called_on_loss_may_use_redis(redis: Redis, blobs: BlobStore, process: Start) -> None:
    identity, connection = process()
    told: list[bool] = []

    def on_loss() -> None:
        connection.connection_pool.disconnect()
        told.append(connection.ping())

    identity.on_loss = on_loss
    redis.flushall()
    accept_loss(redis, blobs)
    identity.check(connection)
    assert told == [True]


@pytest.fixture
def empty(tmp_path: Path) -> BlobStore:
    """The blob store of another DATA_DIR, of a volume that is not mounted, or of another host."""
    (tmp_path / "empty").mkdir()
    return BlobStore((tmp_path / "empty").as_uri())


def assert_refused(process: Start, blobs: BlobStore, tmp_path: Path) -> None:
    identity, connection = process(blobs)
    assert connection.ping()  # models are in Redis
    with pytest.raises(WrongBlobStoreError, match=r"no store identity.*perceptron init --accept-loss"):
        identity.check_blobs(connection)
    assert list((tmp_path / "empty").iterdir()) == []


def test_of_two_new_blob_stores_the_first_one_is_ours(process: Start, empty: BlobStore, tmp_path: Path) -> None:
    """Before there is any job. On 15a4f66 both got the mark."""
    process()
    assert_refused(process, empty, tmp_path)


@pytest.mark.parametrize("has", ["job", "version"])
def test_a_blob_store_without_our_mark_is_refused_while_redis_has_jobs_or_versions(
    redis: Redis, jobs: JobStore, process: Start, blobs: BlobStore, empty: BlobStore, tmp_path: Path, has: str
) -> None:
    """A1. On 15a4f66 the empty folder got the mark. Here Redis has data of that commit, and no note of a mark."""
    process()
    redis.delete(keys.STORE_IS_MARKED)
    if has == "job":
        jobs.submit("or", training_spec(blobs), metadata={})
    else:
        publish(jobs)
        redis.delete(keys.jobs())
    assert_refused(process, empty, tmp_path)
    identity, connection = process()
    identity.check_blobs(connection)


def test_a_blob_store_is_used_as_it_is_once_the_loss_is_accepted(
    redis: Redis, jobs: JobStore, process: Start, empty: BlobStore
) -> None:
    process()
    publish(jobs)
    accept_loss(redis, empty)
    for store in ((), (empty,)):
        identity, connection = process(*store)
        identity.check_blobs(connection)
    assert JobStore(connection, TrainingQueue(connection)).page(limit=1)[0]


def test_a_blob_store_that_was_moved_with_its_mark_is_ours(process: Start, blobs: BlobStore, tmp_path: Path) -> None:
    process()
    (tmp_path / "blobs").rename(tmp_path / "moved")
    identity, connection = process(BlobStore((tmp_path / "moved").as_uri()))
    identity.check_blobs(connection)


def test_a_process_that_dies_before_it_wrote_the_first_mark_blocks_the_others_for_a_minute(
    redis: Redis, process: Start, blobs: BlobStore
) -> None:
    redis.set(keys.STORE_IS_MARKED, 0, ex=60)
    identity, connection = process()
    with pytest.raises(BlobStoreUnavailableError, match="another process writes"):
        identity.check_blobs(connection)
    redis.delete(keys.STORE_IS_MARKED)  # it expires
    identity.check_blobs(connection)


@pytest.mark.parametrize("left", [None, b"0"])
def test_whoever_finds_the_mark_records_it(
    redis: Redis, process: Start, empty: BlobStore, tmp_path: Path, left: bytes | None
) -> None:
    """An older release wrote the mark and recorded nothing, or its writer died before it recorded it."""
    process()
    redis.delete(keys.STORE_IS_MARKED)
    if left is not None:
        redis.set(keys.STORE_IS_MARKED, left, ex=60)
    identity, connection = process()
    identity.check_blobs(connection)
    assert (redis.get(keys.STORE_IS_MARKED), redis.ttl(keys.STORE_IS_MARKED)) == (b"1", -1)
    assert_refused(process, empty, tmp_path)


def test_a_full_redis_refuses_the_record_of_the_mark_and_the_blob_store_is_used_all_the_same(
    redis: Redis, process: Start
) -> None:
    process()
    redis.delete(keys.STORE_IS_MARKED)
    redis.config_set("maxmemory", 1)
    try:
        identity, connection = process()
        identity.check_blobs(connection)
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.get(keys.STORE_IS_MARKED) is None
    identity.check_blobs(connection)
    assert redis.get(keys.STORE_IS_MARKED) == b"1"


def away(tmp_path: Path) -> None:
    """Make the folder unreadable, also for root."""
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    (tmp_path / "blobs").write_bytes(b"")


def test_a_process_that_starts_while_the_blob_store_is_away_takes_redis_as_it_is(
    jobs: JobStore, process: Start, tmp_path: Path
) -> None:
    """B9. On 15a4f66 every connection was refused, and so no model was loaded."""
    process()
    away(tmp_path)
    identity, connection = process()
    assert connection.ping()
    with pytest.raises(BlobStoreUnavailableError):
        identity.check_blobs(connection)


def test_an_empty_redis_is_not_taken_for_new_while_the_blob_store_is_away(
    redis: Redis, process: Start, tmp_path: Path
) -> None:
    process()
    away(tmp_path)
    redis.flushall()
    with pytest.raises(BlobStoreUnavailableError):
        process()[1].ping()
    assert redis.keys() == []


def test_another_redis_taken_unseen_is_refused_once_the_blob_store_is_back(
    redis: Redis, process: Start, tmp_path: Path
) -> None:
    process()
    away(tmp_path)
    redis.set(keys.STORE_IDENTITY, "theirs")
    identity, connection = process()
    assert connection.ping()
    (tmp_path / "blobs").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "blobs")
    with pytest.raises(WrongBlobStoreError):
        identity.check_blobs(connection)
    with pytest.raises(ReplacedRedisError):
        connection.ping()
