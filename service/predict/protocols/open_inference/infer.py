"""Infer of the Open Inference Protocol v2 with its binary tensor extension: from a request to its answer."""

import re
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from perceptron import OutputNotFiniteError
from service.http.content_coding import deflate, inflate
from service.http.errors import BadRequestError, Fault, OutputTooLargeError, WrongDimensionError, answer_to
from service.http.media_types import JSON, answer_type
from service.http.parsing import parse_object, refuse
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import Header, HttpAnswer, HttpRequest
from service.predict.answering import STALE_HEADER, WouldWaitError, forward
from service.predict.formats.tensors import INPUT_TYPES, Tensor, from_bytes, from_json, prediction
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from service.settings import Limits

INPUT, OUTPUT, PREDICTION = "input", "output", "prediction"
OCTETS = "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"

_HEADER_LENGTH = HEADER_LENGTH.lower().encode()
_PLAIN_ACCEPTS = frozenset({b"", b"*/*"})
_PLACE = re.compile(r" - at `\$(.*)`$")


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    """What is not named here is ignored, as the protocol has it."""

    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


@dataclass(frozen=True)
class _Question:
    """A request that was understood."""

    features: NDArray[np.float64]
    is_single_precision: bool
    outputs: list[tuple[str, bool]]
    """The names of those asked for, and whether in binary."""
    id: str | None


def infer(request: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True) -> HttpAnswer | None:
    """Answer `POST /v2/models/{name}[/versions/{version}]/infer`, whatever the request is.

    Args:
        may_wait: whether Redis may be asked, a body be inflated and much be computed; without, the answer is None when
            it must.
    """
    started_ns = perf_counter_ns()
    found = None
    try:
        if request.content_encoding and not may_wait:
            return None  # a few bytes may become very many
        version = request.path_values.get("version")
        look = models.get if may_wait else models.find
        found = look(request.path_values["name"], version=None if version is None else int(version))
        if found is None:
            return None
        question = _read(request, found.model, limits)
        parsed_ns = perf_counter_ns()
        outputs = _outputs(found.model, question.features, limits, may_wait=may_wait)
        computed_ns = perf_counter_ns()
        answer = _write(question, found, outputs, request)
        times_ns = (started_ns, parsed_ns, computed_ns, perf_counter_ns())
        trained = found.model.trained
        models.statistics.succeeded(trained.name, trained.version, n_instances=len(outputs), times_ns=times_ns)
    except WouldWaitError:
        return None
    except Exception as error:
        answer = answer_to(error, request_id=request.request_id)
        if found is not None:
            trained = found.model.trained
            models.statistics.failed(trained.name, trained.version, ns=perf_counter_ns() - started_ns)
    timing = (b"server-timing", b"predict;dur=%.3f" % (1e-6 * (perf_counter_ns() - started_ns)))
    return answer._replace(headers=(*answer.headers, timing))


def _read(request: HttpRequest, model: LoadedModel, limits: Limits) -> _Question:
    """Understand a request.

    Raises:
        NotAcceptableError, UnsupportedMediaTypeError, BodyTooLargeError: its headers or its length are wrong.
        MalformedJsonError, BadRequestError, InvalidRequestError, WrongDimensionError: its body is.
    """
    if request.accept not in _PLAIN_ACCEPTS:
        answer_type(request, [JSON, OCTETS])
    body = inflate(request.body, request.content_encoding, limits) if request.content_encoding else request.body
    header, buffers = _split(body, request.headers.get(_HEADER_LENGTH))
    asked = _parse(header, limits)
    if len(asked.inputs) != 1 or asked.inputs[0].name != INPUT:
        names = ", ".join(repr(given.name[:128]) for given in asked.inputs[:3]) or "none"
        refuse("/inputs", f"the model has one input, {INPUT!r}, and got {names}")
    (given,) = asked.inputs
    is_binary = bool(_flag(asked.parameters, "binary_data_output", "/parameters"))
    return _Question(
        features=_features(given, buffers, model, limits),
        is_single_precision=given.datatype == "FP32",
        outputs=_asked_for(asked.outputs, is_binary=is_binary),
        id=asked.id,
    )


def _split(body: bytes, length: bytes | None) -> tuple[bytes, memoryview]:
    """Cut a body into its JSON and what follows."""
    if length is None:
        return body, memoryview(b"")
    # More digits than a length can have would take long to become a number.
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
        refuse(pointer, text[: place.start()] if place else text)


