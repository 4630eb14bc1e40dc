"""Records of data sets in a real Redis."""

from dataclasses import replace

import pytest
from redis import Redis

from storage import keys
from storage.datasets.record import DatasetRecord
from storage.datasets.schema import ColumnSchema, TableSchema
from storage.datasets.store import DatasetStore
from storage.errors import (
    CorruptDataError,
    DatasetInUseError,
    DatasetNotFoundError,
    DatasetsFullError,
    UnavailableError,
)
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.store_settings import UNLIMITED
from tests.builders import training_spec

COLUMN = ColumnSchema(name="a", type="numeric", use=True, nulls=0, distinct=2, mean=1.5, min=1.0, max=2.0)
BLOB = "0" * 64


def a_dataset(number: int = 1) -> DatasetRecord:
    return DatasetRecord(
        id=f"ds_{number:032x}",
        name="churn.csv",
        blob=BLOB,
        n_rows=2,
        n_columns=1,
        n_bytes=7,
        schema=TableSchema(rows=2, columns=(COLUMN,)),
    )


@pytest.fixture
def datasets(redis: Redis) -> DatasetStore:
    return DatasetStore(redis)


def test_a_data_set_is_read_as_it_was_added(datasets: DatasetStore) -> None:
    assert datasets.add(a_dataset())
    found = datasets.get(a_dataset().id)
    assert found.created_at_ms > 1_700_000_000_000
    assert replace(found, created_at_ms=0) == a_dataset()


def test_the_same_data_set_is_added_once(datasets: DatasetStore) -> None:
    assert datasets.add(a_dataset())
    assert not datasets.add(replace(a_dataset(), name="other"))
    assert datasets.get(a_dataset().id).name == "churn.csv"


def test_a_data_set_whose_blob_is_being_deleted_is_refused(datasets: DatasetStore, redis: Redis) -> None:
    redis.set(keys.being_deleted(BLOB), 1)
    with pytest.raises(UnavailableError, match="being deleted"):
        datasets.add(a_dataset())
    with pytest.raises(DatasetNotFoundError):
        datasets.get(a_dataset().id)


@pytest.mark.parametrize("dataset_id", ["", "ds_1", "ds_" + "A" * 32, f"{a_dataset().id}:jobs", "job_" + "0" * 32])
def test_what_has_not_the_form_of_an_id_is_not_found(datasets: DatasetStore, dataset_id: str) -> None:
    datasets.add(a_dataset())
    with pytest.raises(DatasetNotFoundError):
        datasets.get(dataset_id)


def test_pages_have_the_newest_first(datasets: DatasetStore, redis: Redis) -> None:
    for number in range(1, 6):
        datasets.add(a_dataset(number))
        redis.zadd(keys.datasets(), {a_dataset(number).id: number})
    first, has_more = datasets.page(limit=2)
    assert [each.id[-1] for each in first] == ["5", "4"] and has_more
    second, has_more = datasets.page(limit=3, after=first[-1].id)
    assert [each.id[-1] for each in second] == ["3", "2", "1"] and not has_more
    with pytest.raises(DatasetNotFoundError):
        datasets.page(limit=1, after="ds_" + "f" * 32)


def test_a_damaged_record_is_left_out_of_pages(datasets: DatasetStore, redis: Redis) -> None:
    for number in (1, 2, 3):
        datasets.add(a_dataset(number))
    redis.hset(keys.dataset(a_dataset(1).id), "n_rows", "many")
    redis.delete(keys.dataset(a_dataset(2).id))
    redis.set(keys.dataset(a_dataset(2).id), "a text")
    redis.zadd(keys.datasets(), {"no id": 1})
    page, _ = datasets.page(limit=10)
    assert [each.id for each in page] == [a_dataset(3).id]
    with pytest.raises(CorruptDataError, match="n_rows"):
        datasets.get(a_dataset(1).id)
    with pytest.raises(CorruptDataError, match="another type"):
        datasets.get(a_dataset(2).id)


