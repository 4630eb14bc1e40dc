"""Predict: from the bytes of a request to the bytes of its answer, errors among them. Knows no framework."""

from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from perceptron import predictions
from service.comparison import compared, explained
from service.errors import UnsupportedMediaTypeError, answer_to
from service.large_body import parse_large
from service.loaded_models import Found, LoadedModels
from service.media_types import JSON, answer_type, body_type
from service.parsing import parse_matrix, parse_payload, refuse
from service.payloads import PredictionRequest
from service.settings import Limits
from service.wire import JSON as JSON_BYTES
from service.wire import Header, HttpAnswer, HttpRequest

SMALL_BODY_BYTES = 32_768
"""Up to here a body takes well below a millisecond, so that the event loop may answer it by itself."""

STALE_HEADER: Header = (b"x-model-stale", b"true")

_PLAIN_CONTENT_TYPES = frozenset({b"", JSON_BYTES})
_PLAIN_ACCEPTS = frozenset({b"", b"*/*", JSON_BYTES})


class _WouldWaitError(Exception):
    """Redis must be asked, and the caller must not wait."""


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
        may_wait: whether Redis may be asked when it must; without, the answer is None then.
    """
    started = perf_counter()
    try:
        if not (
            request.content_type in _PLAIN_CONTENT_TYPES
            and request.accept in _PLAIN_ACCEPTS
            and not request.content_encoding
        ):
            _check_headers(request)
        if len(request.body) <= SMALL_BODY_BYTES:
            plain = _plain(request.body, models)
        else:
            plain = _plain_and_large(request.body, models, limits)
        body, is_stale = plain or _strict(request.body, models, limits, may_wait)
        status, media_type = 200, JSON_BYTES
        headers: tuple[Header, ...] = (STALE_HEADER,) if is_stale else ()
    except _WouldWaitError:
        return None
    except Exception as error:
        status, media_type, body, headers = answer_to(error, request_id=request.request_id)
    timing = (b"server-timing", b"predict;dur=%.3f" % (1e3 * (perf_counter() - started)))
    return HttpAnswer(status, media_type, body, (*headers, timing))


def _check_headers(request: HttpRequest) -> None:
    answer_type(request, [JSON])
    if (given := body_type(request)) != JSON:
        raise UnsupportedMediaTypeError(f"the body must be {JSON}, not {given}")


def _plain(body: bytes, models: LoadedModels) -> tuple[bytes, bool] | None:
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
            return (model.stale_head if is_stale else model.head) + members + b"}", is_stale
    if not rows or any(len(row) != model.n_features for row in rows):
        return None
    return _answer(found, np.array(rows, dtype=np.float64)), is_stale


def _plain_and_large(body: bytes, models: LoadedModels, limits: Limits) -> tuple[bytes, bool] | None:
    """Answer an everyday request of many instances; else None, as `_plain`."""
    large = parse_large(body)
    if large is None or (large.version is not None and large.alias is not None):
        return None
    found = models.find(large.model, version=large.version, alias=large.alias)
    if found is None or large.features.shape[1] != found.model.n_features:
        return None
    if len(large.features) > limits.max_predict_instances:
        return None
    return _answer(found, large.features), found.is_stale


def _strict(body: bytes, models: LoadedModels, limits: Limits, may_wait: bool) -> tuple[bytes, bool]:
    """Answer any request.

    Raises:
        MalformedJsonError, InvalidRequestError, WrongDimensionError: the body is wrong.
        ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: what it names does not exist.
        OutputNotFiniteError: an output is larger than a 64-bit float can hold.
    """
    request = parse_payload(PredictionRequest, body, limits)
    if request.version is not None and request.alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    n_instances = len(request.instances)
    if not 1 <= n_instances <= limits.max_predict_instances:
        detail = f"must hold 1 to {limits.max_predict_instances} instances (MAX_PREDICT_INSTANCES), not {n_instances}"
        refuse("/instances", detail)
    if not may_wait and (request.explain or request.versions is not None):
        raise _WouldWaitError
    look = models.get if may_wait else models.find
    found = look(request.model, version=request.version, alias=request.alias)
    if found is None:
        raise _WouldWaitError
    names = found.model.trained.feature_names
    features = parse_matrix(request.instances, "/instances", n_columns=len(names), names=names)
    # Here will be "job": the network of a training that goes on, instead of a version.
    if request.explain or request.versions is not None:
        return _more(request, found, features, models, limits)
    if n_instances == 1 and (members := found.model.answer_one(features[0].tolist())) is not None:
        return (found.model.stale_head if found.is_stale else found.model.head) + members + b"}", found.is_stale
    return _answer(found, features), found.is_stale


def _more(
    request: PredictionRequest, found: Found, features: NDArray[np.float64], models: LoadedModels, limits: Limits
) -> tuple[bytes, bool]:
    """Answer with an explanation, with a comparison, or with both."""
    more, is_stale = {}, found.is_stale
    if request.explain:
        more = explained(found.model, features, limits)
    if request.versions is not None:
        comparison, is_one_stale = compared(request.model, request.versions, request.instances, models)
        more |= comparison
        is_stale |= is_one_stale
    return _answer(Found(found.model, is_stale), features, more), is_stale


def _answer(found: Found, features: NDArray[np.float64], more: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    model = found.model
    outputs = model.outputs(features)
    stale = {"stale": True} if found.is_stale else {}
    members = {**stale, "outputs": outputs, "predictions": predictions(model.trained.task, outputs), **more}
    return model.head + b"," + orjson.dumps(members, option=orjson.OPT_SERIALIZE_NUMPY)[1:]
