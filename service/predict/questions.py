"""What a request asks for, whatever form its body has: which version, and which instances."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from service.http.errors import UnsupportedMediaTypeError
from service.http.media_types import JSON, body_type
from service.http.names import NAME_PATTERN
from service.http.parsing import check_n_instances, parse_matrix, parse_payload, refuse
from service.http.wire import HttpRequest
from service.predict.formats.arrow import ARROW, read_arrow
from service.predict.formats.tables import CSV, NPY, in_order, read_csv, read_npy
from service.predict.payloads import PredictionRequest
from service.settings import Limits

_NAME = re.compile(NAME_PATTERN.replace("$", r"\Z"))
_VERSION = re.compile(r"[1-9][0-9]{0,15}")
_NAME_OF_MODEL = "must be a name: letters, digits, '.', '_' and '-', at most 128"


@dataclass(frozen=True)
class Question:
    """A version, and instances to run through it."""

    model: str | None
    """None when the network of a job is meant."""
    version: int | None
    alias: str | None
    features: Callable[[Sequence[str]], NDArray[np.float64]]
    """Gives (n_instances, n_features) in the order of the feature names that the model has."""
    pointer: str
    """Where the instances stand in the body."""
    payload: PredictionRequest | None = None
    """The request in JSON, which may ask for more."""


def read_question(request: HttpRequest, limits: Limits) -> Question:
    """Read what a request asks for. Only JSON says in its body which model it means; for tables the query does.

    Raises:
        UnsupportedMediaTypeError: the body is none of JSON, npy, CSV and Arrow.
        MalformedJsonError, InvalidRequestError: it is wrong.
    """
    features: Callable[[Sequence[str]], NDArray[np.float64]]
    match body_type(request):
        case "application/json":
            return _of_json(request.body, limits)
        case "application/x-npy":
            features = partial(in_order, read_npy(request.body, limits), None)
        case "text/csv":
            features = partial(in_order, *read_csv(request.body, limits))
        case "application/vnd.apache.arrow.stream":
            features = read_arrow(request.body, limits).in_order
        case other:
            raise UnsupportedMediaTypeError(f"the body must be {JSON}, {NPY}, {CSV} or {ARROW}, not {other}")
    model, version, alias = _of_query(request.query)
    return Question(model, version, alias, features, "")


def _of_json(body: bytes, limits: Limits) -> Question:
    payload = parse_payload(PredictionRequest, body, limits)
    if payload.version is not None and payload.alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    if payload.job is None and payload.model is None:
        refuse("/model", "Field required")
    if payload.job is not None:
        for name in ("model", "version", "alias", "versions"):
            if getattr(payload, name) is not None:
                refuse(f"/{name}", "give a job or a model and what belongs to it, not both")
    check_n_instances(len(payload.instances), "/instances", limits)

    def features(names: Sequence[str]) -> NDArray[np.float64]:
        return parse_matrix(payload.instances, "/instances", n_columns=len(names), names=names)

    return Question(payload.model, payload.version, payload.alias, features, "/instances", payload)


def _of_query(query: bytes) -> tuple[str, int | None, str | None]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        refuse("", f"the query cannot be read: {error}")
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in ("model", "version", "alias"):
            refuse("/" + name[:128].replace("~", "~0").replace("/", "~1"), "there is no such parameter")
        if name in given:
            refuse(f"/{name}", "is given twice")
        given[name] = value
    model, version, alias = (given.get(name) for name in ("model", "version", "alias"))
    if model is None or not _NAME.match(model):
        refuse("/model", "this parameter is missing" if model is None else _NAME_OF_MODEL)
    if version is not None and not _VERSION.fullmatch(version):
        refuse("/version", "must be a whole number of at least 1")
    if alias is not None and not _NAME.match(alias):
        refuse("/alias", _NAME_OF_MODEL)
    if version is not None and alias is not None:
        refuse("/alias", "give a version or an alias, not both")
    return model, None if version is None else int(version), alias
