"""Versions in memory and the pointers to them: what is asked of Redis, and what is served while it is away."""

import gc
import hashlib
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import redis as redis_py
from redis import Redis

from perceptron import Column, Layer, Network, NetworkConfig, TableEncoder, Task, TrainingConfig
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import LoadedModels
from service.predict.memory.version_cache import VersionCache
from storage import keys
from storage.blobs import BlobStore
from storage.codec import encode_model
from storage.errors import CorruptDataError, ModelNotFoundError, RedisAwayError, VersionNotFoundError
from storage.identity import StoreIdentity, accept_loss
from storage.jobs.description import Description, Digests
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.models.trained_model import TrainedModel, decode_version
from storage.models.versions import Model, ModelReference, Version
from tests.builders import RESULT, loaded_models, publish
from tests.ear import Ear


class Store(ModelStore):
    """The real store, which also counts how often it is asked, and can be away."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.is_away = False
        self.n_asked = self.n_loaded = 0
        self.while_reading: Callable[[], object] = lambda: None

    def find(self, models: Sequence[str]) -> list[Model | CorruptDataError | None]:
        self.n_asked += 1
        if self.is_away:
            raise redis_py.ConnectionError("away")
        found = super().find(models)
        self.while_reading()
        return found

    def load(self, model: str, number: int) -> TrainedModel:
        self.n_loaded += 1
        if self.is_away:
            raise redis_py.ConnectionError("away")
        time.sleep(0.02)  # long enough for others to come
        return super().load(model, number)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store(redis: Redis) -> Store:
    return Store(redis)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    ear.is_connected = False  # the thread that follows asks nothing any more


@pytest.fixture
def loaded(store: Store, clock: Clock) -> LoadedModels:
    """Nobody listens."""
    return loaded_models(store, clock=clock)


@pytest.fixture
def followed(store: Store, clock: Clock, ear: Ear, jobs: JobStore) -> LoadedModels:
    """Version 1 of `or` is in memory, the alias `production` points at it, and every change is heard."""
    publish(jobs, alias="production")
    models = loaded_models(store, clock=clock)
    models.follow(ear)
    models.get(ModelReference("or"))
    soon(lambda: models.is_ready and not models._used and not models._wake.is_set())
    return models


def soon(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def version_of(models: LoadedModels, **which: Any) -> int | None:
    found = models.find(ModelReference("or", **which))
    return None if found is None else found.model.trained.version


def first_weight(models: LoadedModels) -> float:
    return float(models.get(ModelReference("or")).model.trained.network.layers[0].weights[0, 0])


def test_what_is_in_memory_and_followed_asks_nobody(followed: LoadedModels, store: Store) -> None:
    store.n_asked = store.n_loaded = 0
    for which in ({}, {"version": 1}, {"alias": "production"}):
        found = followed.find(ModelReference("or", **which))  # type: ignore[arg-type]
        assert found is not None and (found.model.trained.version, found.is_stale) == (1, False)
    assert store.n_asked == store.n_loaded == 0


def test_latest_and_aliases_follow_what_is_heard(followed: LoadedModels, ear: Ear, jobs: JobStore) -> None:
    publish(jobs, alias="production")
    assert version_of(followed) == 1  # nothing was heard yet
    ear.hear("or")
    assert followed.get(ModelReference("or")).model.trained.version == 2
    assert followed.get(ModelReference("or", alias="production")).model.trained.version == 2
    assert version_of(followed, version=1) == 1


def test_what_is_heard_is_read_again_before_anybody_asks(followed: LoadedModels, ear: Ear, jobs: JobStore) -> None:
    publish(jobs)
    followed.get(ModelReference("or", version=2))
    ear.hear("or")
    soon(lambda: version_of(followed) == 2)


def test_a_deleted_version_is_gone_from_memory(followed: LoadedModels, ear: Ear, jobs: JobStore, store: Store) -> None:
    publish(jobs)
    ear.hear("or")
    assert followed.get(ModelReference("or", version=2)).model.trained.version == 2
    store.delete_version("or", 2)
    ear.hear("or")
    with pytest.raises(VersionNotFoundError):
        followed.get(ModelReference("or", version=2))
    assert followed.versions.get("or", 2, None) is None
    assert followed.get(ModelReference("or")).model.trained.version == 1


def test_a_deleted_model_is_gone(followed: LoadedModels, ear: Ear, store: Store) -> None:
    store.delete("or")
    ear.hear("or")
    with pytest.raises(ModelNotFoundError):
        followed.get(ModelReference("or"))
    assert followed.versions.n_bytes == 0


def test_an_unknown_version_is_looked_up_though_nothing_was_heard(followed: LoadedModels, jobs: JobStore) -> None:
    with pytest.raises(VersionNotFoundError):
        followed.get(ModelReference("or", version=2))
    publish(jobs)
    assert followed.get(ModelReference("or", version=2)).model.trained.version == 2


def test_a_number_that_was_passed_by_is_not_asked_for_since_it_never_comes(
    followed: LoadedModels, jobs: JobStore, store: Store, ear: Ear
) -> None:
    publish(jobs), publish(jobs)
    store.delete_version("or", 2)
    ear.hear("or")
    followed.get(ModelReference("or"))
    soon(lambda: not followed.pointers._changed)
    store.n_asked = 0
    for _ in range(5):
        with pytest.raises(VersionNotFoundError):
            followed.get(ModelReference("or", version=2))
    assert store.n_asked == 0


def test_without_a_listener_redis_is_asked_each_time(loaded: LoadedModels, jobs: JobStore, store: Store) -> None:
    publish(jobs)
    assert loaded.get(ModelReference("or")).model.trained.version == 1
    with pytest.raises(VersionNotFoundError):
        loaded.get(ModelReference("or", version=2))
    publish(jobs)
    assert loaded.get(ModelReference("or", version=2)).model.trained.version == 2
    assert loaded.get(ModelReference("or")).model.trained.version == 2
    store.delete_version("or", 2)
    with pytest.raises(VersionNotFoundError):
        loaded.get(ModelReference("or", version=2))


def test_after_a_lost_connection_everything_is_read_again(
    followed: LoadedModels, ear: Ear, jobs: JobStore, store: Store
) -> None:
    ear.is_connected = False
    publish(jobs, alias="production")
    assert version_of(followed) is None  # it must ask
    assert followed.get(ModelReference("or")).model.trained.version == 2
    publish(jobs, alias="production")
    ear.is_connected = True
    ear.hear(None)
    assert followed.get(ModelReference("or", alias="production")).model.trained.version == 3


def test_a_lost_message_is_made_good_by_the_periodic_check(followed: LoadedModels, jobs: JobStore) -> None:
    publish(jobs)
    followed.get(ModelReference("or", version=1))
    soon(lambda: followed.pointers._pointers["or"].model.latest == 2)


def test_a_change_during_a_read_makes_its_result_old(
    followed: LoadedModels, ear: Ear, jobs: JobStore, store: Store
) -> None:
    def change_once() -> None:
        store.while_reading = lambda: None
        publish(jobs)
        ear.hear("or")

    soon(lambda: not followed.pointers._changed)
    store.while_reading = change_once
    followed.pointers.read(["or"])  # reads version 1 as the latest, and hears of version 2 before it can keep that
    assert followed.get(ModelReference("or")).model.trained.version == 2


def test_while_redis_is_away_memory_is_served_and_says_so(
    loaded: LoadedModels, jobs: JobStore, store: Store, clock: Clock
) -> None:
    publish(jobs, alias="production"), publish(jobs), publish(jobs, "other")
    loaded.get(ModelReference("or", version=1)), loaded.get(ModelReference("or"))
    store.is_away = True
    for which, version in (({}, 2), ({"version": 1}, 1), ({"alias": "production"}, 1)):
        found = loaded.get(ModelReference("or", **which))  # type: ignore[arg-type]
        assert (found.model.trained.version, found.is_stale) == (version, True)
        assert version_of(loaded, **which) == version  # type: ignore[arg-type]  # without waiting
    for unknown in ({"version": 3}, {"alias": "nope"}):
        with pytest.raises(RedisAwayError):  # not "does not exist": nobody knows
            loaded.get(ModelReference("or", **unknown))  # type: ignore[arg-type]
    with pytest.raises(RedisAwayError):
        loaded.get(ModelReference("other"))
    store.is_away = False
    clock.now_s += 1.1
    assert not loaded.get(ModelReference("or")).is_stale
    assert loaded.get(ModelReference("other")).model.trained.name == "other"


def test_while_redis_is_away_one_request_a_second_asks_it(
    loaded: LoadedModels, jobs: JobStore, store: Store, clock: Clock
) -> None:
    publish(jobs)
    loaded.get(ModelReference("or"))
    store.is_away, store.n_asked = True, 0
    for _ in range(10):
        assert loaded.get(ModelReference("or")).is_stale
    for _ in range(3):
        with pytest.raises(RedisAwayError):  # at once: what is not in memory would have to be asked for
            loaded.get(ModelReference("or", version=2))
    assert store.n_asked == 1
    clock.now_s += 1.1
    for _ in range(10):
        assert loaded.get(ModelReference("or")).is_stale
    assert store.n_asked == 2


def test_a_number_used_again_after_an_accepted_loss_is_not_answered_from_memory(
    redis: Redis, blobs: BlobStore, jobs: JobStore, ear: Ear
) -> None:
    """The new version 1 was published before anybody looked and found the old one gone."""
    identity = StoreIdentity(blobs)
    models = loaded_models(ModelStore(redis), check_store=lambda: identity.check(redis))
    identity.on_loss = models.forget
    models.follow(ear)
    publish(jobs, weight=1.0)
    soon(
        lambda: (
            models.is_ready and models.get(ModelReference("or")).model.trained.network.layers[0].weights[0, 0] == 1.0
        )
    )
    redis.flushall()
    accept_loss(redis, blobs)
    publish(jobs, weight=-5.0)
    soon(lambda: first_weight(models) == -5.0)


def test_many_first_requests_load_once(loaded: LoadedModels, jobs: JobStore, store: Store) -> None:
    publish(jobs)
    together = threading.Barrier(16)

    def get(_: int) -> LoadedModel:
        together.wait()
        return loaded.get(ModelReference("or")).model

    with ThreadPoolExecutor(16) as pool:
        assert len(set(map(id, pool.map(get, range(16))))) == 1
    assert store.n_loaded == 1


def test_models_that_aliases_name_are_loaded_before_ready(redis: Redis, store: Store, jobs: JobStore, ear: Ear) -> None:
    publish(jobs, alias="production"), publish(jobs), publish(jobs, "without_alias")
    models = loaded_models(store)
    assert models.is_ready  # nobody said that somebody follows
    ear.is_connected = False
    models.follow(ear)
    assert not models.is_ready
    ear.is_connected = True
    ear.hear(None)
    soon(lambda: models.is_ready)
    assert set(models.versions._loaded) == {("or", 1)}


def test_a_damaged_version_does_not_keep_the_others_from_being_loaded(
    redis: Redis, store: Store, jobs: JobStore, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    publish(jobs, alias="production"), publish(jobs, "sound", alias="production")
    redis.hset("perceptron:model:or:version:1", "weights", b"damaged")
    models = loaded_models(store)
    models.follow(ear)
    soon(lambda: models.is_ready)
    assert set(models.versions._loaded) == {("sound", 1)}
    assert "ALARM" in caplog.text


def test_the_versions_used_least_lately_make_room(store: Store, jobs: JobStore) -> None:
    for _ in range(4):
        publish(jobs)
    size = loaded_models(store).get(ModelReference("or")).model.n_bytes
    models = loaded_models(store, max_bytes=3 * size)
    for version in (1, 2, 3, 1, 4):
        models.get(ModelReference("or", version=version))
    assert [number for _, number in models.versions._loaded] == [3, 1, 4]
    assert models.versions.n_bytes == 3 * size


def test_a_version_loaded_while_everything_is_dropped_is_not_kept(store: Store, jobs: JobStore) -> None:
    publish(jobs)

    def load(model: str, number: int) -> TrainedModel:
        cache.clear()
        return store.load(model, number)

    cache = VersionCache(load, max_bytes=10**6)
    assert cache.get_or_load("or", 1, None).trained.version == 1
    assert cache.get("or", 1, None) is None
    assert cache.n_bytes == 0


def test_nobody_waits_for_ever_where_a_loaded_version_cannot_be_kept(
    store: Store, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(jobs)
    is_waited_for = threading.Event()

    def load(model: str, number: int) -> TrainedModel:
        is_waited_for.wait(10)
        return store.load(model, number)

    cache = VersionCache(load, max_bytes=10**6)
    monkeypatch.setattr(cache, "_loaded", MappingProxyType({}))  # takes nothing
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(cache.get_or_load, "or", 1) for _ in range(2)]
        is_waited_for.set()
        assert [type(each.exception(10)) for each in both] == [TypeError, TypeError]


@pytest.mark.parametrize(("n_features", "n_outputs"), [(30, 1), (2, 3), (200, 40)])
def test_the_bytes_counted_are_those_taken(n_features: int, n_outputs: int) -> None:
    def load(number: int) -> LoadedModel:
        rng = np.random.default_rng(number)
        network = Network((Layer(rng.normal(size=(n_features, n_outputs)), rng.normal(size=n_outputs), "identity"),))
        weights = encode_model(network, None)
        description = Description(
            **{name: value for name, value in vars(RESULT).items() if name != "leaderboard"},
            job="job_0",
            task=Task("regression", None, "identity", "mean_squared_error", n_outputs, is_list=True),
            network=NetworkConfig("identity"),
            feature_names=tuple(f"{number} {k}" for k in range(n_features)),
            training=TrainingConfig(),
            validation=None,
            start_from=None,
            n_instances=4,
            n_threads=1,
            digests=Digests(hashlib.sha256(weights).hexdigest(), data=""),
        )
        return LoadedModel(decode_version(Version(f"m{number}", 1, 0, description, ""), weights))

    load(0)
    gc.collect()
    tracemalloc.start()
    models = [load(number) for number in range(1, 101)]
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    counted = sum(model.n_bytes for model in models)
    # never much less than it is, and not so much more that memory lies idle
    assert taken / 1.1 <= counted <= 1.5 * taken, (taken / 100, counted / 100)


def test_the_bytes_counted_are_those_taken_with_the_categories_of_columns() -> None:
    def load(number: int, n_columns: int, n_levels: int) -> LoadedModel:
        encoder = TableEncoder(
            tuple(
                Column(f"{number} column {j}", "categorical", tuple(f"{number} {j} level {k}" for k in range(n_levels)))
                for j in range(n_columns)
            )
        )
        network = Network((Layer(np.ones((encoder.n_features, 1)), np.ones(1), "identity"),))
        task = Task("regression", None, "identity", "mean_squared_error", 1, is_list=False)
        trained = TrainedModel(f"m{number}", 1, task, tuple(encoder.feature_names), network, "", encoder, "y")
        return LoadedModel(trained)

    load(0, 1, 1)
    for n_columns, n_levels in ((1, 1_000), (20, 20), (100, 2)):
        gc.collect()
        tracemalloc.start()
        models = [load(number, n_columns, n_levels) for number in range(1, 21)]
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        counted = sum(model.n_bytes for model in models)
        assert taken / 1.1 <= counted <= 1.5 * taken, (n_columns, n_levels, taken / 20, counted / 20)


def test_another_network_under_the_same_number_is_not_answered_from_memory(
    followed: LoadedModels, ear: Ear, jobs: JobStore, redis: Redis
) -> None:
    """A6, R29: a failover to a replica that lacked version 2, where a new version 2 was published. Nobody heard of it.

    On 15a4f66 the old network went on as version 2, unmarked.
    """
    dump = {key: redis.dump(key) for key in redis.scan_iter()}
    publish(jobs, weight=1.0)
    ear.hear("or")
    assert followed.get(ModelReference("or", version=2)).model.trained.network.layers[0].weights[0, 0] == 1.0
    ear.is_connected = False
    redis.flushall()
    for key, value in dump.items():
        redis.restore(key, 0, value)
    publish(jobs, weight=-5.0)
    ear.is_connected = True
    ear.hear(None)
    found = followed.get(ModelReference("or", version=2))
    assert (found.model.trained.network.layers[0].weights[0, 0], found.is_stale) == (-5.0, False)
    assert first_weight(followed) == -5.0
    assert followed.versions.n_bytes == sum(model.n_bytes for model in followed.versions._loaded.values())


def test_a_network_that_arrives_after_the_pointers_of_another_is_not_served(
    redis: Redis, jobs: JobStore, store: Store
) -> None:
    """The failover happens between the load of a version and the read of its pointers."""
    publish(jobs, weight=1.0)
    old = store.load("or", 1)
    redis.flushall()
    publish(jobs, weight=-5.0)
    models = loaded_models(store)
    load, store.load = store.load, lambda *_: old  # type: ignore[method-assign]
    with pytest.raises(CorruptDataError, match="is not the one published under this number"):
        models.get(ModelReference("or"))
    store.load = load  # type: ignore[method-assign]
    assert first_weight(models) == -5.0


def test_versions_of_older_code_are_served_though_their_digest_is_not_in_the_pointers(
    redis: Redis, jobs: JobStore, followed: LoadedModels, ear: Ear
) -> None:
    redis.delete(keys.digests("or"))
    ear.hear("or")
    assert followed.get(ModelReference("or")).model.trained.version == 1
    assert version_of(followed, alias="production") == 1


def test_a_number_below_the_latest_that_a_backup_brought_back_is_found(
    followed: LoadedModels, ear: Ear, jobs: JobStore, redis: Redis, store: Store
) -> None:
    publish(jobs)
    dump = {key: redis.dump(key) for key in redis.scan_iter()}
    publish(jobs)
    store.delete_version("or", 2)
    ear.hear("or")
    with pytest.raises(VersionNotFoundError):
        followed.get(ModelReference("or", version=2))
    redis.flushall()
    for key, value in dump.items():
        redis.restore(key, 0, value)
    ear.hear(None)
    assert followed.get(ModelReference("or", version=2)).model.trained.version == 2


def test_a_version_in_use_in_one_process_is_loaded_in_the_others(
    followed: LoadedModels, ear: Ear, jobs: JobStore, store: Store
) -> None:
    """R43. On 15a4f66 a process that nobody had asked before Redis went away answered 503."""
    for model in ("asked", "not_asked"):
        publish(jobs, model)
    other_ear = Ear()
    running = loaded_models(store)
    running.follow(other_ear)
    soon(lambda: running.is_ready)
    followed.get(ModelReference("asked"))
    other_ear.hear_of_use()
    soon(lambda: running.find(ModelReference("asked")))
    started_later = loaded_models(store)
    started_later.follow(other_ear)
    soon(lambda: started_later.is_ready)
    store.is_away = True
    for models in (running, started_later):
        assert models.find(ModelReference("asked")) is not None
        assert models.find(ModelReference("not_asked")) is None
    other_ear.is_connected = False


def test_versions_in_use_elsewhere_take_half_of_the_memory(redis: Redis, jobs: JobStore, store: Store) -> None:
    for k in range(6):
        publish(jobs, f"m{k}")
    size = loaded_models(store).get(ModelReference("m0")).model.n_bytes
    store.note_in_use([(f"m{k}", 1) for k in range(6)] + [("deleted", 1)])
    models = loaded_models(store, max_bytes=4 * size)
    ear = Ear()
    models.follow(ear)
    soon(lambda: models.is_ready)
    assert set(models.versions._loaded) == {("m5", 1), ("m4", 1)}
    ear.is_connected = False


def test_damaged_notes_of_the_versions_in_use_hold_up_nothing(
    redis: Redis, jobs: JobStore, store: Store, ear: Ear
) -> None:
    publish(jobs, alias="production")
    redis.xadd(keys.VERSIONS_IN_USE, {"other": "x"})
    redis.xadd(keys.VERSIONS_IN_USE, {"model": b"\xff", "version": "one"})
    store.note_in_use([("or", 1)])
    assert store.in_use()[0] == [("or", 1)]
    redis.set(keys.VERSIONS_IN_USE, "a text where a stream belongs")
    store.note_in_use([("or", 1)])
    models = loaded_models(store)
    models.follow(ear)
    soon(lambda: models.is_ready)
    assert models.find(ModelReference("or")) is not None
