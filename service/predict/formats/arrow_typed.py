"""Arrow IPC streams for models of tables: columns of numbers, text, booleans, dictionaries, decimals and nulls.

pyarrow reads the values, after their headers were checked: nothing in them may expand, and texts may not be shared by
so many names or rows that they take much more memory or time than their bytes in the body.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.datasets.cells import LARGEST_WHOLE
from service.http.arrow_header import (
    DICTIONARY_BATCH,
    MAX_NAME_BYTES,
    RECORD_BATCH,
    SCHEMA,
    Header,
    messages,
)
from service.http.parsing import check_n_instances, pointer_to, refuse
from service.predict.columns.codes import Cells
from service.predict.columns.table import ExtraNames, as_instances, match_names
from service.predict.inputs import InputColumn, Inputs
from service.predict.instances import Instances
from service.settings import Limits

_MAX_FIELDS = 20_000
_MAX_METADATA = 50_000


def read_typed(body: bytes, inputs: Inputs, limits: Limits) -> Instances:
    """Read a stream whose columns are matched by name, or by position if they have no names or are numbered.

    Raises:
        InvalidRequestError: the body is not such a stream, or its columns do not fit the model.
    """
    try:
        names = _check_headers(body, len(inputs.names), limits)
    # What `struct`, NumPy and flatbuffers raise for an offset out of bounds or an invalid number.
    except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
        refuse("", f"is not an Arrow IPC stream: {error}")
    order, extra = list(range(len(names))), ExtraNames()
    is_numbered = all(name == str(j) for j, name in enumerate(names)) and set(names) != set(inputs.names)
    if not (is_numbered or not any(names)) or len(names) != len(inputs.names):
        order, extra = match_names(names, inputs, "", lambda k: pointer_to([names[k][:128]]))
    chunks = _read_columns(body, order, limits)
    columns = []
    for place, column, of_column in zip(order, inputs.columns, chunks, strict=True):
        values = _values(of_column, column, place)
        columns.append(Cells(values, lambda i, place=place: f"/{i}/{place}"))  # type: ignore[misc]
    return as_instances(columns, inputs, "", extra=extra)


def _check_headers(body: bytes, n_columns: int, limits: Limits) -> list[str]:
    """Check everything but the values, and return the names of the columns."""
    names: list[str] | None = None
    n_rows = 0
    for message in messages(body):
        if names is None:
            if message.kind != SCHEMA:
                refuse("", "is not an Arrow IPC stream: it does not begin with a schema")
            names = _names(message.header, len(body))
            continue
        batch = message.header
        if message.kind == DICTIONARY_BATCH:
            if batch.number(2, "?"):
                refuse("", "must not have dictionaries that grow (delta dictionaries)")
            of_dictionary = batch.table(1)
            if of_dictionary is None or not 0 <= of_dictionary.number(0, "q") <= len(body):
                refuse("", "has a dictionary that does not fit into it")
            batch = of_dictionary
        elif message.kind == RECORD_BATCH:
            n_rows += max(batch.number(0, "q"), 0)
            check_n_instances(max(n_rows, 1), "", limits)
        else:
            refuse("", "must have only dictionaries and record batches after its schema")
        if batch.table(3) is not None:
            refuse("", "must not be compressed")
        if message.n_metadata:
            refuse("", "must have no metadata in its batches")
    check_n_instances(n_rows, "", limits)
    if n_rows * n_columns > max(limits.max_inline_values, 2 * len(body)):  # nulls and booleans take hardly any bytes
        most = f"{limits.max_inline_values} values (MAX_INLINE_VALUES)"
        refuse("", f"may have at most {most} for a body of this size, not {n_rows} x {n_columns}")
    return names or []


def _names(schema: Header, n_bytes: int) -> list[str]:
    """Return the names of the columns after checking that texts are not shared by many names."""
    names = [_name(field) for field in schema.tables(1)]
    if not 1 <= len(names) <= _MAX_FIELDS:
        refuse("", f"must have 1 to {_MAX_FIELDS} columns, not {len(names)}")
    n_fields, n_texts, n_text_bytes, of_metadata = 0, 0, 0, [(schema, 2)]
    fields = list(schema.tables(1))
    while fields:
        field = fields.pop()
        n_fields += 1
        if n_fields + field.length(5) > _MAX_FIELDS:
            refuse("", f"must have at most {_MAX_FIELDS} columns, with those inside of others")
        _name(field)
        fields += field.tables(5)
        of_metadata.append((field, 6))
    for owner, member in of_metadata:
        n_texts += owner.length(member)
        if n_texts > _MAX_METADATA:
            refuse("", f"must have at most {_MAX_METADATA} texts of metadata")
        n_text_bytes += sum(text.length(0) + text.length(1) for text in owner.tables(member))
    if n_text_bytes > n_bytes:
        refuse("", "has metadata that share their texts")
    return names


def _name(field: Header) -> str:
    if (n_bytes := field.length(0)) > MAX_NAME_BYTES:
        refuse("", f"must have column names of at most {MAX_NAME_BYTES} bytes, not {n_bytes}")
    return field.text(0)


def _read_columns(body: bytes, order: Sequence[int], limits: Limits) -> list[list[Any]]:
    """Return the arrays of each column, one for each batch."""
    import pyarrow as pa  # takes 0.2 s and about 40 MB, so only a process that is asked for it loads it

    included = sorted(set(order))
    options = pa.ipc.IpcReadOptions(included_fields=included, use_threads=False)
    try:
        batches = [batch for batch in pa.ipc.open_stream(body, options=options) if batch.num_rows]
        for batch in batches:
            batch.validate()
            for array in batch.columns:
                _check_views(array.dictionary if pa.types.is_dictionary(array.type) else array, limits)
            batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        refuse("", f"is not an Arrow IPC stream: {str(error)[:200]}")
    return [[batch.columns[included.index(place)] for batch in batches] for place in order]


def _check_views(array: Any, limits: Limits) -> None:
    """Refuse views of texts that share so many bytes that looking at each takes long."""
    if str(array.type) not in ("string_view", "binary_view") or not len(array):
        return
    views = np.frombuffer(array.buffers()[1], np.int32)[: 4 * (array.offset + len(array))]
    n_bytes = int(views[::4].clip(min=0).astype(np.int64).sum())
    if n_bytes > limits.max_body_bytes:
        refuse("", f"has {n_bytes} bytes of text, more than {limits.max_body_bytes} (MAX_BODY_BYTES)")


def _values(arrays: Sequence[Any], column: InputColumn, place: int) -> list[Any] | NDArray[np.float64]:
    """Return the cells of a column: of a numeric one as an array, in which NaN is missing."""
    first, parts = 0, []
    for array in arrays:
        parts.append(_part(array, column, first, place))
        first += len(array)
    if column.kind == "numeric":
        return np.concatenate(parts)
    return [cell for part in parts for cell in part]


def _part(array: Any, column: InputColumn, first: int, place: int) -> Any:
    import pyarrow as pa

    is_kind = pa.types
    of_type = array.type.value_type if is_kind.is_dictionary(array.type) else array.type
    is_null = is_kind.is_null(of_type)
    is_text = is_kind.is_string(of_type) or is_kind.is_large_string(of_type) or is_kind.is_string_view(of_type)
    is_number = is_kind.is_integer(of_type) or is_kind.is_floating(of_type) or is_kind.is_decimal(of_type)
    is_boolean = is_kind.is_boolean(of_type)
    expected, is_fit = {
        "numeric": ("numbers", is_number),
        "boolean": ("booleans, or the texts true and false", is_boolean or is_text),
        "categorical": ("text, numbers or booleans", is_number or is_boolean or is_text),
    }[column.kind]
    if not (is_fit or is_null):
        refuse(pointer_to([column.name[:128]]), f"must be a column of {expected}, not {str(array.type)[:100]}")
    if is_null:
        return np.full(len(array), np.nan) if column.kind == "numeric" else [None] * len(array)
    if column.kind == "numeric":
        return _numbers(array, of_type, first, place)
    if is_kind.is_floating(of_type):
        _numbers(array, of_type, first, place)  # refuses what is infinite
    return _plain(array)


def _plain(array: Any) -> list[Any]:
    """Return the cells as Python has them; equal texts are one object."""
    import pyarrow as pa

    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    distinct = [*(float(x) if type(x).__name__ == "Decimal" else x for x in encoded.dictionary.to_pylist()), None]
    return [distinct[k] for k in encoded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False).tolist()]


def _numbers(array: Any, of_type: Any, first: int, place: int) -> NDArray[np.float64]:
    """Return numbers, NaN where they are missing: polars and NumPy have no other value for that in a float."""
    import pyarrow as pa

    decoded = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    is_missing = np.asarray(decoded.is_null().to_numpy(zero_copy_only=False))
    numbers: NDArray[np.float64] = decoded.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    numbers[is_missing] = np.nan
    if (is_infinite := np.isinf(numbers)).any():
        refuse(f"/{first + int(is_infinite.argmax())}/{place}", "must be finite")
    if pa.types.is_integer(of_type):
        is_good = is_missing | (np.abs(numbers) < LARGEST_WHOLE)
        if not is_good.all():
            refuse(f"/{first + int(is_good.argmin())}/{place}", "must be exact as a 64-bit float")
    return numbers
