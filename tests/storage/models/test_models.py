"""The registry: versions never change, pointers do."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from redis import Redis

from storage import keys
from storage.errors import AliasNotFoundError, ModelNotFoundError, VersionInUseError, VersionNotFoundError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import publish


def test_the_latest_version_is_meant_when_none_is_named(jobs: JobStore, models: ModelStore) -> None:
    for _ in range(11):
        publish(jobs)
    assert models.resolve("or") == 11  # not 9, which comes last among texts
    assert models.resolve("or", version=3) == 3
    models.set_alias("or", "production", 7)
    assert models.resolve("or", alias="production") == 7


def test_what_does_not_exist_is_named_exactly(jobs: JobStore, models: ModelStore) -> None:
    with pytest.raises(ModelNotFoundError):
        models.resolve("or")
    with pytest.raises(ModelNotFoundError):
        models.load("or", 1)
    publish(jobs)
    with pytest.raises(VersionNotFoundError):
        models.resolve("or", version=2)
    with pytest.raises(AliasNotFoundError):
        models.resolve("or", alias="production")
    with pytest.raises(VersionNotFoundError):
        models.set_alias("or", "production", 2)
    with pytest.raises(ModelNotFoundError):
        models.set_alias("xor", "production", 1)
    with pytest.raises(AliasNotFoundError):
        models.delete_alias("or", "production")


def test_a_version_that_an_alias_names_cannot_be_deleted(jobs: JobStore, models: ModelStore) -> None:
    publish(jobs, alias="production")
    publish(jobs)
    with pytest.raises(VersionInUseError) as caught:
        models.delete_version("or", 1)
    assert caught.value.alias == "production"
    models.delete_alias("or", "production")
    models.delete_version("or", 1)
    assert models.get("or").versions == (2,)
    with pytest.raises(VersionNotFoundError):
        models.delete_version("or", 1)


def test_when_the_latest_version_is_deleted_the_one_before_is_the_latest(jobs: JobStore, models: ModelStore) -> None:
    publish(jobs), publish(jobs)
    models.delete_version("or", 2)
    assert models.resolve("or") == 1


def test_a_model_whose_last_version_was_deleted_is_gone(jobs: JobStore, models: ModelStore) -> None:
    publish(jobs)
    models.delete_version("or", 1)
    assert models.page(limit=10) == ([], False)
    with pytest.raises(ModelNotFoundError):
        models.get("or")


def test_deleting_a_model_deletes_versions_and_aliases(jobs: JobStore, models: ModelStore) -> None:
    publish(jobs, alias="production"), publish(jobs)
    models.delete("or")
    with pytest.raises(ModelNotFoundError):
        models.resolve("or", alias="production")
    with pytest.raises(ModelNotFoundError):
        models.delete("or")


def test_models_are_listed_by_name_in_pages(jobs: JobStore, models: ModelStore) -> None:
    for name in ("b", "c", "a"):
        publish(jobs, name)
    page, has_more = models.page(limit=2)
    assert ([model.name for model in page], has_more) == (["a", "b"], True)
    page, has_more = models.page(limit=2, after="b")
    assert ([model.name for model in page], has_more) == (["c"], False)


def test_a_model_is_listed_with_its_versions_in_the_order_of_their_numbers(jobs: JobStore, models: ModelStore) -> None:
    for _ in range(11):
        publish(jobs, alias="production")
    publish(jobs, "other")
    models.delete_version("or", 2)
    model, versions = models.with_versions("or")
    assert model == models.get("or")
    assert [version.number for version in versions] == [1, *range(3, 12)]
    assert versions == [models.get_version("or", number) for number in model.versions]
    for nobody in ("nobody", "*"):
        with pytest.raises(ModelNotFoundError):
            models.with_versions(nobody)


def test_a_model_with_many_versions_is_read_without_keeping_others_waiting_for_redis(
    redis: Redis, jobs: JobStore, models: ModelStore
) -> None:
    """One script for all of them took 0.04 s for a thousand, in which Redis answered nobody else."""
    publish(jobs)
    record = redis.hgetall(keys.version("or", 1))
    described = json.loads(record[b"description"]) | {"feature_names": [f"feature number {k}" for k in range(800)]}
    record[b"description"] = json.dumps(described).encode()
    mapping: Any = record
    with redis.pipeline(transaction=False) as pipeline:
        for number in range(2, 1_001):
            pipeline.hset(keys.version("or", number), mapping=mapping)
            pipeline.zadd(keys.versions("or"), {str(number): number})
        pipeline.execute()
    longest_us = []
    redis.config_set("slowlog-log-slower-than", 0)
    redis.config_set("slowlog-max-len", 2_000)
    try:
        for _ in range(3):
            redis.slowlog_reset()
            assert len(models.with_versions("or")[1]) == 1_000
            longest_us.append(max(entry["duration"] for entry in redis.slowlog_get(2_000)))
    finally:
        redis.config_set("slowlog-log-slower-than", 10_000)
        redis.slowlog_reset()
    assert min(longest_us) < 10_000, longest_us


def test_a_version_that_is_deleted_while_its_model_is_read_is_left_out(
    jobs: JobStore, models: ModelStore, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        publish(jobs)
    find = models.find

    def find_before_the_delete(names: Sequence[str]) -> Any:
        found = find(names)
        monkeypatch.setattr(models, "find", find)
        models.delete_version("or", 3)
        return found

    monkeypatch.setattr(models, "find", find_before_the_delete)
    model, versions = models.with_versions("or")
    assert model == models.get("or")
    assert [version.number for version in versions] == [1, 2]
    assert caplog.text == ""
