"""Infer of the Open Inference Protocol v2 with its binary tensor extension: its reader and its writer."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
import orjson

from service.http.content_coding import deflate
from service.http.errors import BadRequestError, Fault, OutputTooLargeError
from service.http.media_types import JSON, answer_type
from service.http.names import version_number
from service.http.parsing import parse_object, refuse
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import Header, HttpAnswer, HttpRequest
from service.predict.formats.tensors import Tensor, prediction
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix, Rows, as_matrix
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.predict import PredictRequest
from service.predict.protocols.open_inference.read_inputs import HEADER_LENGTH, Input, read_inputs
from service.settings import Limits
from storage.models.versions import ModelReference
from storage.tenants import local

OUTPUT, PREDICTION = "output", "prediction"
OCTETS = "application/octet-stream"

_HEADER_LENGTH = HEADER_LENGTH.lower().encode()
_PLAIN_ACCEPTS = frozenset({b"", b"*/*"})
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_PLACE = re.compile(r" - at `\$(.*)`$")


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    """The protocol ignores members with other names."""

    inputs: list[Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


@dataclass(slots=True)
class InferInstances(Instances):
    """The instances, and what the answer must look like."""

    is_single_precision: bool = False
    outputs: tuple[tuple[str, bool], ...] = ()
    """The names of the requested outputs, and whether each is to be binary."""
    id: str | None = None

    @property
    def pointer_to_size(self) -> str:
        """Return the JSON pointer to the first number of the first shape."""
        return "/inputs/0/shape/0"


def read_infer(http: HttpRequest, _models: LoadedModels, limits: Limits) -> PredictRequest[InferInstances]:
    """Read `POST /v2/models/{name}[/versions/{version}]/infer`.

    Raises:
        VersionNotFoundError: no version has such a number.
    """
    name, version = http.path_values["name"], http.path_values.get("version")
    return PredictRequest(
        ModelReference(name, None if version is None else version_number(name, version)),
        partial(_instances, http, limits),
        partial(_write, http.headers.get(b"accept-encoding", b"")),
        is_counted=True,
    )


def _instances(http: HttpRequest, limits: Limits, inputs: Inputs) -> InferInstances:
    """Read the body. The model is known by now, so that its statistics count an error as a failure.

    Raises:
        NotAcceptableError: the answer has another media type than the client accepts.
        MalformedJsonError, BadRequestError, InvalidRequestError, WrongDimensionError: the body is invalid.
    """
    if http.accept not in _PLAIN_ACCEPTS:
        answer_type(http.accept, [JSON, OCTETS])
    header, buffers = _split(http.body, http.headers.get(_HEADER_LENGTH))
    request = _parse(header, limits)
    is_binary = bool(_flag(request.parameters, "binary_data_output", "/parameters"))
    given = read_inputs(request.inputs, buffers, inputs, limits)
    datatypes = {tensor.datatype for tensor in request.inputs}
    return InferInstances(
        given.features,
        given.pointer,
        is_by_row=False,
        warnings=given.warnings,
        is_single_precision="FP32" in datatypes and "FP64" not in datatypes,
        outputs=_requested_outputs(request.outputs, is_binary=is_binary),
        id=request.id,
    )


def _split(body: bytes, length: bytes | None) -> tuple[bytes, memoryview]:
    """Split a body into its JSON and the values after it."""
    if length is None:
        return body, memoryview(b"")
    # Converting more digits than a length can have would take long.
    if not (length.isdigit() and len(length) <= 18 and int(length) <= len(body)):
        shown = length[:32].decode("latin-1")
        refuse(f"/{HEADER_LENGTH}", f"must be a number of bytes, at most the {len(body)} of the body, not {shown!r}")
    return body[: int(length)], memoryview(body)[int(length) :]


def _parse(header: bytes, limits: Limits) -> _Request:
    try:
        return msgspec.convert(parse_object(header, limits), _Request)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        pointer = "" if place is None else place[1].replace("[", "/").replace("]", "").replace(".", "/")
        if missing := _MISSING.match(text):
            refuse(f"{pointer}/{missing[1]}", "Field required")
        refuse(pointer, text[: place.start()] if place else text)


def _requested_outputs(outputs: list[_Output] | None, *, is_binary: bool) -> tuple[tuple[str, bool], ...]:
    if not outputs:
        return (OUTPUT, is_binary), (PREDICTION, is_binary)
    requested: dict[str, bool] = {}
    for index, output in enumerate(outputs):
        if output.name not in (OUTPUT, PREDICTION):
            raise BadRequestError(f"expected an output {OUTPUT!r} or {PREDICTION!r}, got {output.name[:128]!r}")
        if output.name in requested:
            raise BadRequestError(f"the output {output.name!r} is requested twice")
        own = _flag(output.parameters, "binary_data", f"/outputs/{index}/parameters")
        requested[output.name] = is_binary if own is None else own
    return tuple(requested.items())


def _flag(parameters: dict[str, Any] | None, name: str, pointer: str) -> bool | None:
    value = (parameters or {}).get(name)
    if value is not None and type(value) is not bool:
        refuse(f"{pointer}/{name}", "must be true or false")
    return value


def _write(accept_encoding: bytes, found: Found, instances: InferInstances, outputs: Rows) -> HttpAnswer:
    trained, matrix = found.model.trained, as_matrix(outputs)
    described, buffers = [], []
    for name, is_binary in instances.outputs:
        if name == PREDICTION:
            tensor = prediction(trained.task, matrix)
        else:
            tensor = _single(matrix) if instances.is_single_precision else Tensor("FP64", matrix)
        entry: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.values.shape}
        if is_binary:
            buffers.append(tensor.in_binary())
            entry["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            entry["data"] = tensor.in_json()
        described.append(entry)
    members = {"model_name": local(trained.name), "model_version": str(trained.version)}
    if instances.id is not None:
        members["id"] = instances.id
    body, media_type = orjson.dumps(members | {"outputs": described}, option=orjson.OPT_SERIALIZE_NUMPY), JSON_BYTES
    headers: tuple[Header, ...] = ()
    if buffers:
        headers = ((_HEADER_LENGTH, b"%d" % len(body)),)
        body, media_type = b"".join([body, *buffers]), OCTETS.encode()
    body, coding = deflate(body, accept_encoding)
    return HttpAnswer(200, media_type, body, headers + coding)


def _single(outputs: Matrix) -> Tensor:
    """Round to 32 bits, once, at the very end."""
    with np.errstate(over="ignore"):
        rounded = outputs.astype(np.float32)
    is_finite = np.isfinite(rounded).all(axis=1)
    if not is_finite.all():
        detail = f"the output for instance {int(is_finite.argmin())} is larger than a 32-bit float can hold"
        raise OutputTooLargeError([Fault("/inputs/0", detail)])
    return Tensor("FP32", rounded)
