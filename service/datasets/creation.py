"""From an uploaded file to a data set."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict

import orjson

from service.datasets.reading.options import ReadOptions
from service.datasets.reading.read import read_table
from service.datasets.upload import Upload
from service.http.caller import Caller
from service.http.parsing import refuse
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.record import DatasetRecord
from storage.datasets.store import DatasetStore
from storage.errors import DatasetNotFoundError

MAX_NAME = 256


def create_dataset(
    upload: Upload,
    *,
    media_type: str,
    content_encoding: str,
    query: Mapping[str, str],
    caller: Caller,
    datasets: DatasetStore,
    blobs: BlobStore,
    limits: Limits,
) -> tuple[DatasetRecord, bool]:
    """Read a complete upload, and record it as a data set.

    Returns:
        The data set, and whether it is new: the same bytes, read in the same way, are one data set.

    Raises:
        TableError, RequestError: the file is no table that we take, or the query asks for what there is not.
        BlobStoreUnavailableError: it cannot be stored now.
    """
    name = query.get("name") or "table"
    if len(name) > MAX_NAME:
        refuse("/name", f"may have {MAX_NAME} characters, not {len(name)}")
    options = ReadOptions.parse(query)
    dataset_id = caller.dataset(_id_of(upload, media_type, content_encoding, options))
    try:
        return datasets.get(dataset_id), False
    except DatasetNotFoundError:
        pass
    datasets.check_room(caller.tenant, upload.n_bytes, limits.max_tenant_dataset_bytes)
    stored = upload.folder / "table.parquet"
    schema = read_table(
        upload.path,
        media_type=media_type,
        content_encoding=content_encoding,
        options=options,
        limits=limits.tables,
        destination=stored,
    )
    n_stored_bytes = stored.stat().st_size  # a small file may hold a large table
    datasets.check_room(caller.tenant, max(upload.n_bytes, n_stored_bytes), limits.max_tenant_dataset_bytes)
    record = DatasetRecord(
        id=dataset_id,
        name=name,
        blob=blobs.put_file(stored),
        n_rows=schema.rows,
        n_columns=len(schema.columns),
        n_bytes=upload.n_bytes,
        n_stored_bytes=n_stored_bytes,
        schema=schema,
    )
    is_new = datasets.add(record, max_bytes=limits.max_tenant_dataset_bytes)
    return datasets.get(dataset_id), is_new


def _id_of(upload: Upload, media_type: str, content_encoding: str, options: ReadOptions) -> str:
    """Return the id of the data set that these bytes give: the same for the same."""
    how = orjson.dumps([upload.sha256, media_type, content_encoding, asdict(options)], option=orjson.OPT_SORT_KEYS)
    return f"ds_{hashlib.sha256(how).hexdigest()[:32]}"
