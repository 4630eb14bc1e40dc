"""`client.datasets`: upload tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from perceptron_client._async.http import AsyncHttp
from perceptron_client.answers.datasets import Dataset
from perceptron_client.bars import byte_bar
from perceptron_client.bodies.uploads import query_of_upload, upload_of
from perceptron_client.requests import Call, objects_of, path_of, query_of
from perceptron_client.waiting import call_in_thread


class AsyncDatasets:
    """Uploaded tables."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def upload(
        self,
        table: Any,
        *,
        name: str | None = None,
        progress: bool = False,
        media_type: str | None = None,
        delimiter: str | None = None,
        decimal: str | None = None,
        header: str | None = None,
        null_values: Sequence[str] | str | None = None,
        charset: str | None = None,
        types: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Upload a table. The same bytes, read in the same way, are one data set.

        Args:
            table: a path (CSV, TSV, Parquet, Arrow stream, npy, npz, JSON, JSON lines by its ending; .gz and .zst may
                follow), bytes or a binary file with a media_type, a data frame of pandas or polars, an Arrow table,
                an array, (X, y), a dict of arrays, or a list of dicts. A file is never in memory as a whole.
            name: what it is called; None: the name of the file.
            progress: show a bar.
            delimiter, decimal, header, null_values, charset, types: where the rules would read a file otherwise, see
                docs/tables.md.

        Raises:
            InvalidTable: the service cannot read it; the message says where.
            OSError: the file cannot be read.
        """
        upload = await call_in_thread(upload_of, table, media_type)
        query = query_of_upload(
            upload,
            name=name,
            types=types,
            delimiter=delimiter,
            decimal=decimal,
            header=header,
            null_values=null_values,
            charset=charset,
        )
        show, end = byte_bar(query.get("name", "upload"), upload.n_bytes, progress=progress)
        call = Call(
            "POST",
            "/datasets",
            params=query,
            upload=replace(upload, show=show),
            headers=upload.headers(),
            is_repeatable=upload.is_repeatable,
            extra_timeout_s=upload.reading_s,
        )
        try:
            return Dataset.of(await self._http.json(call))
        finally:
            end()

    async def get(self, dataset_id: str) -> Dataset:
        """Return a data set, column by column.

        Raises:
            DatasetNotFound: there is none.
        """
        return Dataset.of(await self._http.json(Call("GET", path_of("datasets", dataset_id))))

    async def list(self) -> AsyncIterator[Dataset]:
        """Yield all data sets, newest first, without their columns."""
        async for raw in self._http.pages("/datasets"):
            yield Dataset.of(raw)

    async def rows(self, dataset_id: str, limit: int = 20) -> Sequence[Mapping[str, Any]]:
        """Return the first rows as records, at most 1,000."""
        call = Call("GET", path_of("datasets", dataset_id, "rows"), params=query_of(limit=limit))
        return objects_of(await self._http.json(call))

    async def delete(self, dataset_id: str) -> None:
        """Delete a data set.

        Raises:
            DatasetInUse: a job that is not done needs it.
        """
        await self._http.send(Call("DELETE", path_of("datasets", dataset_id), is_deletion=True))
