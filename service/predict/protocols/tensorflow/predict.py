"""The predict API of TensorFlow Serving, which KServe v1 and Vertex AI speak, too. Knows no framework."""

from collections.abc import Mapping

import orjson

from service.http.errors import UnsupportedMediaTypeError
from service.http.media_types import JSON, answer_type, body_type
from service.http.parsing import parse_object, refuse
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.answering import answered, find_model, outputs_of, success
from service.predict.formats.json_instances import from_columns, from_rows
from service.predict.memory.loaded_models import LoadedModels
from service.predict.model_reference import ModelReference
from service.settings import Limits

_CURLS_DEFAULT = "application/x-www-form-urlencoded"
"""What `curl -d` says of a body, as the examples in TensorFlow Serving's documentation do, where nobody looks at it."""


def predict_tensorflow(
    request: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True
) -> HttpAnswer | None:
    """Answer `POST .../{model}:predict`: `instances` with `predictions`, or `inputs` with `outputs`.

    Args:
        may_wait: whether Redis may be asked when it must; without, the answer is None then.
    """

    def answer() -> HttpAnswer:
        answer_type(request, [JSON])
        if (given := body_type(request)) not in (JSON, _CURLS_DEFAULT):
            raise UnsupportedMediaTypeError(f"the body must be {JSON}, not {given}")
        found = find_model(models, _meant(request.path_values), may_wait=may_wait)
        body = parse_object(request.body, limits)
        names = found.model.trained.feature_names
        if "inputs" in body:
            if "instances" in body:
                refuse("/inputs", "give instances (rows) or inputs (columns), not both")
            member, instances = "outputs", from_columns(body["inputs"], "/inputs", names, limits)
        else:
            if "instances" not in body:
                refuse("/instances", "this member is missing")
            member, instances = "predictions", from_rows(body["instances"], "/instances", names, limits)
        outputs = outputs_of(found, instances, limits, may_wait=may_wait)
        return success(found, JSON_BYTES, orjson.dumps({member: outputs}, option=orjson.OPT_SERIALIZE_NUMPY))

    return answered(request.request_id, answer)


def _meant(path_values: Mapping[str, str]) -> ModelReference:
    version = path_values.get("version")
    return ModelReference(path_values["name"], int(version) if version else None, path_values.get("alias"))