def _features(given: _Input, buffers: memoryview, model: LoadedModel, limits: Limits) -> NDArray[np.float64]:
    pointer, n_features = "/inputs/0", model.n_features
    if given.datatype not in INPUT_TYPES:
        expected = f"FP64 or FP32, or one of {', '.join(list(INPUT_TYPES)[2:])}"
        refuse(f"{pointer}/datatype", f"input {INPUT!r}: expected {expected}, got {given.datatype[:32]!r}")
    if len(given.shape) != 2 or given.shape[1] != n_features:
        fault = Fault(f"{pointer}/shape", f"input {INPUT!r}: expected [-1, {n_features}], got {_shown(given.shape)}")
        raise WrongDimensionError([fault])
    n_instances = given.shape[0]
    if not 1 <= n_instances <= limits.max_predict_instances:
        bounds = f"1 to {limits.max_predict_instances} instances (MAX_PREDICT_INSTANCES)"
        refuse(f"{pointer}/shape/0", f"input {INPUT!r}: expected {bounds}, got {_shown(given.shape)}")
    shape, parameters = (n_instances, n_features), given.parameters or {}
    size = parameters.get("binary_data_size")
    if size is None:
        if "shared_memory_region" in parameters:
            raise BadRequestError("shared memory is not supported")
        if given.data is msgspec.UNSET:
            refuse(pointer, f"input {INPUT!r} has neither data nor a binary_data_size")
        if len(buffers):
            refuse(f"/{HEADER_LENGTH}", f"{len(buffers)} bytes follow the JSON that belong to no input")
        return from_json(given.data, given.datatype, shape, f"{pointer}/data")
    size_pointer = f"{pointer}/parameters/binary_data_size"
    if given.data is not msgspec.UNSET:
        refuse(size_pointer, "give the values as data or in binary, not both")
    if type(size) is not int or size != len(buffers):
        detail = f"must be the number of bytes after the JSON, which are {len(buffers)} (see {HEADER_LENGTH})"
        refuse(size_pointer, detail)
    return from_bytes(buffers, given.datatype, shape, pointer)


def _shown(shape: list[int]) -> str:
    """Write a shape for an error, cut short if it is long."""
    sizes = [str(size) if -(10**18) < size < 10**18 else "..." for size in shape[:8]]
    return f"[{', '.join(sizes)}{', ...' if len(shape) > 8 else ''}]"


def _asked_for(outputs: list[_Output] | None, *, is_binary: bool) -> list[tuple[str, bool]]:
    if not outputs:
        return [(OUTPUT, is_binary), (PREDICTION, is_binary)]
    asked: dict[str, bool] = {}
    for index, output in enumerate(outputs):
        if output.name not in (OUTPUT, PREDICTION):
            raise BadRequestError(f"expected an output {OUTPUT!r} or {PREDICTION!r}, got {output.name[:128]!r}")
        if output.name in asked:
            raise BadRequestError(f"the output {output.name!r} is asked for twice")
        own = _flag(output.parameters, "binary_data", f"/outputs/{index}/parameters")
        asked[output.name] = is_binary if own is None else own
    return list(asked.items())


def _flag(parameters: dict[str, Any] | None, name: str, pointer: str) -> bool | None:
    value = (parameters or {}).get(name)
    if value is not None and type(value) is not bool:
        refuse(f"{pointer}/{name}", "must be true or false")
    return value


def _outputs(
    model: LoadedModel, features: NDArray[np.float64], limits: Limits, *, may_wait: bool
) -> NDArray[np.float64]:
    try:
        return forward(model, features, limits, pointer="/inputs/0/shape/0", may_wait=may_wait)
    except OutputNotFiniteError as error:
        raise OutputTooLargeError([Fault("/inputs/0", str(error))]) from error


def _write(question: _Question, found: Found, outputs: NDArray[np.float64], request: HttpRequest) -> HttpAnswer:
    trained = found.model.trained
    described, buffers = [], []
    for name, is_binary in question.outputs:
        if name == PREDICTION:
            tensor = prediction(trained.task, outputs)
        else:
            tensor = _single(outputs) if question.is_single_precision else Tensor("FP64", outputs)
        entry: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.values.shape}
        if is_binary:
            buffers.append(tensor.in_binary())
            entry["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            entry["data"] = tensor.in_json()
        described.append(entry)
    id_given = {} if question.id is None else {"id": question.id}
    members = {"model_name": trained.name, "model_version": str(trained.version), **id_given, "outputs": described}
    body, media_type = orjson.dumps(members, option=orjson.OPT_SERIALIZE_NUMPY), JSON_BYTES
    headers: tuple[Header, ...] = (STALE_HEADER,) if found.is_stale else ()
    if buffers:
        headers += ((_HEADER_LENGTH, b"%d" % len(body)),)
        body, media_type = b"".join([body, *buffers]), OCTETS.encode()
    body, coding = deflate(body, request.headers.get(b"accept-encoding", b""))
    return HttpAnswer(200, media_type, body, headers + coding)


def _single(outputs: NDArray[np.float64]) -> Tensor:
    """Round to 32 bits, once, at the very end."""
    with np.errstate(over="ignore"):
        rounded = outputs.astype(np.float32)
    is_finite = np.isfinite(rounded).all(axis=1)
    if not is_finite.all():
        detail = f"the output for instance {int(is_finite.argmin())} is larger than a 32-bit float can hold"
        raise OutputTooLargeError([Fault("/inputs/0", detail)])
    return Tensor("FP32", rounded)
