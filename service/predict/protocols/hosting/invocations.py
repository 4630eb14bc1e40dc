"""`/invocations` as SageMaker and MLflow call it: its reader and its writers."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson

from service.http.parsing import parse_object, refuse
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.formats.csv import CSV
from service.predict.formats.format import Format
from service.predict.formats.json_instances import from_columns, from_one, from_records, from_rows, from_split
from service.predict.formats.json_lines import JSON_LINES
from service.predict.formats.table import negotiate
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Rows, as_matrix
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.numbers_in_json import in_slices
from service.predict.predict import PredictRequest, with_version
from service.settings import Limits
from storage.models.versions import ModelReference

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
_TARGET_MODEL_BYTES = TARGET_MODEL.lower().encode()

_MEMBERS: dict[str, Callable[[Any, str, Inputs, Limits], Instances]] = {
    "dataframe_split": from_split,
    "dataframe_records": from_records,
    "instances": from_rows,
    "inputs": from_columns,
    "features": from_one,
}
"""The members of a JSON body that may hold the instances."""


def read_invocation(http: HttpRequest, models: LoadedModels, limits: Limits) -> PredictRequest[Instances]:
    """Read a request, whose body and answer may have any format.

    Raises:
        NotAcceptableError, UnsupportedMediaTypeError: no format fits the headers.
        InvalidRequestError: no model is named, or its reference is invalid.
    """
    formats = negotiate(http)
    reference = _reference(http, models.default)
    body = formats.body

    def instances(inputs: Inputs) -> Instances:
        if body is None:
            return _from_json(http.body, inputs, limits)
        return body.read(http.body, inputs, limits, formats.parameters)

    return PredictRequest(reference, instances, partial(_write, formats.answer), is_slow=formats.is_slow)


def _reference(http: HttpRequest, default: ModelReference | None) -> ModelReference:
    in_query = parse_qs(http.query.decode("latin-1"), keep_blank_values=True).get("model", [])
    in_header = http.headers.get(_TARGET_MODEL_BYTES, b"").decode("latin-1")
    for pointer, texts in (("/model", in_query), (f"/{TARGET_MODEL}", [in_header] if in_header else [])):
        if texts:
            try:
                return ModelReference.parse(texts[0])
            except ValueError as error:
                refuse(pointer, str(error))
    if default is None:
        refuse("/model", f"name a model: ?model=, the header {TARGET_MODEL}, or the setting DEFAULT_MODEL")
    return default


def _from_json(body: bytes, inputs: Inputs, limits: Limits) -> Instances:
    members = parse_object(body, limits)
    given = [name for name in _MEMBERS if name in members]
    if len(given) != 1:
        but = " and ".join(given) or "none of them"
        refuse(f"/{given[1]}" if given else "", f"give exactly one of {', '.join(_MEMBERS)}, not {but}")
    return _MEMBERS[given[0]](members[given[0]], f"/{given[0]}", inputs, limits)


def _write(answer: Format | None, found: Found, _instances: Instances, outputs: Rows) -> HttpAnswer:
    """Answer with y_hat alone, as both platforms expect it."""
    if answer is None:
        body = orjson.dumps({"predictions": in_slices(outputs)}, option=orjson.OPT_SERIALIZE_NUMPY)
        return with_version(found, JSON_BYTES, body)
    if answer is CSV:  # SageMaker has no line of names
        body = orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].replace(b"],[", b"\n") + b"\n"
    elif answer is JSON_LINES:
        body = b"".join(b'{"predictions":%b}\n' % orjson.dumps(row) for row in as_matrix(outputs).tolist())
    else:
        body = answer.write(as_matrix(outputs), None)
    return with_version(found, answer.content_type, body)
