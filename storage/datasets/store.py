"""All data sets: their records in Redis, which name their files in the blob store."""

from typing import Any

from redis import Redis

from storage import keys
from storage.alarm import report
from storage.damage import each_answer, names, reported
from storage.datasets.record import (
    LISTED_FIELDS,
    DatasetRecord,
    DatasetSummary,
    decode_dataset_record,
    decode_dataset_summary,
    encode_dataset_record,
)
from storage.errors import DatasetInUseError, DatasetNotFoundError, DatasetsFullError, UnavailableError
from storage.scripts import load_script
from storage.store_settings import UNLIMITED
from storage.tenants import owned, tenant_of


class DatasetStore:
    """The records of all data sets, in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes

    def add(self, record: DatasetRecord, *, max_bytes: int = UNLIMITED) -> bool:
        """Record a data set whose blob is stored; return False if there is one with its id already.

        Args:
            max_bytes: what all data sets of its tenant may have together, each the larger of its file as it was
                uploaded and as it is stored.

        Raises:
            DatasetsFullError: with this one, they would have more.
            UnavailableError: the blob is being deleted; store it again some seconds later.
        """
        tenant = tenant_of(record.id)
        fields = [part for field in encode_dataset_record(record).items() for part in field]
        is_new = load_script(self._redis, "create_dataset")(
            keys=[
                keys.dataset(record.id),
                keys.datasets(tenant),
                keys.being_deleted(record.blob),
                keys.dataset_bytes(tenant),
            ],
            args=[max(record.n_bytes, record.n_stored_bytes), max_bytes, *fields],
        )
        if isinstance(is_new, bytes):
            raise DatasetsFullError(int(is_new), max_bytes)
        if is_new is None:
            raise UnavailableError("an old data set with the same content is being deleted")
        return bool(is_new)

    def check_room(self, tenant: str, n_bytes: int, max_bytes: int) -> None:
        """Check that a tenant may have one more data set, before anything is stored. `add` checks it again.

        Raises:
            DatasetsFullError: with this one, its data sets would have too many bytes.
        """
        if max_bytes == UNLIMITED:
            return
        there = load_script(self._redis, "datasets_bytes")(
            keys=[keys.datasets(tenant), keys.dataset_bytes(tenant)], args=[keys.dataset_prefix(tenant)]
        )
        if (total := int(there) + n_bytes) > max_bytes:
            raise DatasetsFullError(total, max_bytes)

    @names("data set")
    def get(self, dataset_id: str) -> DatasetRecord:
        """Return one data set.

        Raises:
            DatasetNotFoundError: there is no such data set.
        """
        record = self._redis.hgetall(keys.dataset(dataset_id))
        if not record:
            raise DatasetNotFoundError(dataset_id)
        return decode_dataset_record(
            dataset_id, {name.decode("ascii", "replace"): value for name, value in record.items()}
        )

    def ids(self, tenant: str = "") -> list[str]:
        """Return the ids of all data sets of a tenant, the newest first."""
        index, ids = keys.datasets(tenant), []
        for text in (member.decode("ascii", "replace") for member in self._redis.zrange(index, 0, -1)):
            if "/" not in text and keys.is_dataset_id(text):
                ids.append(owned(tenant, text))
            else:
                report(f"{index} has the member {text[:100]!r}, which is no data set's id")
        return ids[::-1]

    def page(self, *, limit: int, tenant: str = "", after: str | None = None) -> tuple[list[DatasetSummary], bool]:
        """Return up to `limit` data sets of a tenant, the newest first, and whether there are more.

        Args:
            after: the id of the last data set of the page before.

        Raises:
            DatasetNotFoundError: the tenant has no data set with the id `after`.
        """
        ids = self.ids(tenant)
        if after is not None:
            if after not in ids:
                raise DatasetNotFoundError(after)
            ids = ids[ids.index(after) + 1 :]
        page = ids[:limit]
        with self._redis.pipeline(transaction=False) as pipeline:
            for dataset_id in page:
                pipeline.hmget(keys.dataset(dataset_id), LISTED_FIELDS)
            records = each_answer(pipeline)
        summaries = []
        for dataset_id, values in zip(page, records, strict=True):
            with reported(f"data set {dataset_id}"):
                if isinstance(values, Exception):
                    raise values
                record = {name: value for name, value in zip(LISTED_FIELDS, values, strict=True) if value is not None}
                if record:  # else it was deleted meanwhile
                    summaries.append(decode_dataset_summary(dataset_id, record))
        return summaries, len(ids) > limit

    @names("data set")
    def delete(self, dataset_id: str) -> None:
        """Delete a data set. Housekeeping deletes its blob some time later.

        Raises:
            DatasetNotFoundError: there is no such data set.
            DatasetInUseError: a job that is not done needs it.
        """
        tenant = tenant_of(dataset_id)
        outcome = load_script(self._redis, "delete_dataset")(
            keys=[
                keys.dataset(dataset_id),
                keys.datasets(tenant),
                keys.jobs_with_status("queued", tenant),
                keys.jobs_with_status("running", tenant),
                keys.dataset_bytes(tenant),
            ],
            args=[keys.job_prefix(tenant)],
        )
        if outcome == 0:
            raise DatasetNotFoundError(dataset_id)
        if isinstance(outcome, bytes):
            raise DatasetInUseError(dataset_id, outcome.decode("ascii", "replace"))
