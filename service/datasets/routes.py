"""`/datasets`: uploaded tables."""

from collections.abc import Callable
from contextlib import ExitStack

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.datasets.creation import create_dataset
from service.datasets.payloads import (
    DatasetList,
    DatasetPath,
    DatasetPayload,
    DatasetsQuery,
    DatasetSummaryPayload,
    RowList,
    RowsQuery,
)
from service.datasets.upload import UPLOAD, Upload
from service.http.errors import Fault, InvalidRequestError
from service.http.flask_requests import current_caller
from service.http.flask_responses import to_json
from service.http.openapi import answer, body_problems, header, problems
from service.http.parsing import refuse
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.store import DatasetStore
from storage.datasets.table import Table
from storage.errors import DatasetNotFoundError
from storage.tenants import local

UPLOADED_TYPES = (
    "text/csv",
    "text/tab-separated-values",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "application/x-npy",
    "application/x-npz",
    "application/json",
    "application/jsonlines",
)

_PARTS_BYTES = 1 << 20

_QUERY = {
    "name": "What to call the data set; it is shown, and nothing else.",
    "delimiter": "Of text; null: found.",
    "decimal": "The decimal mark of numbers in text: `.` or `,`.",
    "header": "`present` or `absent`: whether the first record of a text holds names.",
    "null_values": "The texts that stand for a missing value, with commas between them or as a list in JSON.",
    "charset": "Of text that is neither UTF-8 nor, by its mark, UTF-16.",
    "types": 'What columns are to be taken for, as JSON: `{"store": "categorical"}`.',
}


def dataset_routes(
    datasets: DatasetStore, blobs: BlobStore, limits: Limits, check_blobs: Callable[[], None]
) -> APIBlueprint:
    """Build the routes from their parts.

    Args:
        check_blobs: raises if the blob store cannot be used, or is not the one that the workers read.
    """
    routes = APIBlueprint("datasets", __name__, abp_tags=[Tag(name="Data sets", description="Upload tables.")])

    @routes.post(
        "/datasets",
        summary="Upload a table",
        responses={
            200: answer(DatasetPayload, "The same bytes are there already", Location="The data set's URL"),
            201: answer(DatasetPayload, "Created", Location="The data set's URL"),
            **body_problems(),
        },
        openapi_extensions={
            "requestBody": {
                "required": True,
                "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in UPLOADED_TYPES},
            },
            "parameters": [
                *(
                    {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
                    for name, text in _QUERY.items()
                ),
                header("Repr-Digest", "sha-256 or sha-512 of the body (RFC 9530), which is checked; so is `Digest`."),
            ],
        },
    )
    def upload_dataset() -> Response:
        unknown = next((name for name in request.args if name not in _QUERY), None)
        if unknown is not None:
            refuse(f"/{unknown[:128]}", "there is no such parameter")
        twice = next((name for name, values in request.args.lists() if len(values) > 1), None)
        if twice is not None:
            refuse(f"/{twice}", "is given twice")
        with ExitStack() as stack:
            upload = request.environ.get("asgi.scope", {}).get(UPLOAD)
            if upload is None:
                check_blobs()
                upload = _spooled(stack, blobs, limits)
            record, is_new = create_dataset(
                upload,
                media_type=request.headers.get("Content-Type", ""),
                content_encoding=request.headers.get("Content-Encoding", ""),
                query=request.args.to_dict(),
                caller=current_caller(),
                datasets=datasets,
                blobs=blobs,
                limits=limits,
            )
        response = to_json(DatasetPayload.of(record), 201 if is_new else 200)
        response.headers["Location"] = f"/datasets/{local(record.id)}"
        return response

    @routes.get("/datasets", summary="List data sets, newest first", responses={200: DatasetList, **problems(422)})
    def list_datasets(query: DatasetsQuery) -> Response:
        caller = current_caller()
        try:
            after = None if query.after is None else caller.dataset(query.after)
            page, has_more = datasets.page(limit=query.limit, tenant=caller.tenant, after=after)
        except DatasetNotFoundError as error:
            raise InvalidRequestError([Fault("/after", str(error))]) from error
        data = [DatasetSummaryPayload.of(each) for each in page]
        return to_json(DatasetList(data=data, has_more=has_more, last_id=local(page[-1].id) if page else None))

    @routes.get("/datasets/<dataset_id>", summary="Show a data set", responses={200: DatasetPayload, **problems(404)})
    def show_dataset(path: DatasetPath) -> Response:
        return to_json(DatasetPayload.of(datasets.get(current_caller().dataset(path.dataset_id))))

    @routes.get(
        "/datasets/<dataset_id>/rows",
        summary="Show the first rows of a data set",
        responses={200: RowList, **problems(404, 422)},
    )
    def show_rows(path: DatasetPath, query: RowsQuery) -> Response:
        record = datasets.get(current_caller().dataset(path.dataset_id))
        with Table.of(blobs, record.blob) as table:
            return to_json(RowList(data=table.rows(query.limit), has_more=record.n_rows > query.limit))

    @routes.delete(
        "/datasets/<dataset_id>",
        summary="Delete a data set, unless a job that is not done needs it",
        responses={204: None, **problems(404, 409)},
    )
    def delete_dataset(path: DatasetPath) -> Response:
        datasets.delete(current_caller().dataset(path.dataset_id))
        return Response(status=204)

    return routes


def _spooled(stack: ExitStack, blobs: BlobStore, limits: Limits) -> Upload:
    """Read the body of the request into a file: where no event loop has done it."""
    headers = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in request.headers}
    upload = Upload(stack.enter_context(blobs.scratch()), headers, limits.tables.max_dataset_bytes)
    stack.callback(upload.close)
    while part := request.stream.read(_PARTS_BYTES):
        upload.write(part)
    upload.complete()
    return upload
