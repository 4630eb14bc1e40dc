"""What the answers to all ways of predicting have in common: errors become answers, and each says how long it took."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from perceptron import OutputNotFiniteError
from service.http.errors import Fault, OutputTooLargeError, answer_to
from service.http.parsing import refuse
from service.http.wire import Header, HttpAnswer
from service.predict.formats.json_instances import Instances
from service.predict.memory.loaded_model import LoadedModel
from service.predict.memory.loaded_models import Found, LoadedModels
from service.predict.model_reference import ModelReference
from service.settings import Limits

STALE_HEADER: Header = (b"x-model-stale", b"true")
VERSION_HEADER = b"x-model-version"

SMALL_TEXT_BYTES = 2_048
"""Up to here CSV and JSON lines, which are read line by line, hold the event loop up no longer than JSON does."""

_MAX_STEPS_ON_LOOP = 1_000_000
"""A millisecond or so."""


class WouldWaitError(Exception):
    """Redis must be asked, or much be computed, and the caller must not wait."""


def answered(request_id: str, answer: Callable[[], HttpAnswer]) -> HttpAnswer | None:
    """Return the answer, or the one that says what error it met; None when it would have to wait and must not."""
    started = perf_counter()
    try:
        status, media_type, body, headers = answer()
    except WouldWaitError:
        return None
    except Exception as error:
        status, media_type, body, headers = answer_to(error, request_id=request_id)
    timing = (b"server-timing", b"predict;dur=%.3f" % (1e3 * (perf_counter() - started)))
    return HttpAnswer(status, media_type, body, (*headers, timing))


def find_model(models: LoadedModels, meant: ModelReference, *, may_wait: bool) -> Found:
    """Return the version meant.

    Raises:
        WouldWaitError: only Redis knows, and it must not be asked.
        ModelNotFoundError, VersionNotFoundError, AliasNotFoundError: it does not exist.
    """
    look = models.get if may_wait else models.find
    found = look(meant.model, version=meant.version, alias=meant.alias)
    if found is None:
        raise WouldWaitError
    return found


def forward(
    model: LoadedModel, features: NDArray[np.float64], limits: Limits, *, pointer: str, may_wait: bool
) -> NDArray[np.float64]:
    """Give y_hat (n_instances, n_outputs).

    Args:
        pointer: where the instances stand in the body.

    Raises:
        WouldWaitError: it takes long, and the caller must not wait.
        InvalidRequestError: it is more than one answer may hold.
        OutputNotFiniteError: an output is larger than a 64-bit float can hold.
    """
    check_n_outputs(len(features), model.trained.network.n_outputs, limits, pointer=pointer)
    if not may_wait and len(features) * model.n_steps_each > _MAX_STEPS_ON_LOOP:
        raise WouldWaitError
    return model.outputs(features)


def check_n_outputs(n_instances: int, n_outputs_each: int, limits: Limits, *, pointer: str) -> None:
    """Refuse a request whose answer would hold too many numbers.

    Raises:
        InvalidRequestError: it would.
    """
    if n_instances * n_outputs_each > limits.max_predict_outputs:
        most = f"{limits.max_predict_outputs} outputs (MAX_PREDICT_OUTPUTS)"
        refuse(pointer, f"may give at most {most}, not {n_instances} instances x {n_outputs_each} outputs")


def outputs_of(found: Found, instances: Instances, limits: Limits, *, may_wait: bool) -> NDArray[np.float64]:
    """Give y_hat as `forward`, with an error that says where in the body an instance stands.

    Raises:
        OutputTooLargeError: an output is larger than a 64-bit float can hold.
    """
    try:
        return forward(found.model, instances.features, limits, pointer=instances.pointer, may_wait=may_wait)
    except OutputNotFiniteError as error:
        raise OutputTooLargeError([Fault(instances.pointer_to(error.index), str(error))]) from error


def success(found: Found, media_type: bytes, body: bytes) -> HttpAnswer:
    """Answer with what was asked for; a header says which version gave it."""
    version = (VERSION_HEADER, b"%d" % found.model.trained.version)
    return HttpAnswer(200, media_type, body, (version, STALE_HEADER) if found.is_stale else (version,))