def test_a_data_set_is_deleted_once(datasets: DatasetStore) -> None:
    datasets.add(a_dataset())
    datasets.delete(a_dataset().id)
    assert datasets.page(limit=1) == ([], False)
    with pytest.raises(DatasetNotFoundError):
        datasets.delete(a_dataset().id)


def test_a_data_set_stays_while_a_job_needs_it(datasets: DatasetStore, jobs: JobStore) -> None:
    datasets.add(a_dataset())
    spec = training_spec()
    spec = replace(spec, data=replace(spec.data, dataset=a_dataset().id))
    jobs.submit("or", training_spec(), metadata={})
    job = jobs.submit("or", spec, metadata={})
    with pytest.raises(DatasetInUseError, match=job.id):
        datasets.delete(a_dataset().id)
    attempt = jobs.claim(job.id)
    assert attempt is not None
    with pytest.raises(DatasetInUseError, match=job.id):
        datasets.delete(a_dataset().id)
    attempt.fail(JobError("diverged", "too fast"))
    datasets.delete(a_dataset().id)


def test_a_job_on_a_deleted_data_set_is_not_recorded(datasets: DatasetStore, jobs: JobStore) -> None:
    spec = training_spec()
    with pytest.raises(DatasetNotFoundError):
        jobs.submit("or", replace(spec, data=replace(spec.data, dataset=a_dataset().id)), metadata={})
    assert jobs.page(limit=1) == ([], False)


def test_a_data_set_counts_with_the_larger_of_its_two_files(datasets: DatasetStore, redis: Redis) -> None:
    datasets.add(replace(a_dataset(1), n_bytes=100, n_stored_bytes=30))
    datasets.add(replace(a_dataset(2), n_bytes=10, n_stored_bytes=250))
    datasets.add(replace(a_dataset(3), n_bytes=7, n_stored_bytes=0))
    redis.hdel(keys.dataset(a_dataset(3).id), "n_stored_bytes")  # as an older release left it
    datasets.check_room("", 43, 400)
    fourth = replace(a_dataset(4), n_bytes=20, n_stored_bytes=44)
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):  # 100 + 250 + 7 + 44
        datasets.check_room("", 44, 400)
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):
        datasets.add(fourth, max_bytes=400)
    assert datasets.add(fourth, max_bytes=401)
    assert datasets.get(a_dataset(3).id).n_stored_bytes == 0


def filled(datasets: DatasetStore, redis: Redis) -> None:
    """Three data sets of acme with 100, 250 and 50 bytes, and 50 of no tenant."""
    for number, n_bytes in ((1, 100), (2, 250), (3, 50)):
        datasets.add(replace(a_dataset(number), id=f"acme/{a_dataset(number).id}", n_bytes=n_bytes), max_bytes=400)
    datasets.add(replace(a_dataset(1), n_bytes=50), max_bytes=400)


def test_the_bytes_of_a_tenants_data_sets_are_counted_once_an_hour(datasets: DatasetStore, redis: Redis) -> None:
    filled(datasets, redis)
    total = keys.dataset_bytes("acme")
    assert (total, redis.get(total)) == ("perceptron:t:acme:dataset-bytes", b"400")
    assert redis.get(keys.dataset_bytes()) == b"50"
    redis.expire(total, 100)
    datasets.delete(f"acme/{a_dataset(2).id}")
    datasets.add(replace(a_dataset(4), id=f"acme/{a_dataset(4).id}", n_bytes=30), max_bytes=400)
    assert redis.get(total) == b"180"  # 400 - 250 + 30
    assert 0 < redis.ttl(total) <= 100  # type: ignore[operator]
    redis.hset(keys.dataset(f"acme/{a_dataset(1).id}"), "n_bytes", 110)  # which nobody looks at before the hour is over
    datasets.check_room("acme", 220, 400)
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):
        datasets.check_room("acme", 221, 400)
    redis.delete(total)
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):  # 110 + 50 + 30 + 211
        datasets.check_room("acme", 211, 400)
    assert redis.get(total) == b"190"
    assert 3590 < redis.ttl(total) <= 3600  # type: ignore[operator]


