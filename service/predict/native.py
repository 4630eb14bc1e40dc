"""Predict: from the bytes of a request to the bytes of its answer, errors among them. Knows no framework."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from perceptron import predictions
from service.http.errors import NotAcceptableError
from service.http.media_types import JSON, answer_type, body_type
from service.http.wire import JSON as JSON_BYTES
from service.http.wire import Header, HttpAnswer, HttpRequest
from service.predict.answering import (
    SMALL_TEXT_BYTES,
    STALE_HEADER,
    VERSION_HEADER,
    WouldWaitError,
    answered,
    find_model,
    forward,
)
from service.predict.comparison import compared, explained
from service.predict.formats.arrow import ARROW, write_arrow
from service.predict.formats.large_json import parse_large
from service.predict.formats.tables import CSV, NPY, write_csv, write_npy
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.model_reference import ModelReference
from service.predict.payloads import PredictionRequest
from service.predict.provisional import of_job
from service.predict.questions import Question, read_question
from service.settings import Limits

SMALL_BODY_BYTES = 32_768
"""Up to here a body takes well below a millisecond, so that the event loop may answer it by itself."""

_FORMS = (JSON, NPY, CSV, ARROW)

_PLAIN_CONTENT_TYPES = frozenset({b"", JSON_BYTES})
_PLAIN_ACCEPTS = frozenset({b"", b"*/*", JSON_BYTES})


class _PlainBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of most requests. Whatever it does not take goes to the strict way, which says what is wrong."""

    model: str
    instances: list[list[float]]
    version: int | None = None
    alias: str | None = None


_decode = msgspec.json.Decoder(_PlainBody).decode


def predict(request: HttpRequest, models: LoadedModels, limits: Limits, *, may_wait: bool = True) -> HttpAnswer | None:
    """Answer `POST /predict`, whatever the request is.

    Args:
        may_wait: whether Redis may be asked, and Arrow be read or written, when it must; without, the answer is None
            then.
    """

    def answer() -> HttpAnswer:
        plain = None
        if (
            request.content_type in _PLAIN_CONTENT_TYPES
            and request.accept in _PLAIN_ACCEPTS
            and not request.content_encoding
        ):
            if len(request.body) <= SMALL_BODY_BYTES:
                plain = _plain(request.body, models, limits, may_wait)
            else:
                plain = _plain_and_large(request.body, models, limits)
        return plain or _strict(request, models, limits, may_wait)

    return answered(request.request_id, answer)


def _plain(body: bytes, models: LoadedModels, limits: Limits, may_wait: bool) -> HttpAnswer | None:
    """Answer an everyday request of a few instances; None: the strict way is to say what is wrong, or special."""
    try:
        plain = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if plain.version is not None and plain.alias is not None:
        return None
    found = models.find(plain.model, version=plain.version, alias=plain.alias)
    if found is None:
        return None
    rows, (model, is_stale) = plain.instances, found
    if len(rows) == 1 and len(rows[0]) == model.n_features:
        members = model.answer_one(rows[0])
        if members is not None:
            return _in_json((model.stale_head if is_stale else model.head) + members + b"}", is_stale)
    if not rows or any(len(row) != model.n_features for row in rows):
        return None
    features = np.array(rows, dtype=np.float64)
    return _answer(found, forward(model, features, limits, pointer="/instances", may_wait=may_wait))


def _plain_and_large(body: bytes, models: LoadedModels, limits: Limits) -> HttpAnswer | None:
    """Answer an everyday request of many instances; else None, as `_plain`."""
    large = parse_large(body)
    if large is None or (large.version is not None and large.alias is not None):
        return None
    found = models.find(large.model, version=large.version, alias=large.alias)
    if found is None or large.features.shape[1] != found.model.n_features:
        return None
    if len(large.features) > limits.max_predict_instances:
        return None
    outputs = forward(found.model, large.features, limits, pointer="/instances", may_wait=True)
    return _answer(found, outputs)


