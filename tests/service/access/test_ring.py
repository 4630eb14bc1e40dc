"""The access keys in memory after a loss of Redis was accepted: the thread that reads them is told of it meanwhile."""

import threading
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from service.access.ring import KeyRing
from standalone import EmbeddedServer
from storage.access.store import AccessKeyStore
from storage.availability import ReplacedRedisError, as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.connection import connect
from storage.identity import StoreIdentity, accept_loss


def in_time(call: Callable[[], object]) -> None:
    """Run a call in a thread, as a deadlock would never end."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits for itself"


@pytest.fixture
def ring(server: EmbeddedServer, redis: Redis, blobs: BlobStore) -> Iterator[KeyRing]:
    """The keys of a process that saw one before Redis was emptied, and has no connection any more."""
    identity = StoreIdentity(blobs)
    own = connect(server.url, timeout_s=2, n_retries=0, identity=identity)
    identity.check_blobs(own)
    ring = KeyRing(AccessKeyStore(own), CircuitBreaker(as_unavailable), check_store=lambda: identity.check(own))
    identity.on_loss = ring.forget
    AccessKeyStore(redis).create(["admin"])
    ring.read()
    redis.flushall()
    with pytest.raises(ReplacedRedisError):
        identity.check(own)
    yield ring
    own.close()


def test_a_read_that_opens_the_first_connection_after_an_accepted_loss_ends(
    ring: KeyRing, redis: Redis, blobs: BlobStore
) -> None:
    accept_loss(redis, blobs)
    in_time(ring.read)
    in_time(ring.read)
    assert ring.keys is not None
    assert (dict(ring.keys.by_id), ring.keys.is_any) == ({}, False)


def test_a_key_that_is_looked_up_first_after_an_accepted_loss_brings_no_forgotten_one_back(
    ring: KeyRing, redis: Redis, blobs: BlobStore
) -> None:
    accept_loss(redis, blobs)
    made, _ = AccessKeyStore(redis).create(["read"])
    in_time(lambda: ring.read_one(made.id))
    assert ring.keys is None
    in_time(ring.read)
    assert ring.keys is not None
    assert set(ring.keys.by_id) == {made.id}