def test_a_check_of_the_room_asks_for_the_total_and_for_no_data_set(datasets: DatasetStore, redis: Redis) -> None:
    filled(datasets, redis)
    redis.config_resetstat()
    datasets.check_room("acme", 0, 400)
    commands = {name: told["calls"] for name, told in redis.info("commandstats").items()}  # type: ignore[union-attr]
    assert {name: n for name, n in commands.items() if name not in ("cmdstat_info", "cmdstat_config|resetstat")} == {
        "cmdstat_evalsha": 1,
        "cmdstat_get": 1,
    }


def test_data_sets_are_not_counted_where_nothing_limits_them(datasets: DatasetStore, redis: Redis) -> None:
    datasets.check_room("", 7, UNLIMITED)
    datasets.add(a_dataset(1))
    datasets.add(a_dataset(2))
    datasets.delete(a_dataset(1).id)
    assert not redis.exists(keys.dataset_bytes())
    datasets.check_room("", 7, 14)  # set from now on: one of 7 bytes is left
    assert redis.get(keys.dataset_bytes()) == b"7"
    datasets.add(a_dataset(3))  # by a process that has no limit yet
    assert redis.get(keys.dataset_bytes()) == b"14"


@pytest.mark.parametrize("damage", ["text", "-5", "nan", "1e300", "9" * 40, "", None])
def test_a_damaged_total_is_counted_again(datasets: DatasetStore, redis: Redis, damage: str | None) -> None:
    filled(datasets, redis)
    total = keys.dataset_bytes("acme")

    def spoil() -> None:
        redis.delete(total)
        if damage is None:
            redis.hset(total, "of another", "type")
        else:
            redis.set(total, damage)

    spoil()
    datasets.delete(f"acme/{a_dataset(3).id}")
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):  # 100 + 250 + 51
        datasets.check_room("acme", 51, 400)
    spoil()
    assert datasets.add(replace(a_dataset(4), id=f"acme/{a_dataset(4).id}", n_bytes=20))
    spoil()
    with pytest.raises(DatasetsFullError, match="401 bytes of at most 400"):  # 100 + 250 + 20 + 31
        datasets.add(replace(a_dataset(5), id=f"acme/{a_dataset(5).id}", n_bytes=31), max_bytes=400)
    assert redis.get(total) == b"370"


@pytest.mark.parametrize("size", ["nan", "inf", "-1", "many", "1e300"])
def test_a_damaged_size_counts_nothing_and_holds_up_no_other(datasets: DatasetStore, redis: Redis, size: str) -> None:
    datasets.add(a_dataset(1))
    redis.hset(keys.dataset(a_dataset(1).id), "n_bytes", size)
    assert datasets.add(a_dataset(2), max_bytes=7)
    datasets.delete(a_dataset(1).id)
    assert redis.get(keys.dataset_bytes()) == b"7"


def test_a_data_set_that_no_list_has_is_not_taken_off_the_total(datasets: DatasetStore, redis: Redis) -> None:
    datasets.add(a_dataset(1), max_bytes=100)
    datasets.add(a_dataset(2), max_bytes=100)
    redis.zrem(keys.datasets(), a_dataset(1).id)
    redis.delete(keys.dataset_bytes())
    datasets.check_room("", 0, 100)
    datasets.delete(a_dataset(1).id)
    assert redis.get(keys.dataset_bytes()) == b"7"


def test_a_data_set_is_deleted_and_taken_off_the_total_when_redis_is_full(datasets: DatasetStore, redis: Redis) -> None:
    datasets.add(a_dataset(1), max_bytes=100)
    datasets.add(a_dataset(2), max_bytes=100)
    redis.config_set("maxmemory", 1)
    try:
        datasets.delete(a_dataset(1).id)
        assert redis.get(keys.dataset_bytes()) == b"7"
    finally:
        redis.config_set("maxmemory", 0)