def _strict(request: HttpRequest, models: LoadedModels, limits: Limits, may_wait: bool) -> HttpAnswer:
    """Answer any request.

    Raises:
        NotAcceptableError, UnsupportedMediaTypeError: it is in, or asks for, an unknown form.
        MalformedJsonError, InvalidRequestError, WrongDimensionError: the body is wrong.
        ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what it names does not exist.
        OutputNotFiniteError: an output is larger than a 64-bit float can hold.
    """
    form = answer_type(request, _FORMS)
    forms = (form, body_type(request))
    if not may_wait and (ARROW in forms or (CSV in forms and len(request.body) > SMALL_TEXT_BYTES)):
        raise WouldWaitError  # Arrow may have to load pyarrow
    question = read_question(request, limits)
    payload = question.payload
    if payload is not None and (payload.explain or payload.versions is not None or payload.job is not None):
        if not may_wait:
            raise WouldWaitError
        if form != JSON:
            raise NotAcceptableError(f"explain, versions and job are answered in {JSON} only")
        return _more(payload, question, models, limits)
    assert question.model is not None, "only a job can stand for it"
    found = find_model(models, ModelReference(question.model, question.version, question.alias), may_wait=may_wait)
    features = question.features(found.model.trained.feature_names)
    if form == JSON and len(features) == 1 and (members := found.model.answer_one(features[0].tolist())) is not None:
        head = found.model.stale_head if found.is_stale else found.model.head
        return _in_json(head + members + b"}", found.is_stale)
    outputs = forward(found.model, features, limits, pointer=question.pointer, may_wait=may_wait)
    return _answer(found, outputs) if form == JSON else _in_table(form, found, outputs)


def _more(payload: PredictionRequest, question: Question, models: LoadedModels, limits: Limits) -> HttpAnswer:
    """Answer for a job, with an explanation, with a comparison."""
    more: dict[str, Any] = {}
    if payload.job is not None:
        found, more = of_job(payload.job, models)
    else:
        assert payload.model is not None, "only a job can stand for it"
        found = models.get(payload.model, version=payload.version, alias=payload.alias)
    features, is_stale = question.features(found.model.trained.feature_names), found.is_stale
    if payload.explain:
        more |= explained(found.model, features, limits)
    if payload.versions is not None and payload.model is not None:
        comparison, is_one_stale = compared(payload.model, payload.versions, payload.instances, models, limits)
        more |= comparison
        is_stale |= is_one_stale
    outputs = forward(found.model, features, limits, pointer="/instances", may_wait=True)
    return _answer(Found(found.model, is_stale), outputs, more)


def _answer(found: Found, outputs: NDArray[np.float64], more: Mapping[str, Any] = MappingProxyType({})) -> HttpAnswer:
    model = found.model
    stale = {"stale": True} if found.is_stale else {}
    members = {**stale, "outputs": outputs, "predictions": predictions(model.trained.task, outputs), **more}
    text = model.head + b"," + orjson.dumps(members, option=orjson.OPT_SERIALIZE_NUMPY)[1:]
    return _in_json(text, found.is_stale)


def _in_json(text: bytes, is_stale: bool) -> HttpAnswer:
    return HttpAnswer(200, JSON_BYTES, text, (STALE_HEADER,) if is_stale else ())


def _in_table(form: str, found: Found, outputs: NDArray[np.float64]) -> HttpAnswer:
    """Answer in a form that has no place for the version: a header names it."""
    trained = found.model.trained
    headers: tuple[Header, ...] = ((VERSION_HEADER, b"%d" % trained.version),)
    if found.is_stale:
        headers += (STALE_HEADER,)
    if form == NPY:
        return HttpAnswer(200, NPY.encode(), write_npy(outputs), headers)
    values = None if trained.task.is_list else predictions(trained.task, outputs)
    if form == ARROW:
        return HttpAnswer(200, ARROW.encode(), write_arrow(outputs, values), headers)
    return HttpAnswer(200, CSV.encode() + b"; charset=utf-8", write_csv(outputs, values), headers)
