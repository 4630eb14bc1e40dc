"""`/invocations`, as SageMaker and MLflow call it: many kinds of bodies and answers. Knows no framework."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import orjson
from numpy.typing import NDArray
from werkzeug.http import parse_options_header

from service.http.errors import UnsupportedMediaTypeError
from service.http.media_types import JSON, answer_type, body_type
from service.http.parsing import parse_object, refuse
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.answering import SMALL_TEXT_BYTES, WouldWaitError, answered, find_model, outputs_of, success
from service.predict.formats.json_instances import (
    Instances,
    from_columns,
    from_one,
    from_records,
    from_rows,
    from_split,
)
from service.predict.formats.json_lines import read_json_lines, write_json_lines
from service.predict.formats.tables import CSV, NPY, in_order, read_csv, read_npy, write_npy
from service.predict.memory.loaded_models import LoadedModels
from service.predict.model_reference import ModelReference
from service.settings import Limits

JSON_LINES = "application/jsonlines"
MEDIA_TYPES = (JSON, CSV, JSON_LINES, NPY)
"""Of bodies and of answers; the first one for whoever does not say."""

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"
_TARGET_MODEL_BYTES = TARGET_MODEL.lower().encode()

_FORMS: dict[str, Callable[[Any, str, Sequence[str], Limits], Instances]] = {
    "dataframe_split": from_split,
    "dataframe_records": from_records,
    "instances": from_rows,
    "inputs": from_columns,
    "features": from_one,
}
_HEADER_OF_CSV = {"": None, "present": True, "absent": False}


def invoke(request: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True) -> HttpAnswer | None:
    """Answer `POST /invocations`.

    Args:
        may_wait: whether Redis may be asked when it must; without, the answer is None then.
    """

    def answer() -> HttpAnswer:
        media_type = answer_type(request, MEDIA_TYPES)
        given = body_type(request)
        if given not in MEDIA_TYPES:
            raise UnsupportedMediaTypeError(f"the body must be {' or '.join(MEDIA_TYPES)}, not {given}")
        found = find_model(models, _meant(request, models.default), may_wait=may_wait)
        if not may_wait and {given, media_type} & {CSV, JSON_LINES} and len(request.body) > SMALL_TEXT_BYTES:
            raise WouldWaitError
        instances = _instances(request, given, found.model.trained.feature_names, limits)
        outputs = outputs_of(found, instances, limits, may_wait=may_wait)
        as_sent = "text/csv; charset=utf-8" if media_type == CSV else media_type
        return success(found, as_sent.encode(), _written(outputs, media_type))

    return answered(request.request_id, answer)


def _meant(request: HttpRequest, default_model: ModelReference | None) -> ModelReference:
    in_query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True).get("model", [])
    for place, texts in (
        ("model", in_query),
        (TARGET_MODEL, [request.headers.get(_TARGET_MODEL_BYTES, b"").decode("latin-1")]),
    ):
        if texts and (texts[0] or place == "model"):
            try:
                return ModelReference.parse(texts[0])
            except ValueError as error:
                refuse(f"/{place}", str(error))
    if default_model is None:
        refuse("/model", f"name a model: ?model=, the header {TARGET_MODEL}, or the setting DEFAULT_MODEL")
    return default_model


def _instances(request: HttpRequest, media_type: str, names: tuple[str, ...], limits: Limits) -> Instances:
    if media_type == JSON:
        return _from_json(request.body, names, limits)
    if media_type == JSON_LINES:
        return from_rows(read_json_lines(request.body, limits), "", names, limits)
    if media_type == NPY:
        return Instances(in_order(read_npy(request.body, limits), None, names), "")
    options = parse_options_header(request.content_type.decode("latin-1"))[1]
    charset, header = options.get("charset", "utf-8").lower(), options.get("header", "").lower()
    if charset not in ("utf-8", "us-ascii") or header not in _HEADER_OF_CSV:
        raise UnsupportedMediaTypeError("text/csv must be in utf-8, its header be present or absent")
    matrix, columns = read_csv(request.body, limits, has_names=_HEADER_OF_CSV[header])
    return Instances(in_order(matrix, columns, names), "")


def _from_json(body: bytes, names: tuple[str, ...], limits: Limits) -> Instances:
    members = parse_object(body, limits)
    given = [form for form in _FORMS if form in members]
    if len(given) != 1:
        but = " and ".join(given) or "none of them"
        refuse(f"/{given[1]}" if given else "", f"give exactly one of {', '.join(_FORMS)}, not {but}")
    return _FORMS[given[0]](members[given[0]], f"/{given[0]}", names, limits)


def _written(outputs: NDArray[np.float64], media_type: str) -> bytes:
    if media_type == CSV:  # without a header, as SageMaker has it
        return orjson.dumps(outputs, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].replace(b"],[", b"\n") + b"\n"
    if media_type == JSON_LINES:
        return write_json_lines(outputs)
    if media_type == NPY:
        return write_npy(outputs)
    return orjson.dumps({"predictions": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
