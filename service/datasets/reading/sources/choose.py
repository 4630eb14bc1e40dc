"""Which source reads a media type."""

from dataclasses import replace
from pathlib import Path

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.options import ReadOptions, charset_of, header_of
from service.datasets.reading.sources.arrow_tables import ArrowStream, ParquetTable
from service.datasets.reading.sources.characters import Characters
from service.datasets.reading.sources.content import Content
from service.datasets.reading.sources.delimited import DelimitedTable, with_delimiter
from service.datasets.reading.sources.json_records import JsonRecords
from service.datasets.reading.sources.numpy_arrays import open_npy, open_npz
from service.datasets.reading.sources.source import Source
from service.http.errors import UnsupportedMediaTypeError

_DELIMITED = ("text/csv", "text/tab-separated-values", "text/plain", "application/csv")
_JSON = ("application/json",)
_JSON_LINES = ("application/jsonlines", "application/x-ndjson", "application/jsonl")
_PARQUET = ("application/vnd.apache.parquet", "application/x-parquet")
_ARROW = ("application/vnd.apache.arrow.stream",)
_NPY = ("application/x-npy",)
_NPZ = ("application/x-npz",)

MEDIA_TYPES = (*_DELIMITED, *_PARQUET, *_ARROW, *_NPY, *_NPZ, *_JSON, *_JSON_LINES)


def open_source(
    path: Path, *, media_type: str, content_encoding: str, options: ReadOptions, limits: TableLimits, folder: Path
) -> Source:
    """Open a file as what its media type says.

    Args:
        media_type: with its parameters, such as `text/csv; charset=latin-1; header=absent` (RFC 4180).
        folder: for temporary files.

    Raises:
        UnsupportedMediaTypeError: no source reads it.
        TableError: the file is not what it is said to be.
        InvalidRequestError: a parameter of the media type is none of those possible.
    """
    name, _, parameters = (part.strip().lower() for part in media_type.partition(";"))
    content = Content.of(path, content_encoding, limits)
    if name in _DELIMITED:
        said = {key.strip(): text.strip(' "') for key, _, text in (x.partition("=") for x in parameters.split(";"))}
        charset = options.charset or (charset_of(said["charset"]) if said.get("charset") else None)
        if options.header is None and said.get("header"):
            options = replace(options, header=header_of(said["header"]))
        return DelimitedTable(Characters(content, charset), with_delimiter(options, name), limits)
    if name in _JSON or name in _JSON_LINES:
        return JsonRecords(Characters(content, options.charset), limits, is_lines=name in _JSON_LINES)
    if name in _PARQUET:
        return ParquetTable(content.uncompressed(folder), limits)
    if name in _ARROW:
        return ArrowStream(content.uncompressed(folder), limits)
    if name in _NPY:
        return open_npy(content.uncompressed(folder), limits)
    if name in _NPZ:
        return open_npz(content.uncompressed(folder), folder, limits)
    raise UnsupportedMediaTypeError(f"a table can be {', '.join(MEDIA_TYPES)}, not {name[:100] or 'without a type'}")
