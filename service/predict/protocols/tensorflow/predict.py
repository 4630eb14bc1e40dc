"""The predict API of TensorFlow Serving, which KServe v1 and Vertex AI also speak: its reader and its writer."""

from collections.abc import Mapping
from functools import partial

import orjson

from service.http.errors import UnsupportedMediaTypeError
from service.http.media_types import JSON, answer_type, body_type
from service.http.names import version_number
from service.http.parsing import parse_object, refuse
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import HttpAnswer, HttpRequest
from service.predict.formats.json_instances import from_columns, from_rows
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Rows
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.numbers_in_json import in_slices
from service.predict.predict import PredictRequest, with_version
from service.settings import Limits
from storage.models.versions import ModelReference

_CURLS_DEFAULT = "application/x-www-form-urlencoded"
"""The Content-Type of `curl -d`, which the examples in TensorFlow Serving's documentation send."""

_COLUMNS = "/inputs"


def read_tensorflow(http: HttpRequest, _models: LoadedModels, limits: Limits) -> PredictRequest[Instances]:
    """Read `POST .../{model}:predict`.

    Raises:
        NotAcceptableError, UnsupportedMediaTypeError: body or answer cannot be JSON.
        VersionNotFoundError: no version has such a number.
    """
    answer_type(http.accept, [JSON])
    if (given := body_type(http)[0]) not in (JSON, _CURLS_DEFAULT):
        raise UnsupportedMediaTypeError(f"the body must be {JSON}, not {given}")
    return PredictRequest(_reference(http.path_values), partial(_instances, http.body, limits), _write)


def _reference(path_values: Mapping[str, str]) -> ModelReference:
    name, version = path_values["name"], path_values.get("version")
    return ModelReference(name, version_number(name, version) if version else None, path_values.get("alias"))


def _instances(body: bytes, limits: Limits, inputs: Inputs) -> Instances:
    members = parse_object(body, limits)
    if "inputs" in members:
        if "instances" in members:
            refuse(_COLUMNS, "give instances (rows) or inputs (columns), not both")
        return from_columns(members["inputs"], _COLUMNS, inputs, limits)
    if "instances" not in members:
        refuse("/instances", "Field required")
    return from_rows(members["instances"], "/instances", inputs, limits)


def _write(found: Found, instances: Instances, outputs: Rows) -> HttpAnswer:
    """Answer `instances` with `predictions`, and `inputs` with `outputs`."""
    member = "outputs" if instances.pointer.startswith(_COLUMNS) else "predictions"
    return with_version(
        found, JSON_BYTES, orjson.dumps({member: in_slices(outputs)}, option=orjson.OPT_SERIALIZE_NUMPY)
    )
