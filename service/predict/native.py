"""The native route, `POST /predict`: its reader and its writers."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import orjson

from service.http.errors import NotAcceptableError
from service.http.media_types import JSON
from service.http.parsing import check_n_instances, parse_payload, pointer_to, refuse, refuse_width
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.columns.json_rows import read_rows
from service.predict.comparison import compare, explain_outputs
from service.predict.formats.format import SMALL_BODY_BYTES, Format
from service.predict.formats.plain_json import decode_large, decode_small
from service.predict.formats.table import Negotiated, negotiate
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix, Rows, TableRows, as_matrix
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.numbers_in_json import in_slices
from service.predict.payloads import PredictionRequest
from service.predict.predict import PredictRequest, with_version
from service.predict.provisional import JobReference
from service.settings import Limits
from storage.keys import NAME_PATTERN
from storage.models.versions import VERSION_PATTERN, ModelReference

_PLAIN_CONTENT_TYPES = frozenset({b"", JSON_BYTES})
_PLAIN_ACCEPTS = frozenset({b"", b"*/*", JSON_BYTES})

_NAME, _VERSION = re.compile(NAME_PATTERN), re.compile(VERSION_PATTERN)
_NAME_NEEDED = "must be a name: letters, digits, '.', '_' and '-', at most 128"


def read_native(http: HttpRequest, models: LoadedModels, limits: Limits) -> PredictRequest[Instances]:
    """Read a request. JSON names the model in the body, other formats in the query.

    Raises:
        NotAcceptableError, UnsupportedMediaTypeError: no format fits the headers.
        MalformedJsonError, InvalidRequestError: the JSON or the query is invalid.
    """
    if http.content_type in _PLAIN_CONTENT_TYPES and http.accept in _PLAIN_ACCEPTS:
        if len(http.body) <= SMALL_BODY_BYTES:
            plain = decode_small(http.body)
        else:
            plain = decode_large(http.body, limits.max_predict_instances)
        if plain is not None:
            reference, rows = plain
            check_n_instances(len(rows), "/instances", limits)
            return PredictRequest(reference, partial(_from_rows, http.body, limits, rows), _write_json)
    formats = negotiate(http)
    table = formats.body
    if table is None:
        return _read_json(http, formats, models, limits)
    return PredictRequest(
        _in_query(http.query),
        lambda inputs: table.read(http.body, inputs, limits, formats.parameters),
        _writer(formats.answer),
        is_slow=formats.is_slow,
    )


def _from_rows(body: bytes, limits: Limits, rows: Rows, inputs: Inputs) -> Instances:
    """Check the widths of rows whose numbers are known to be finite.

    Args:
        body: what they were decoded from.
    """
    if inputs.encoder is not None:
        return _from_table(body, limits, rows, inputs)
    n_features = len(inputs.names)
    if len(rows) == 1 and len(rows[0]) == n_features:
        return Instances(rows, "/instances")
    return Instances(_of_width(rows, n_features), "/instances")


def _of_width(rows: Rows, width: int) -> Matrix:
    if isinstance(rows, np.ndarray):
        if rows.shape[1] != width:
            refuse_width("/instances/0", width, rows.shape[1])
        return rows
    for i, row in enumerate(rows):
        if len(row) != width:
            refuse_width(f"/instances/{i}", width, len(row))
    return np.array(rows)


def _from_table(body: bytes, limits: Limits, rows: Rows, inputs: Inputs) -> Instances:
    """Read rows of numbers for the columns of a table."""
    assert inputs.encoder is not None
    if not inputs.has_only_numbers:  # a category must be read as it is written: no float holds each whole number
        return read_rows(parse_payload(PredictionRequest, body, limits).instances, "/instances", inputs)
    if len(rows) == 1 and len(rows[0]) == len(inputs.names) and not inputs.has_null_values:
        features = [0.0] * inputs.encoder.n_features  # no number is missing, so no indicator is 1
        for place, value in zip(inputs.encoder.first_features, rows[0], strict=True):
            features[place] = float(value)
        return Instances([features], "/instances")
    return Instances(TableRows(_of_width(rows, len(inputs.names)), inputs.encoder), "/instances")


def _read_json(
    http: HttpRequest, formats: Negotiated, models: LoadedModels, limits: Limits
) -> PredictRequest[Instances]:
    payload = parse_payload(PredictionRequest, http.body, limits)
    reference = _in_payload(payload)
    check_n_instances(len(payload.instances), "/instances", limits)
    adds = payload.explain or payload.versions is not None
    if formats.answer is not None and (adds or payload.job is not None):
        raise NotAcceptableError(f"explain, versions and job are answered in {JSON} only")

    return PredictRequest(
        reference,
        lambda inputs: read_rows(payload.instances, "/instances", inputs),
        _writer(formats.answer),
        is_slow=formats.is_slow or adds or payload.job is not None,
        add=partial(_add, payload, http, models, limits) if adds else None,
    )


def _in_payload(payload: PredictionRequest) -> ModelReference | JobReference:
    if payload.version is not None and payload.alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    if payload.job is None:
        if payload.model is None:
            refuse("/model", "Field required")
        return ModelReference(payload.model, payload.version, payload.alias)
    for name in ("model", "version", "alias", "versions"):
        if getattr(payload, name) is not None:
            refuse(f"/{name}", f"give a job or a {name}, not both")
    return JobReference(payload.job)


def _in_query(query: bytes) -> ModelReference:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        refuse("", f"the query cannot be read: {error}")
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in ("model", "version", "alias"):
            refuse(pointer_to([name[:128]]), "there is no such parameter")
        if name in given:
            refuse(f"/{name}", "is given twice")
        given[name] = value
    model, version, alias = (given.get(name) for name in ("model", "version", "alias"))
    if model is None or not _NAME.fullmatch(model):
        refuse("/model", "Field required" if model is None else _NAME_NEEDED)
    if version is not None and not _VERSION.fullmatch(version):
        refuse("/version", "must be a whole number of at least 1")
    if alias is not None and not _NAME.fullmatch(alias):
        refuse("/alias", _NAME_NEEDED)
    if version is not None and alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    return ModelReference(model, None if version is None else int(version), alias)


def _add(
    payload: PredictionRequest,
    http: HttpRequest,
    models: LoadedModels,
    limits: Limits,
    found: Found,
    given: Instances,
) -> Found:
    """Add an explanation, or the outputs of other versions."""
    members, is_stale = dict(found.members), found.is_stale
    if payload.explain:
        members |= explain_outputs(found.model, given.features, limits, http)
    if payload.versions is not None:
        name = found.model.trained.name
        by_version, is_one_stale = compare(name, payload.versions, payload.instances, models, limits, http.room)
        members, is_stale = members | by_version, is_stale or is_one_stale
    return found._replace(is_stale=is_stale, members=members)


def _writer(answer: Format | None) -> Callable[[Found, Instances, Rows], HttpAnswer]:
    return _write_json if answer is None else partial(_write_table, answer)


def _write_json(found: Found, _instances: Instances, outputs: Rows) -> HttpAnswer:
    members: dict[str, Any] = {"stale": True} if found.is_stale else {}
    task = found.model.trained.task
    is_same = task.is_list and task.classes is None
    written = in_slices(outputs)
    members["outputs"], members["predictions"] = written, written if is_same else found.model.predictions(outputs)
    if found.members:
        members |= found.members
        for of_version in members.get("by_version", {}).values():
            of_version["outputs"] = in_slices(of_version["outputs"])
    text = orjson.dumps(members, option=orjson.OPT_SERIALIZE_NUMPY)
    del members, written  # as large as the text
    return HttpAnswer(200, JSON_BYTES, b"".join((found.model.head, b",", memoryview(text)[1:])))


def _write_table(answer: Format, found: Found, _instances: Instances, outputs: Rows) -> HttpAnswer:
    model = found.model
    has_predictions = answer.has_predictions and not model.trained.task.is_list
    body = answer.write(as_matrix(outputs), model.predictions(outputs) if has_predictions else None)
    return with_version(found, answer.content_type, body)
